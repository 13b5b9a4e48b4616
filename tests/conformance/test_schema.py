"""What the SQL stores promise when the source's columns change."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.declaring import stamp_of
from backup_sync.model.errors import FatalError, PairingRefused, SetBackWithheld
from tests.conformance.backends import Backend, MssqlBackend, SqliteBackend
from tests.conformance.test_sql import backup_run, execute, remake

ROWS = [(number, 1, f"text {number}") for number in range(1, 401)]


def synced(sql: Backend) -> None:
    sql.put(*ROWS)
    sql.initialize()
    assert sql.counts() == (400, 0, 0, 0)


def fill(sql: Backend) -> str:
    """A new column of the source that has a value in some of its rows, whose versions do not move."""
    execute(sql, f"ALTER TABLE THINGS ADD Fax {'TEXT' if isinstance(sql, SqliteBackend) else 'NVARCHAR(20)'} NULL")
    execute(sql, "UPDATE THINGS SET Fax = 'f' WHERE Id % 4 = 0")
    return (sql.service().table or "") if isinstance(sql, SqliteBackend) else sql.table  # type: ignore[attr-defined]


def columns(sql: Backend) -> list[str]:
    return list(sql.backup_rows()[0])


def cannot_alter_nullability(sql: Backend) -> bool:
    return isinstance(sql, MssqlBackend) and "Babelfish" in sql.run_backup("SELECT @@VERSION")[0][0]


def test_a_new_column_is_added_and_filled_though_no_version_moved(sql: Backend) -> None:
    synced(sql)
    table = fill(sql)
    assert sql.initialize() == [f"column Fax of {table}"]
    assert sql.initialize() == []
    assert sql.counts() == (0, 100, 0, 300)
    assert sql.backup_rows() == sql.source_rows()
    assert sql.counts() == (0, 0, 0, 400)


def test_once_filled_a_new_column_is_no_longer_compared(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    sql.initialize()
    sql.sync()
    execute(sql, "UPDATE THINGS SET Fax = 'later' WHERE Id = 1")
    assert sql.counts() == (0, 0, 0, 400)


def test_a_new_not_null_column_with_a_default_is_nullable_in_the_copy_and_filled(sql: Backend) -> None:
    synced(sql)
    execute(sql, "ALTER TABLE THINGS ADD Rank INT NOT NULL DEFAULT 7")
    assert len(sql.initialize()) == 1
    assert sql.counts() == (0, 400, 0, 0)
    assert sql.backup_rows() == sql.source_rows()
    assert sql.initialize() == []
    assert sql.counts() == (0, 0, 0, 400)


def test_a_fill_that_was_killed_is_taken_up_where_it_stopped(sql: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    sql.small(pending_keys=10)
    sql.small(range_records=100)
    monkeypatch.setattr("backup_sync.stores.sql.reader.SqlReader.reread_share", 2.0)
    synced(sql)
    fill(sql)
    sql.initialize()
    from backup_sync.stores.sql.writer import SqlWriter

    apply, calls = SqlWriter.apply, []

    def dying(self: Any, *rows: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise FatalError("killed")
        return apply(self, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(SqlWriter, "apply", dying)
        with pytest.raises(FatalError, match="killed"):
            sql.sync(run_id="tonight")
    written = sql.history_rows()
    first = next(row["UpdatedCount"] for row in written if row["RunId"] == "tonight")
    assert 0 < first < 100
    run = sql.sync(run_id="tonight")
    assert (run.inserted, run.updated, run.skipped) == (0, 100, 300)
    assert sql.backup_rows() == sql.source_rows()


def test_a_backup_killed_between_initialize_and_sync_still_knows_what_to_fill(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    sql.initialize()
    execute(sql, "UPDATE THINGS SET Version = 2 WHERE Id = 4")
    run = sql.sync(dry_run=True)
    assert run.updated == 100  # a dry run finds them and fills nothing in
    sql.sync()
    assert sql.backup_rows() == sql.source_rows()


def test_copies_that_are_ahead_are_left_to_the_guard_with_a_new_column_too(sql: Backend) -> None:
    synced(sql)
    backup_run(sql, "UPDATE THINGS SET Version = 9 WHERE Id <= 100")
    fill(sql)
    sql.initialize()
    with pytest.raises(SetBackWithheld):
        sql.sync()
    backup_run(sql, "UPDATE THINGS SET Version = 1 WHERE Id <= 100")
    run = sql.sync()
    assert (run.updated, run.ahead) == (25, 0)  # 75 were filled in by the run that failed
    assert sql.backup_rows() == sql.source_rows()


def test_two_initializations_that_add_a_column_at_the_same_time_both_succeed(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: sql.initialize(), range(2)))
    assert sql.counts() == (0, 100, 0, 300)


def test_a_new_column_of_an_empty_backup_is_filled_by_the_first_load(sql: Backend) -> None:
    sql.initialize()
    fill(sql)
    sql.initialize()
    execute(sql, "INSERT INTO THINGS (Id, Version, Fax) VALUES (1, 1, 'one')")
    assert sql.counts() == (1, 0, 0, 0)
    assert sql.backup_rows() == sql.source_rows()


def test_a_dropped_column_is_kept_reported_and_not_in_the_way(sql: Backend) -> None:
    execute(sql, "ALTER TABLE THINGS ADD Old INT NULL")
    execute(sql, "INSERT INTO THINGS (Id, Version, Old) VALUES (1, 1, 11)")
    sql.initialize()
    sql.sync()
    execute(sql, "ALTER TABLE THINGS DROP COLUMN Old")
    execute(sql, "INSERT INTO THINGS (Id, Version) VALUES (2, 1)")
    (told,) = sql.initialize()
    assert told.startswith("kept column Old of ")
    assert told.endswith(", which the source no longer has")
    assert sql.counts() == (1, 0, 0, 1)
    assert sorted((row["Id"], row["Old"]) for row in sql.backup_rows()) == [(1, 11), (2, None)]


def test_a_column_dropped_and_later_added_again_gets_the_new_values(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    sql.initialize()
    sql.sync()
    execute(sql, "ALTER TABLE THINGS DROP COLUMN Fax")
    sql.initialize()
    sql.sync()
    execute(sql, f"ALTER TABLE THINGS ADD Fax {'TEXT' if isinstance(sql, SqliteBackend) else 'NVARCHAR(20)'} NULL")
    execute(sql, "UPDATE THINGS SET Fax = 'again' WHERE Id = 3")
    assert sql.initialize() == []
    assert sql.counts() == (0, 101, 0, 299)
    assert sql.backup_rows() == sql.source_rows()


def test_a_dropped_not_null_column_becomes_nullable_so_that_new_rows_fit(sql: Backend) -> None:
    if cannot_alter_nullability(sql):
        pytest.skip("this server has no ALTER COLUMN … NULL")
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, Old INT NOT NULL", [(1, 1, 11)])
    sql.initialize()
    sql.sync()
    before = sql.backup_rows()
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL", [(1, 1), (2, 1)])
    told = sql.initialize()
    assert [words.partition(" of ")[0] for words in told] == ["column Old", "kept column Old"]
    assert sql.backup_rows() == before
    assert sql.counts() == (1, 0, 0, 1)


def test_not_null_that_the_source_gave_up_is_given_up_in_the_copy(sql: Backend) -> None:
    if cannot_alter_nullability(sql):
        pytest.skip("this server has no ALTER COLUMN … NULL")
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A INT NOT NULL", [(1, 1, 11)])
    sql.initialize()
    sql.sync()
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A INT", [(1, 1, 11), (2, 1, None)])
    with pytest.raises(FatalError, match="has A as NOT NULL, which the source lets be NULL"):
        sql.sync()
    assert sql.initialize()[0].endswith("as nullable")
    assert sql.counts() == (1, 0, 0, 1)
    assert sql.backup_rows() == sql.source_rows()


def test_on_schema_change_fail_names_the_columns_and_alters_nothing(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    before = columns(sql)
    with pytest.raises(FatalError, match=r"lacks Fax\. Nothing was altered, since on_schema_change of service thing"):
        sql.initialize(service=sql.service(on_schema_change="fail"))
    assert columns(sql) == before


def test_a_dry_run_says_what_it_would_alter_and_alters_nothing(sql: Backend) -> None:
    synced(sql)
    table = fill(sql)
    before = columns(sql)
    assert sql.initialize(dry_run=True) == [f"column Fax of {table}"]
    assert columns(sql) == before


def test_a_dry_run_looks_at_a_new_column_where_whole_rows_are_compared_too(sql: Backend) -> None:
    whole = sql.service(changed="content")
    synced(sql)
    fill(sql)
    assert sql.sync(service=whole, dry_run=True).updated > 0


def test_a_dry_run_counts_what_would_be_filled_in_as_the_runs_after_it_do(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    before = sql.backup_rows()
    planned = sql.sync(dry_run=True)
    assert sql.backup_rows() == before
    sql.initialize()
    done = sql.sync()
    assert (planned.inserted, planned.updated, planned.deleted, planned.skipped) == (
        (done.inserted, done.updated, done.deleted, done.skipped)
    )
    assert planned.updated > 0
    assert f"{planned.updated} of the updates fill in Fax" in str(planned.notice)


def test_a_sync_that_was_not_initialized_since_refuses_and_names_the_column(sql: Backend) -> None:
    synced(sql)
    fill(sql)
    with pytest.raises(FatalError, match="does not fit the source yet: it lacks Fax"):
        sql.sync()


def test_a_retyped_column_and_another_key_are_refused_by_name(sql: Backend) -> None:
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A INT, B INT NOT NULL", [(1, 1, 1, 1)])
    sql.initialize()
    sql.sync()
    before = sql.backup_rows()
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A VARCHAR(20), B INT NOT NULL")
    with pytest.raises(FatalError, match=r"differs in A .*Change the backup's table to match"):
        sql.initialize()
    remake(sql, "Id INT NOT NULL, Version INT NOT NULL, A INT, B INT NOT NULL, PRIMARY KEY (Id, B)")
    with pytest.raises(FatalError, match=r"(?i)has the key Id and not Id, B"):
        sql.initialize()
    assert sql.backup_rows() == before


def test_another_configured_key_is_refused_and_its_order_is_not(sql: Backend) -> None:
    remake(sql, "A INT NOT NULL, B INT NOT NULL, Version INT NOT NULL", [(1, 1, 1), (2, 2, 1)])
    sql.initialize(service=sql.service(key=["A", "B"]))
    assert sql.initialize(service=sql.service(key=["B", "A"])) == []
    with pytest.raises(PairingRefused, match=r"its key was A, B, and is A now"):
        sql.initialize(service=sql.service(key=["A"]))
    with pytest.raises(FatalError, match=r"(?i)has the key A, B and not A\."):
        sql.initialize(service=sql.service(key=["A"]), accept_source=True)


def test_triggers_and_foreign_keys_on_the_copy_are_refused(sql: Backend) -> None:
    synced(sql)
    if isinstance(sql, SqliteBackend):
        backup_run(sql, "CREATE TRIGGER Watch AFTER INSERT ON Things BEGIN SELECT 1; END")
    else:
        backup_run(sql, "CREATE TRIGGER app.Watch ON THINGS AFTER INSERT AS SELECT 1")
    with pytest.raises(FatalError, match=r"(?i)has triggers Watch: remove them"):
        sql.initialize()
    backup_run(sql, "DROP TRIGGER Watch" if isinstance(sql, SqliteBackend) else "DROP TRIGGER app.Watch")
    child = "Child" if isinstance(sql, SqliteBackend) else "app.Child"
    backup_run(sql, f"CREATE TABLE {child} (Id INT NOT NULL, CONSTRAINT Fk FOREIGN KEY (Id) REFERENCES THINGS (Id))")
    try:
        with pytest.raises(FatalError, match=r"has foreign keys .*: remove them"):
            sql.initialize()
    finally:
        backup_run(sql, f"DROP TABLE {child}")
    assert sql.initialize() == []


def test_a_changed_type_of_the_same_affinity_is_none_to_sqlite(tmp_path: Any) -> None:
    sql = SqliteBackend(tmp_path)
    remake(sql, "Id INTEGER PRIMARY KEY, Version INT NOT NULL, A VARCHAR(10)", [(1, 1, "a")])
    sql.initialize()
    sql.sync()
    remake(sql, "Id INTEGER PRIMARY KEY, Version BIGINT NOT NULL, A NVARCHAR(99)", [(1, 2, "b" * 50)])
    assert sql.initialize() == []
    assert sql.counts() == (0, 1, 0, 0)


def test_generated_columns_of_sqlite_become_plain_values(tmp_path: Any) -> None:
    sql = SqliteBackend(tmp_path)
    remake(
        sql,
        "Id INTEGER PRIMARY KEY, Version INT NOT NULL DEFAULT 1, A INT, Twice INT GENERATED ALWAYS AS (A * 2) STORED, "
        "Thrice INT AS (A * 3)",
    )
    sql.run_source("INSERT INTO Things (A) VALUES (?)", [(1,), (2,)])
    sql.initialize()
    assert sql.counts() == (2, 0, 0, 0)
    assert sql.backup_rows() == sql.source_rows()
    assert sql.counts(force=True) == (0, 2, 0, 0)


def test_indexes_and_views_on_a_sqlite_copy_survive_that_a_column_is_made_nullable(tmp_path: Any) -> None:
    sql = SqliteBackend(tmp_path)
    remake(sql, "Id INTEGER PRIMARY KEY, Version INT NOT NULL, A INT NOT NULL", [(1, 1, 1)])
    sql.initialize()
    sql.sync()
    backup_run(sql, "CREATE INDEX ByA ON THINGS (A)")
    backup_run(sql, "CREATE VIEW Seen AS SELECT A FROM THINGS")
    remake(sql, "Id INTEGER PRIMARY KEY, Version INT NOT NULL, A INT, B INT", [(1, 1, 1, 5), (2, 1, None, 6)])
    assert len(sql.initialize()) == 2
    assert sql.counts() == (1, 1, 0, 0)
    assert sql.backup_rows() == sql.source_rows()
    with closing(sqlite3.connect(sql.backup_path)) as db:
        assert db.execute("SELECT COUNT(*) FROM Seen").fetchone() == (2,)
        assert db.execute("SELECT 1 FROM sqlite_master WHERE name = 'ByA'").fetchone()


WIDER = [
    ("VARCHAR(10)", "VARCHAR(20)", "'aé'"),
    ("NVARCHAR(10)", "NVARCHAR(MAX)", "N'żó'"),
    ("VARBINARY(4)", "VARBINARY(9)", "0x0102"),
    ("TINYINT", "SMALLINT", "255"),
    ("INT", "BIGINT", "2147483647"),
    ("DECIMAL(9,2)", "DECIMAL(18,4)", "12.34"),
    ("DATETIME2(3)", "DATETIME2(6)", "'2024-02-29T12:34:56.123'"),
    ("TIME(0)", "TIME(3)", "'12:34:56'"),
    ("REAL", "FLOAT", "0.1"),
]


def test_a_wider_type_is_followed_and_rewrites_nothing(mssql: MssqlBackend) -> None:
    names = ", ".join(f"c{number} {old} NULL" for number, (old, _, _) in enumerate(WIDER))
    remake(mssql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, {names}")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES (1, 1, {', '.join(value for _, _, value in WIDER)})")
    mssql.initialize()
    mssql.sync()
    for number, (_, new, _) in enumerate(WIDER):
        mssql.run_source(f"ALTER TABLE {mssql.table} ALTER COLUMN c{number} {new}")
    told = mssql.initialize()
    assert told == [f"column c{number} of {mssql.table} as {new.lower()}" for number, (_, new, _) in enumerate(WIDER)]
    assert mssql.initialize() == []
    assert mssql.counts() == (0, 0, 0, 1)
    assert mssql.backup_rows() == mssql.source_rows()
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 2, c0 = 'twelve chars', c4 = 2147483648")
    assert mssql.counts() == (0, 1, 0, 0)
    assert mssql.backup_rows() == mssql.source_rows()


def test_a_narrower_type_is_refused_by_name(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A VARCHAR(20), B BIGINT", [(1, 1, "a", 1)])
    mssql.initialize()
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A VARCHAR(10), B INT")
    with pytest.raises(FatalError, match=r"differs in A \(varchar\(20\) here, varchar\(10\) in the source\), B"):
        mssql.initialize()


def test_a_wider_key_is_refused_by_name(mssql: MssqlBackend) -> None:
    mssql.initialize()
    remake(mssql, "Id BIGINT NOT NULL PRIMARY KEY, Version INT NOT NULL, [Te xt] NVARCHAR(MAX)")
    with pytest.raises(FatalError, match=r"differs in key column Id \(int here, bigint in the source\)"):
        mssql.initialize()


@pytest.mark.parametrize(
    "type_, value",
    [
        ("BIT", "1"),
        ("DECIMAL(18,4)", "1.5"),
        ("FLOAT", "0.1"),
        ("DATETIME2(7)", "'2024-02-29T12:34:56.1234567'"),
        ("UNIQUEIDENTIFIER", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'"),
        ("VARBINARY(MAX)", "0x0102"),
        ("NVARCHAR(MAX)", "N'ż'"),
        ("XML", "'<a/>'"),
        ("CHAR(4)", "'a'"),
    ],
)
def test_a_new_column_of_any_type_is_filled(mssql: MssqlBackend, type_: str, value: str) -> None:
    mssql.put((1, 1, "a"), (2, 1, "b"), (3, 1, "c"))
    mssql.initialize()
    mssql.sync()
    mssql.run_source(f"ALTER TABLE {mssql.table} ADD Added {type_} NULL")
    mssql.run_source(f"UPDATE {mssql.table} SET Added = {value} WHERE Id < 3")
    mssql.initialize()
    assert mssql.counts() == (0, 2, 0, 1)
    assert mssql.backup_rows() == mssql.source_rows()
    assert mssql.counts() == (0, 0, 0, 3)


def test_a_history_of_an_earlier_version_gets_the_columns_that_it_lacks_also_from_two_at_once(sql: Backend) -> None:
    synced(sql)
    history = "SyncHistory" if isinstance(sql, SqliteBackend) else f"app.{sql.history}"
    backup_run(sql, f"ALTER TABLE {history} DROP COLUMN Notice")
    assert len(sql.initialize(dry_run=True)) == 1
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: sql.initialize(), range(2)))
    assert any("column Notice of" in what for some in made for what in some)
    assert sql.sync().success


def test_a_rowversion_is_proposed_as_the_stamp(mssql: MssqlBackend) -> None:
    mssql.run_source(f"DROP TABLE {mssql.table}")
    mssql.run_source(
        f"CREATE TABLE {mssql.table} (Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, Stamp ROWVERSION)"
    )
    source, backup = mssql.open(mssql.service())
    with closing(source), closing(backup):
        assert ("app", mssql.table.partition(".")[2].lower()) in [
            (schema, table.lower()) for schema, table in source.catalog.tables()
        ]
        assert stamp_of(source.catalog.declarable()) == ("Stamp", "higher")


def test_a_verify_takes_what_is_not_filled_in_yet_for_lag(sql: Backend) -> None:
    service = sql.service(verify_again_seconds=0)
    sql.put(*((key, 1, "x") for key in range(20)))
    sql.initialize(service=service)
    sql.sync(service=service)
    execute(sql, "ALTER TABLE THINGS ADD Rank INT NOT NULL DEFAULT 7")
    sql.initialize(service=service)
    run = sql.verify(service)
    assert run.success
    assert run.verified is not None
    assert (run.verified["Lag"]["Count"], run.verified["Drift"]["Count"]) == (20, 0)

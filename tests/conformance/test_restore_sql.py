"""Restoring into tables as people have them: with columns of their own, numbers given by the server, triggers and keys."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from backup_sync.model.errors import FatalError
from backup_sync.model.faults import installed
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Planned, Wish
from backup_sync.walk.restore import plan, restore
from tests.conformance.backends import Backend, MssqlBackend, SqliteBackend
from tests.conformance.test_sql import remake

SETTINGS = {"keep_history": "30d", "guard": {"count": 1_000_000}}


def start(backend: Backend) -> None:
    service = backend.service(**SETTINGS)
    backend.initialize(service=service)
    backend.sync(service=service)


def bring_back(backend: Backend, wish: Wish, run_id: str = "restore") -> tuple[Planned, SyncResult]:
    source, backup = backend.open(backend.service(**SETTINGS))
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
        found = plan(backup, source, run, wish)
        restore(source, backup, source, run, wish, found.id)
    return found, run


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


def test_a_column_that_was_added_later_is_left_as_it_is_and_named(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    sqlite.run_source("ALTER TABLE Things ADD COLUMN Fax TEXT")
    sqlite.run_source("UPDATE Things SET Fax = 'fax' || Id, Version = 2, \"Te xt\" = 'bad' WHERE Id < 3")
    start(sqlite)
    found, run = bring_back(sqlite, Wish(number=1))
    assert "column Fax is not part of that state" in str(found.notes)
    assert (run.inserted, run.updated) == (0, 3)
    rows = sqlite.source_rows()
    assert [(row["Te xt"], row["Fax"]) for row in rows[:3]] == [(f"text {n}", f"fax{n}") for n in range(3)]
    assert sqlite.counts(service=sqlite.service(**SETTINGS))[:3] == (0, 0, 0)


class Killed(BaseException):
    """The process is gone."""


def with_a_new_column(sql: Backend) -> None:
    """Run 1 copied ten rows; now the source has a column more, whose values the copy has room for and not yet got."""
    sql.small(asked_keys=2, range_records=3, pending_keys=2)
    sql.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sql)
    table = sql.table if isinstance(sql, MssqlBackend) else "Things"
    sql.run_source(f"ALTER TABLE {table} ADD Fax NVARCHAR(20)")
    sql.run_source(f"UPDATE {table} SET Fax = 'fax'")
    sql.initialize(service=sql.service(**SETTINGS))


def faxes(sql: Backend) -> set[str | None]:
    return {row["Fax"] for row in sql.source_rows()}


def test_a_column_that_the_copy_has_not_got_yet_is_left_as_it_is(sql: Backend) -> None:
    with_a_new_column(sql)
    sql.remove(3)
    found, run = bring_back(sql, Wish())
    assert "column fax is not part of that state" in str(found.notes).lower()
    assert (run.inserted, run.updated) == (1, 0)
    assert faxes(sql) == {"fax", None}
    assert [row["Id"] for row in sql.source_rows() if row["Fax"] is None] == [3]


def test_the_state_of_a_run_that_was_killed_as_it_filled_a_column_in_does_not_have_that_column(sql: Backend) -> None:
    with_a_new_column(sql)

    def kill(name: str) -> None:
        if name == "after write":
            raise Killed

    with installed(kill), pytest.raises(Killed):
        sql.sync(service=sql.service(**SETTINGS), run_id="killed")
    start(sql)
    assert bring_back(sql, Wish(number=2))[1].updated == 0
    assert faxes(sql) == {"fax"}
    assert bring_back(sql, Wish(number=3), "again")[1].updated == 0
    found, _ = bring_back(sql, Wish(number=3), "once more")
    assert not found.notes


def test_a_column_that_was_dropped_by_accident_comes_back_with_what_it_held(sql: Backend) -> None:
    with_a_new_column(sql)
    start(sql)
    table = sql.table if isinstance(sql, MssqlBackend) else "Things"
    sql.run_source(f"ALTER TABLE {table} DROP COLUMN Fax")
    sql.put((10, 1, "while it was gone"))
    start(sql)
    sql.run_source(f"ALTER TABLE {table} ADD Fax NVARCHAR(20) DEFAULT 'new'")
    sql.run_source(f"UPDATE {table} SET Fax = 'new'")
    start(sql)
    assert bring_back(sql, Wish(number=3), "while it was gone")[1].updated == 0
    assert bring_back(sql, Wish(number=4), "back again")[1].updated == 0
    assert bring_back(sql, Wish(number=2, columns=["Fax"]), "before")[1].updated == 10
    assert faxes(sql) == {"fax", "new"}


def test_undoing_a_restore_leaves_alone_what_the_restore_did(sql: Backend) -> None:
    with_a_new_column(sql)
    sql.put((4, 2, "bad"))
    sql.run_source(f"UPDATE {sql.table if isinstance(sql, MssqlBackend) else 'Things'} SET Fax = 'fax'")
    start(sql)
    _, first = bring_back(sql, Wish(number=1))
    _, second = bring_back(sql, Wish(undo=first.run_number), "undo")
    assert (first.updated, second.updated) == (1, 1)
    assert [row["Te xt"] for row in sql.source_rows() if row["Id"] == 4] == ["bad"]
    assert faxes(sql) == {"fax"}


def test_a_source_with_columns_that_the_copy_has_no_room_for_is_not_written(sql: Backend) -> None:
    with_a_new_column(sql)
    sql.run_source(f"ALTER TABLE {sql.table if isinstance(sql, MssqlBackend) else 'Things'} ADD Other INT")
    sql.remove(3)
    with pytest.raises(FatalError, match="Run the DAG backup_initialize"):
        bring_back(sql, Wish())
    assert len(sql.source_rows()) == 9
    start(sql)


def test_what_the_target_has_beyond_the_backup_is_named_and_stays(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    sqlite.run_source("ALTER TABLE Things ADD COLUMN Note TEXT DEFAULT 'new'")
    start(sqlite)
    sqlite.run_source("ALTER TABLE Things ADD COLUMN Other TEXT DEFAULT 'x'")
    sqlite.remove(5)
    source, backup = sqlite.open(sqlite.service(**SETTINGS))
    with closing(source), closing(backup):
        found = plan(backup, source, SyncResult(sync_id("d", "p", "thing"), "thing"), Wish())
    assert "column Other of source is not in the backup" in str(found.notes)
    assert found.counts["missing"] == 1


def test_triggers_of_the_target_are_named_and_refused_unless_they_are_accepted(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    sqlite.run_source("CREATE TABLE Seen (Id)")
    sqlite.run_source("CREATE TRIGGER watch AFTER INSERT ON Things BEGIN INSERT INTO Seen VALUES (new.Id); END")
    sqlite.remove(1, 2)
    with pytest.raises(FatalError, match="triggers watch"):
        bring_back(sqlite, Wish())
    found, run = bring_back(sqlite, Wish(accept_obstacles=True))
    assert run.inserted == 2
    assert "triggers watch of the target may do more" in found.notes


def test_a_trigger_that_came_after_the_plan_is_refused_as_well(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    sqlite.remove(1)
    source, backup = sqlite.open(sqlite.service(**SETTINGS))
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "late", "thing"), "thing", run_id="late")
        found = plan(backup, source, run, Wish())
        sqlite.run_source("CREATE TRIGGER watch AFTER INSERT ON Things BEGIN SELECT 1; END")
        with pytest.raises(FatalError, match="triggers watch"):
            restore(source, backup, source, run, Wish(), found.id)
    assert len(sqlite.source_rows()) == 9
    sqlite.run_source("DROP TRIGGER watch")
    assert sqlite.counts(service=sqlite.service(**SETTINGS))[:3] == (0, 0, 1)


def test_a_trigger_that_changes_what_is_written_fails_the_restore_and_blocks_no_run(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    for what in ("INSERT", "UPDATE"):
        change = 'UPDATE Things SET "Te xt" = upper("Te xt") WHERE Id = new.Id'
        sqlite.run_source(f"CREATE TRIGGER loud_{what} AFTER {what} ON Things BEGIN {change}; END")
    sqlite.remove(1, 2)
    with pytest.raises(FatalError, match="2 restored records are not as they should be"):
        bring_back(sqlite, Wish(accept_obstacles=True))
    # What is there was settled all the same.
    assert sqlite.counts(service=sqlite.service(**SETTINGS))[:3] == (0, 0, 0)


def test_foreign_keys_are_the_servers_affair_unless_records_are_deleted(sqlite: SqliteBackend) -> None:
    sqlite.put(*((key, 1, f"text {key}") for key in range(10)))
    start(sqlite)
    sqlite.run_source("CREATE TABLE Child (Id INTEGER REFERENCES Things (Id) ON DELETE CASCADE)")
    sqlite.remove(1)
    assert bring_back(sqlite, Wish())[1].inserted == 1
    sqlite.put((50, 1, "more"))
    with pytest.raises(FatalError, match="foreign keys"):
        bring_back(sqlite, Wish(delete=True), "again")


def test_a_generated_column_is_left_to_the_target(sqlite: SqliteBackend) -> None:
    sqlite.run_source("DROP TABLE Things")
    sqlite.run_source(
        'CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL, "Te xt" TEXT, Twice AS (Id * 2) STORED)'
    )
    sqlite.run_source("INSERT INTO Things (Id, Version, \"Te xt\") VALUES (1, 1, 'a'), (2, 1, 'b')")
    start(sqlite)
    sqlite.remove(1)
    found, run = bring_back(sqlite, Wish())
    assert "column Twice is computed by source" in found.notes
    assert run.inserted == 1
    assert [row["Twice"] for row in sqlite.source_rows()] == [2, 4]


def test_identity_rowversion_and_computed_columns_are_what_the_server_makes_them(mssql: MssqlBackend) -> None:
    remake(
        mssql,
        "Id INT IDENTITY(1, 1) NOT NULL PRIMARY KEY, Version INT NOT NULL, [Te xt] NVARCHAR(50) NULL, Twice AS (Version * 2), "
        "Stamp ROWVERSION",
    )
    mssql.run_source(
        f"INSERT INTO {mssql.table} (Version, [Te xt]) SELECT 1, N'text ' + CAST([value] AS NVARCHAR(9)) "
        f"FROM OPENJSON('[{', '.join(map(str, range(1, 31)))}]')"
    )
    start(mssql)
    mssql.run_source(f"DELETE FROM {mssql.table} WHERE Id IN (3, 4)")
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 2, [Te xt] = N'bad' WHERE Id = 7")
    mssql.sync(service=mssql.service(**SETTINGS))
    found, run = bring_back(mssql, Wish(number=1))
    assert "column Twice is computed by source" in found.notes
    assert "column Stamp is computed by source" in found.notes
    assert (run.inserted, run.updated) == (2, 1)
    rows = mssql.run_source(f"SELECT Id, Version, [Te xt], Twice FROM {mssql.table} WHERE Id IN (3, 4, 7) ORDER BY Id")
    assert rows == [(3, 1, "text 3", 2), (4, 1, "text 4", 2), (7, 1, "text 7", 2)]
    # The server goes on counting where it was.
    mssql.run_source(f"INSERT INTO {mssql.table} (Version) VALUES (1)")
    assert mssql.run_source(f"SELECT MAX(Id) FROM {mssql.table}") == [(31,)]
    assert mssql.counts(service=mssql.service(**SETTINGS))[:3] == (1, 0, 0)

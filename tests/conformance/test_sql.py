"""What the SQL stores promise about keys, types and tables they did not expect."""

from __future__ import annotations

import itertools
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.mssql.writer import MssqlWriter
from backup_sync.stores.sql.cutter import SqlCutter
from backup_sync.stores.sql.ranges import EVERYTHING, ListCut
from backup_sync.walk.record import record_history
from tests.conformance.backends import Backend, MssqlBackend, SqliteBackend


def remake(backend: Backend, columns: str, rows: list[tuple[Any, ...]] = []) -> None:  # noqa: B006
    """The source table anew, with other columns."""
    table = backend.service().table or ""
    assert isinstance(backend, SqliteBackend | MssqlBackend)
    name = table.partition(".")[2] if isinstance(backend, SqliteBackend) else table
    backend.run_source(f"DROP TABLE {name}")
    backend.run_source(f"CREATE TABLE {name} ({columns})")
    add(backend, rows)


def add(backend: Backend, rows: list[tuple[Any, ...]]) -> None:
    assert isinstance(backend, SqliteBackend | MssqlBackend)
    name = (backend.service().table or "").partition(".")[2] if isinstance(backend, SqliteBackend) else backend.table
    if rows:
        mark = "?" if isinstance(backend, SqliteBackend) else "%s"
        backend.run_source(f"INSERT INTO {name} VALUES ({', '.join([mark] * len(rows[0]))})", rows)


def execute(backend: Backend, sql: str) -> None:
    assert isinstance(backend, SqliteBackend | MssqlBackend)
    name = (backend.service().table or "").partition(".")[2] if isinstance(backend, SqliteBackend) else backend.table
    backend.run_source(sql.replace("THINGS", name))


def backup_run(backend: Backend, sql: str) -> None:
    assert isinstance(backend, SqliteBackend | MssqlBackend)
    if isinstance(backend, SqliteBackend):
        with closing(sqlite3.connect(backend.backup_path)) as db, db:
            db.execute(sql.replace("THINGS", "Things"))
    else:
        backend.run_backup(sql.replace("THINGS", backend.table))


def test_a_composite_key_of_a_number_and_a_text_finds_every_change(sql: Backend) -> None:
    rows = [(tenant, f"code-{code}", 1) for tenant in range(5) for code in range(40)]
    remake(
        sql, "Tenant INT NOT NULL, Code VARCHAR(20) NOT NULL, Version INT NOT NULL, PRIMARY KEY (Tenant, Code)", rows
    )
    sql.initialize()
    assert sql.counts() == (200, 0, 0, 0)
    execute(sql, "UPDATE THINGS SET Version = 2 WHERE Tenant = 3 AND Code = 'code-7'")
    execute(sql, "DELETE FROM THINGS WHERE Tenant = 4 AND Code IN ('code-1', 'code-39')")
    add(sql, [(0, "code-40", 1)])
    assert sql.counts() == (1, 1, 2, 197)
    assert sql.backup_rows() == sql.source_rows()


def test_a_key_given_in_the_configuration_replaces_a_missing_primary_key(sql: Backend) -> None:
    remake(sql, "A INT NOT NULL, B INT NOT NULL, Version INT NOT NULL", [(n % 3, n, 1) for n in range(30)])
    with pytest.raises(ConfigurationError, match="no primary key; name its key columns in 'key'"):
        sql.initialize()
    service = sql.service(key=["A", "B"])
    sql.initialize(service=service)
    assert sql.sync(service=service).inserted == 30
    execute(sql, "UPDATE THINGS SET Version = 2 WHERE B = 7")
    assert sql.sync(service=service).updated == 1
    assert sql.backup_rows() == sql.source_rows()


def test_a_key_that_is_not_unique_or_nullable_is_refused_by_name(sql: Backend) -> None:
    # To SQLite, which lets any key be NULL unless told otherwise, what counts is whether it ever is.
    remake(sql, "A INT NOT NULL, B INT, Version INT NOT NULL", [(1, 1, 1), (1, None, 1)])
    with pytest.raises(ConfigurationError, match=r"key A of .* is not unique"):
        sql.initialize(service=sql.service(key=["A"]))
    with pytest.raises(ConfigurationError, match=r"key column B of .* is nullable"):
        sql.initialize(service=sql.service(key=["B"]))


def test_negative_sparse_and_huge_keys_are_all_found(sql: Backend) -> None:
    keys = [-(2**63), -(2**40), -5, -1, 0, 1, 7, 10**6, 2**40, 2**63 - 1]
    remake(sql, "Id BIGINT NOT NULL PRIMARY KEY, Version INT NOT NULL", [(key, 1) for key in keys])
    sql.initialize()
    assert sql.counts() == (10, 0, 0, 0)
    execute(sql, "UPDATE THINGS SET Version = 2 WHERE Id IN (-5, 9223372036854775807)")
    execute(sql, "DELETE FROM THINGS WHERE Id = 1099511627776")
    assert sql.counts() == (0, 2, 1, 7)
    assert sql.backup_rows() == sql.source_rows()


def test_keys_below_and_above_those_of_the_source_are_deleted_from_the_backup(sql: Backend) -> None:
    sql.put(*[(number, 1, None) for number in range(1, 101)])
    sql.initialize()
    sql.sync()
    sql.remove(1, 2, 99, 100)
    sql.put((-50, 1, None), (500, 1, None))
    assert sql.counts() == (2, 0, 4, 96)
    assert sql.backup_rows() == sql.source_rows()


def test_one_key_far_away_from_a_crowd_costs_no_more_than_a_second_cut(sql: Backend) -> None:
    # All of the crowd falls into one piece of the first cut, so this is where cutting again has to work.
    crowd = [(number, 1, None) for number in range(1, 3001)]
    sql.put(*crowd, (2**31 - 1, 1, None))
    sql.initialize()
    sql.sync()
    sql.put((1500, 2, "changed"))
    sql.remove(3)
    assert sql.counts() == (0, 1, 1, 2999)
    assert sql.backup_rows() == sql.source_rows()


@pytest.mark.parametrize("limit", [50, 7])
def test_ranges_larger_than_memory_allows_are_cut_again(sql: Backend, limit: int) -> None:
    sql.small(range_records=limit)
    sql.put(*[(number, 1, f"{number}") for number in range(1, 501)])
    sql.initialize()
    sql.sync()
    sql.put(*[(number, 2, "changed") for number in range(10, 500, 50)], (501, 1, "new"))
    sql.remove(1, 250, 500)
    assert sql.counts() == (1, 10, 3, 487)
    assert sql.backup_rows() == sql.source_rows()


def test_a_range_that_does_not_become_smaller_is_compared_as_it_is(
    sql: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.small(range_records=5)
    monkeypatch.setattr(SqlCutter, "cut", lambda self, within, records: ListCut(within or EVERYTHING, ()))
    sql.put(*[(number, 1, f"{number}") for number in range(1, 51)])
    sql.initialize()
    sql.sync()
    sql.put((10, 2, "changed"), (51, 1, "new"))
    sql.remove(1)
    assert sql.counts() == (1, 1, 1, 48)
    assert sql.backup_rows() == sql.source_rows()


@pytest.mark.parametrize("limit", [50, 7])
def test_text_keys_are_cut_at_boundaries_that_the_engine_names(sql: Backend, limit: int) -> None:
    sql.small(range_records=limit)
    letters = "aBcÄéßzZ09_-"
    keys = sorted({a + b + c for a in letters for b in letters for c in "xY1"}, key=str.casefold)
    distinct = list({key.casefold(): key for key in keys}.values())
    remake(sql, "Code NVARCHAR(20) NOT NULL PRIMARY KEY, Version INT NOT NULL", [(key, 1) for key in distinct])
    sql.initialize()
    total = len(distinct)
    assert sql.counts() == (total, 0, 0, 0)
    assert sql.counts() == (0, 0, 0, total)
    n = "" if isinstance(sql, SqliteBackend) else "N"
    execute(sql, f"UPDATE THINGS SET Version = 2 WHERE Code = {n}'{distinct[total // 2]}'")
    execute(sql, f"DELETE FROM THINGS WHERE Code = {n}'{distinct[3]}'")
    assert sql.counts() == (0, 1, 1, total - 2)
    assert sql.backup_rows() == sql.source_rows()


def test_stretches_missing_in_the_backup_are_copied_without_what_lies_between(sql: Backend) -> None:
    sql.small(range_records=20)
    rows = [(a, b, 1) for a in range(10) for b in range(20)]
    remake(sql, "A INT NOT NULL, B INT NOT NULL, Version INT NOT NULL, PRIMARY KEY (A, B)", rows)
    sql.initialize()
    sql.sync()
    backup_run(sql, "DELETE FROM THINGS WHERE A IN (2, 3, 6, 7)")
    assert sql.counts() == (80, 0, 0, 120)
    assert sql.backup_rows() == sql.source_rows()


def test_a_table_that_is_no_copy_of_ours_is_never_written_to(sql: Backend) -> None:
    sql.put((1, 1, "one"))
    sql.initialize()
    backup_run(sql, "DROP TABLE THINGS")
    backup_run(sql, "CREATE TABLE THINGS (Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL)")
    with pytest.raises(FatalError, match="is not a copy made by backup_sync"):
        sql.initialize()


def test_keys_beyond_32_bits_are_cut_by_whole_numbers(sql: Backend) -> None:
    first = 5_000_000_000
    remake(sql, "Id BIGINT NOT NULL PRIMARY KEY, Version INT NOT NULL", [(first + n, 1) for n in range(1000)])
    sql.initialize()
    sql.sync()
    execute(sql, f"UPDATE THINGS SET Version = 2 WHERE Id % 100 = {first % 100}")
    assert sql.counts() == (0, 10, 0, 990)


def test_dense_keys_around_zero_fit_into_their_packs(sql: Backend) -> None:
    sql.put(*[(number, 1, None) for number in range(-300, 301)])
    sql.initialize()
    sql.sync()
    sql.put((-1, 2, None), (0, 2, None), (1, 2, None))
    assert sql.counts() == (0, 3, 0, 598)


def test_two_initializations_at_the_same_time_both_succeed(sql: Backend) -> None:
    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: sql.initialize(), range(2)))
        backup_run(sql, "DROP TABLE THINGS")
        backup_run(
            sql, f"DROP TABLE {'app.' if isinstance(sql, MssqlBackend) else ''}{sql.service().history or 'SyncHistory'}"
        )


def test_an_attempt_that_fails_early_does_not_wipe_what_was_committed(sql: Backend) -> None:
    sql.put((1, 1, None), (2, 1, None))
    sql.initialize()
    sql.sync(run_id="tonight", record=False)
    failed = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    failed.fail("the source was away")
    source, backup = sql.open(sql.service())
    try:
        record_history(backup, failed)
        newest = backup.journal.newest(1)[0]
    finally:
        source.close()
        backup.close()
    assert (newest["InsertedCount"], newest["Status"]) == (2, "Failed")


def test_sqlite_text_keys_of_any_collation_are_cut_alike(tmp_path: Any) -> None:
    backend = SqliteBackend(tmp_path)
    backend.small(range_records=10)
    keys = [f"{letter}{number}" for number in range(20) for letter in "aBcDeF"]
    remake(backend, "Code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, Version INT NOT NULL", [(key, 1) for key in keys])
    backend.initialize()
    assert backend.counts() == (120, 0, 0, 0)
    assert backend.counts() == (0, 0, 0, 120)


def test_a_backup_table_that_does_not_fit_is_named_and_left_alone(sql: Backend) -> None:
    sql.put((1, 1, "one"))
    sql.initialize()
    sql.sync()
    remake(sql, "Id VARCHAR(20) NOT NULL PRIMARY KEY, Version INT NOT NULL, Extra INT", [("1", 2, 3)])
    with pytest.raises(FatalError, match=r"does not fit the source: it differs in key column Id"):
        sql.initialize()
    assert len(sql.backup_rows()) == 1


def test_a_source_column_called_synced_at_is_refused(sql: Backend) -> None:
    remake(sql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, SyncedAt INT")
    with pytest.raises(ConfigurationError, match="has a column SyncedAt"):
        sql.initialize()


def test_names_with_brackets_quotes_and_blanks_are_quoted(sql: Backend) -> None:
    # Not with a closing bracket for SQL Server: ]] is right there, and misread by a T-SQL server that is not Microsoft's.
    odd = '"we]ird ""name"' if isinstance(sql, SqliteBackend) else "[we ird \"na'me]"
    remake(sql, f"{odd} INT NOT NULL PRIMARY KEY, Version INT NOT NULL, [order] INT", [(1, 1, 5), (2, 1, None)])
    sql.initialize()
    assert sql.counts() == (2, 0, 0, 0)
    execute(sql, "UPDATE THINGS SET Version = 2, [order] = 6 WHERE [order] = 5")
    assert sql.counts() == (0, 1, 0, 1)
    assert sql.backup_rows() == sql.source_rows()


# SQLite: any value in any column


def test_sqlite_keeps_every_storage_class_as_it_is(tmp_path: Any) -> None:
    backend = SqliteBackend(tmp_path)
    values = [None, 2**63 - 1, -(2**63), 1.5, 1e308, -0.0, "", "text", b"", b"\x00\xff", "12", 12, "nul\x00inside"]
    remake(backend, "Id INTEGER PRIMARY KEY, Version INTEGER, V", [(n, 1, value) for n, value in enumerate(values)])
    backend.initialize()
    assert backend.counts() == (len(values), 0, 0, 0)
    assert backend.backup_rows() == backend.source_rows()
    with closing(sqlite3.connect(backend.backup_path)) as db:
        kinds = [row[0] for row in db.execute("SELECT typeof(V) FROM Things ORDER BY Id")]
    assert kinds == [
        "null",
        "integer",
        "integer",
        "real",
        "real",
        "real",
        "text",
        "text",
        "blob",
        "blob",
        "text",
        "integer",
        "text",
    ]


def test_sqlite_sees_a_version_that_is_no_whole_number(tmp_path: Any) -> None:
    backend = SqliteBackend(tmp_path)
    remake(backend, "Id INTEGER PRIMARY KEY, Version INTEGER", [(1, 1.25), (2, None), (3, "2024-01-01")])
    backend.initialize()
    backend.sync()
    backend.run_source("UPDATE Things SET Version = Version + 0.5 WHERE Id = 1")
    backend.run_source("UPDATE Things SET Version = '2024-01-02' WHERE Id = 3")
    assert backend.counts() == (0, 2, 0, 1)


# SQL Server: every type

TYPES: list[tuple[str, list[str]]] = [
    ("TINYINT", ["0", "255"]),
    ("SMALLINT", ["-32768", "32767"]),
    ("INT", ["-2147483648", "2147483647"]),
    ("BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    ("BIT", ["0", "1"]),
    ("DECIMAL(38,0)", ["99999999999999999999999999999999999999", "-1"]),
    ("DECIMAL(38,10)", ["1234567890123456789012345678.0123456789", "0"]),
    ("DECIMAL(9,2)", ["-0.01", "1234567.89"]),
    ("NUMERIC(18,4)", ["12345678901234.5678", "0.0001"]),
    ("MONEY", ["922337203685477.5807", "-922337203685477.5808", "0.0001"]),
    ("SMALLMONEY", ["214748.3647", "-214748.3648"]),
    ("FLOAT", ["1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "-123456789.123456789"]),
    ("REAL", ["3.4028235e38", "0.1"]),
    ("DATE", ["'0001-01-01'", "'9999-12-31'", "'1000-01-01'", "'1753-01-01'"]),
    ("DATETIME", ["'1753-01-01T00:00:00.000'", "'9999-12-31T23:59:59.997'", "'2024-02-29T12:34:56.123'"]),
    ("SMALLDATETIME", ["'2079-06-06T23:59:00'"]),
    (
        "DATETIME2(7)",
        [
            "'2024-02-29T12:34:56.1234567'",
            "'0001-01-01T00:00:00'",
            "'9999-12-31T23:59:59.999999'",
            "'1752-12-31T23:59:59'",
        ],
    ),
    ("DATETIME2(3)", ["'2024-02-29T12:34:56.123'"]),
    ("DATETIMEOFFSET(7)", ["'2024-02-29T12:34:56.1234567+05:30'", "'2024-02-29T12:34:56-11:00'"]),
    ("TIME(7)", ["'23:59:59.999999'", "'00:00:00'"]),
    ("CHAR(5)", ["'ab'", "''"]),
    ("VARCHAR(50)", ["'trailing  '", "''", "'café'"]),
    ("NCHAR(5)", ["N'żó'"]),
    ("NVARCHAR(50)", ["N'🎁 漢字'", "N''", "N'  x '"]),
    ("NVARCHAR(MAX)", ["REPLICATE(CAST(N'é' AS NVARCHAR(MAX)), 20000)"]),
    ("VARCHAR(MAX)", ["REPLICATE(CAST('x' AS VARCHAR(MAX)), 20000)"]),
    ("VARBINARY(50)", ["0x00FF0A", "0x"]),
    ("BINARY(4)", ["0x01020304"]),
    ("VARBINARY(MAX)", ["CAST(REPLICATE(CAST('x' AS VARCHAR(MAX)), 20000) AS VARBINARY(MAX))"]),
    ("UNIQUEIDENTIFIER", ["'6F9619FF-8B86-D011-B42D-00C04FC964FF'"]),
    ("XML", ["'<a b=\"1\">text</a>'"]),
]
BULK_NEVER = ("SMALLMONEY", "DATETIMEOFFSET(7)", "XML")


@pytest.mark.parametrize("path", ["openjson", "bulk"])
def test_every_type_of_sql_server_and_its_null_arrives_as_it_left(
    mssql: MssqlBackend, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    if path == "bulk":
        mssql.small(bulk_rows=1)
        # Each value that a bulk copy can carry gets there by one: types that rule it out are left to the other way.
        monkeypatch.setattr("tests.conformance.test_sql.TYPES", [t for t in TYPES if t[0] not in BULK_NEVER])
        original = MssqlWriter._bulk_copy
        monkeypatch.setattr(
            MssqlWriter, "_bulk_copy", lambda self, rows: (copied.append(len(rows)), original(self, rows))[1]
        )
    columns = [f"c{number} {type_} NULL" for number, (type_, _) in enumerate(TYPES)]
    remake(mssql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, {', '.join(columns)}")
    most = max(len(values) for _, values in TYPES)
    for row in range(most + 1):
        chosen = ["NULL" if row == most else values[row % len(values)] for _, values in TYPES]
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({row}, 1, {', '.join(chosen)})")
    mssql.initialize()
    assert mssql.counts() == (most + 1, 0, 0, 0)
    assert as_text(mssql, "source") == as_text(mssql, "backup")
    assert mssql.counts(force=True) == (0, most + 1, 0, 0)
    assert as_text(mssql, "source") == as_text(mssql, "backup")
    assert declared(mssql, "source") == declared(mssql, "backup")
    assert bool(copied) == (path == "bulk")


def as_text(mssql: MssqlBackend, end: str) -> list[tuple[Any, ...]]:
    """Every value as the server itself writes it, so that no driver rounds it for both sides alike."""
    parts = []
    for number, (type_, _) in enumerate(TYPES):
        name = f"c{number}"
        if type_.startswith(("DATE", "TIME", "SMALLDATE")):
            parts.append(f"CONVERT(VARCHAR(40), {name}, 121)")
        elif "MONEY" in type_:
            parts.append(f"CONVERT(VARCHAR(40), CONVERT(DECIMAL(19, 4), {name}))")
        elif type_ in ("XML", "UNIQUEIDENTIFIER"):
            parts.append(f"CONVERT(NVARCHAR(MAX), {name})")
        else:
            parts.append(name)
    sql = f"SELECT Id, {', '.join(parts)} FROM {mssql.table} ORDER BY Id"
    return mssql.run_source(sql) if end == "source" else mssql.run_backup(sql)


def declared(mssql: MssqlBackend, end: str) -> list[tuple[Any, ...]]:
    schema, _, table = mssql.table.partition(".")
    sql = (
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, "
        f"IS_NULLABLE, COLLATION_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = "
        f"'{table}' AND COLUMN_NAME <> 'SyncedAt' ORDER BY ORDINAL_POSITION"
    )
    return mssql.run_source(sql) if end == "source" else mssql.run_backup(sql)


@pytest.mark.parametrize(
    "type_, values",
    [
        ("UNIQUEIDENTIFIER", [str(UUID(int=n * 7919 << 90 | n)) for n in range(1, 60)]),
        ("DATETIME2(6)", [datetime(2024, 1, 1 + n % 28, n % 24, n % 60, 1, n).isoformat(" ") for n in range(1, 60)]),
        ("DECIMAL(20,4)", [str(Decimal(n) / 3 // Decimal("0.0001") * Decimal("0.0001")) for n in range(1, 60)]),
        ("VARBINARY(8)", None),
    ],
    ids=["guid", "datetime2", "decimal", "varbinary"],
)
def test_keys_of_any_type_find_every_change(mssql: MssqlBackend, type_: str, values: list[str] | None) -> None:
    mssql.small(range_records=10)
    texts = [f"'{value}'" for value in values] if values else [f"0x{n:04X}{n * 37 % 256:02X}" for n in range(1, 60)]
    remake(mssql, f"K {type_} NOT NULL PRIMARY KEY, Version INT NOT NULL")
    for text in texts:
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({text}, 1)")
    mssql.initialize()
    assert mssql.counts() == (59, 0, 0, 0)
    assert mssql.counts() == (0, 0, 0, 59)
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 2 WHERE K = {texts[20]}")
    mssql.run_source(f"DELETE FROM {mssql.table} WHERE K IN ({texts[5]}, {texts[50]})")
    assert mssql.counts() == (0, 1, 2, 56)
    assert mssql.backup_rows() == mssql.source_rows()


def test_a_text_key_respelled_under_a_case_insensitive_collation_is_an_update_and_deletes_nothing(
    mssql: MssqlBackend,
) -> None:
    remake(mssql, "Code NVARCHAR(20) NOT NULL PRIMARY KEY, Version INT NOT NULL", [("abc", 1), ("def", 1), ("ghi", 1)])
    mssql.initialize()
    mssql.sync()
    mssql.run_source(f"UPDATE {mssql.table} SET Code = N'ABC' WHERE Code = N'abc'")
    run = mssql.sync()
    assert (run.inserted, run.updated, run.deleted) == (0, 1, 0)
    assert mssql.backup_rows() == mssql.source_rows()
    assert mssql.counts() == (0, 0, 0, 3)


def test_a_decimal_or_float_version_is_compared_as_a_number(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version DECIMAL(9,2) NOT NULL", [(1, "9.00"), (2, "1.00")])
    mssql.initialize()
    mssql.sync()
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 10.00 WHERE Id = 1")
    assert mssql.counts() == (0, 1, 0, 1)


def test_identity_computed_and_rowversion_columns_become_plain_values(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT IDENTITY(10, 5) PRIMARY KEY, A INT NOT NULL, Twice AS (A * 2), Version INT NOT NULL")
    for number in range(3):
        mssql.run_source(f"INSERT INTO {mssql.table} (A, Version) VALUES ({number}, 1)")
    mssql.initialize()
    assert mssql.counts() == (3, 0, 0, 0)
    assert [(row["Id"], row["A"], row["Twice"]) for row in mssql.backup_rows()] == [(10, 0, 0), (15, 1, 2), (20, 2, 4)]
    assert mssql.counts(force=True) == (0, 3, 0, 0)
    assert mssql.backup_rows() == mssql.source_rows()


def test_types_that_cannot_be_copied_are_refused_with_the_reason(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, V SQL_VARIANT")
    with pytest.raises(ConfigurationError, match=r"column V of .* is of type sql_variant: each of its values"):
        mssql.initialize()


def test_a_wrong_password_is_a_configuration_error_without_the_password(mssql: MssqlBackend) -> None:
    from backup_sync.stores.mssql.store import mssql_store

    uri = mssql.source_uri.replace("Backup_sync1", "S3cret-wrong")
    if uri == mssql.source_uri:
        pytest.skip("only for a server whose password is known here")
    store = mssql_store(mssql.service(), lambda _: mssql.connect(uri, mssql.source_database), "source", "x", copy=False)
    with pytest.raises(ConfigurationError) as caught:
        store.catalog.describe()
    assert "S3cret" not in str(caught.value)


@pytest.mark.parametrize("names", [("piece", "mix"), ("c0", "c1"), ("n", "key_number")])
def test_columns_may_be_named_as_the_statements_name_their_own(sql: Backend, names: tuple[str, str]) -> None:
    key, stamp = names
    remake(sql, f"{key} INTEGER NOT NULL PRIMARY KEY, {stamp} INTEGER NOT NULL", [(n, 1) for n in range(1, 401)])
    service = sql.service(changed={stamp: "higher"})
    sql.initialize(service=service)
    assert sql.sync(service=service).inserted == 400
    execute(sql, f"UPDATE THINGS SET {stamp} = 2 WHERE {key} = 7")
    run = sql.sync(service=service)
    assert (run.updated, run.skipped) == (1, 399)


def test_a_moment_with_an_offset_is_not_compared_as_text(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version DATETIMEOFFSET NOT NULL")
    with pytest.raises(ConfigurationError, match=r"Version of .* is DATETIMEOFFSET.* newer in place of higher"):
        mssql.initialize()
    mssql.initialize(service=mssql.service(changed={"Version": "newer"}))


def test_a_forced_run_that_died_writes_and_counts_each_record_once(sql: Backend) -> None:
    sql.small(range_records=130)
    sql.put(*((number, 1, f"text {number}") for number in range(1, 401)))
    sql.initialize()
    sql.sync()
    sql.put((5, 1, "in silence"), (395, 1, "in silence"))
    passed = itertools.count(1)

    def die(name: str) -> None:
        if name == "after write" and next(passed) == 2:
            raise KeyboardInterrupt

    with faults.installed(die), pytest.raises(KeyboardInterrupt):
        sql.sync(run_id="forced", force=True)
    assert 100 < sum(row["UpdatedCount"] for row in sql.history_rows()) < 300
    run = sql.sync(run_id="forced", force=True)
    assert (run.updated, run.skipped, run.attempt) == (400, 0, 2)
    assert sql.backup_rows() == sql.source_rows()
    # It has succeeded: who clears it asks for all of it once more.
    assert sql.sync(run_id="forced", force=True).updated == 800


def test_pieces_that_are_missing_here_and_there_are_copied_and_nothing_else_is(sql: Backend) -> None:
    holes = {*range(129, 257), *range(385, 513)}
    sql.put(*((number, 1, "x") for number in range(1, 1_001) if number not in holes))
    sql.initialize()
    sql.sync()
    sql.put(*((number, 1, "x") for number in holes))
    assert sql.counts() == (256, 0, 0, 744)
    assert sql.backup_rows() == sql.source_rows()

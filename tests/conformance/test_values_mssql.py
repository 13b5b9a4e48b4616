"""Values arrive as they left: SQL Server, by both ways of writing, as new rows and as changed ones."""

from __future__ import annotations

import pymssql
import pytest

from backup_sync.stores.mssql.writer import MssqlWriter
from tests.conformance.backends import MssqlBackend
from tests.conformance.test_sql import remake

EDGES: dict[str, list[str]] = {
    "DATETIME2(7)": ["'0001-01-01'", "'0999-01-01'", "'1000-01-01'", "'1752-12-31T23:59:59.999999'", "'1753-01-01'"],
    "DATE": ["'0999-12-31'", "'1582-10-10'", "'1752-09-05'", "'1753-01-01'", "'1899-12-31'"],
    "DATETIMEOFFSET(7)": ["'0001-01-02T00:00:00+14:00'", "'2024-01-01T00:00:00.000001-14:00'"],
    "DECIMAL(38,38)": ["0.00000000000000000000000000000000000001", "-0.99999999999999999999999999999999999999"],
    "DECIMAL(38,0)": ["-99999999999999999999999999999999999999"],
    "MONEY": ["-922337203685477.5808", "922337203685477.5807", "-0.0001"],
    "FLOAT": ["1.7976931348623157e308", "5e-324", "2.2250738585072009e-308", "CONVERT(FLOAT, '-0.0')", "1e23"],
    "REAL": ["-3.4028234e38", "1.4e-45", "CONVERT(REAL, '-0.0')", "0.1"],
    "NVARCHAR(50)": [
        "N'tab\t'",
        "N'line\r\n'",
        "N'\u00a0'",
        "N'\u3000'",
        "N' '",
        "N'\ufeff\uffff'",
        "N'why?'",
        "N'? 🎁 '",
    ],
    "VARCHAR(50)": ["'tab\t'", "N'€Ÿ™'", "' '", "'?'", "'é? '"],
    "CHAR(5)": ["'?'", "' é?'"],
    "NCHAR(5)": ["N''", "N'?🎁'", "N'xyz🎁'"],
    "VARBINARY(50)": ["0x00", "0x20", "0x612020", "0x610000", "0x5C0A", "0x5C0D0A", "0x27"],
    "BINARY(4)": ["0x20202020", "0x5C0A5C0A"],
    "NVARCHAR(MAX)": ["REPLICATE(CAST(N'é🎁?' AS NVARCHAR(MAX)), 400000)", "N'a\\\nb'", "N'\x01\x1f\x7f\x80'"],
    "VARBINARY(MAX)": ["CAST(REPLICATE(CAST('x ' AS VARCHAR(MAX)), 700000) AS VARBINARY(MAX))"],
    "XML": ["N'<a> <b/>\n </a>'", "N'<a xml:space=\"preserve\"> é🎁? </a>'"],
    "UNIQUEIDENTIFIER": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "BIT": ["0", "1"],
}
NOT_BY_BULK = ("DATETIMEOFFSET(7)", "XML")


def exactly(mssql: MssqlBackend, types: list[str]) -> tuple[list[str], list[str]]:
    """Both ends as the server writes them; repr tells -0.0 from 0.0."""
    parts = ["Id"]
    for number, type_ in enumerate(types):
        if type_.startswith("DATE"):
            parts.append(f"CONVERT(VARCHAR(40), c{number}, 121)")
        elif type_ == "MONEY" or type_.startswith("DECIMAL"):
            parts.append(f"CONVERT(VARCHAR(60), CONVERT(DECIMAL(38, {38 if '38,38' in type_ else 4}), c{number}))")
        else:
            parts.append(f"CONVERT(NVARCHAR(MAX), c{number})" if type_ in ("XML", "UNIQUEIDENTIFIER") else f"c{number}")
    if "DECIMAL(38,0)" in types:
        parts[types.index("DECIMAL(38,0)") + 1] = f"CONVERT(VARCHAR(60), c{types.index('DECIMAL(38,0)')})"
    sql = f"SELECT {', '.join(parts)} FROM {mssql.table} ORDER BY Id"
    return list(map(repr, mssql.run_source(sql))), list(map(repr, mssql.run_backup(sql)))


@pytest.mark.parametrize("path", ["openjson", "bulk"])
def test_values_at_the_edges_of_their_types_arrive_as_they_left(
    mssql: MssqlBackend, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[int] = []
    copy = MssqlWriter._bulk_copy
    monkeypatch.setattr(MssqlWriter, "_bulk_copy", lambda self, rows: (copied.append(len(rows)), copy(self, rows))[1])
    if path == "bulk":
        mssql.small(bulk_rows=1)
    types = [type_ for type_ in EDGES if path == "openjson" or type_ not in NOT_BY_BULK]
    columns = ", ".join(f"c{number} {type_} NULL" for number, type_ in enumerate(types))
    remake(mssql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, {columns}")
    total = 0
    for number, type_ in enumerate(types):
        # A row for each value, with NULL beside it: one value that a bulk copy cannot carry keeps its whole row from it.
        rows = ", ".join(f"({total + n}, 1, {value})" for n, value in enumerate(EDGES[type_]))
        mssql.run_source(f"INSERT INTO {mssql.table} (Id, Version, c{number}) VALUES {rows}")
        total += len(EDGES[type_])
    mssql.initialize()
    assert mssql.counts() == (total, 0, 0, 0)
    source, backup = exactly(mssql, types)
    assert backup == source
    assert (sum(copied) > total // 2) == (path == "bulk")
    nothing = ", ".join(f"c{number} = NULL" for number in range(len(types)))
    mssql.run_backup(f"UPDATE {mssql.table} SET {nothing}")
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 2")
    assert mssql.counts() == (0, total, 0, 0)
    assert exactly(mssql, types) == (source, source)


@pytest.mark.parametrize("bulk", [False, True], ids=["openjson", "bulk"])
@pytest.mark.parametrize(
    ("type_", "old", "new", "other"),
    [
        ("NVARCHAR(9) COLLATE Latin1_General_CI_AS", "N'a'", "N'A'", "N''"),
        ("NVARCHAR(9) COLLATE Latin1_General_CI_AI", "N'e'", "N'É'", "N'?'"),
        ("VARCHAR(9)", "'a'", "'a  '", "'b?'"),
        ("VARBINARY(8)", "0x01", "0x0100", "0x"),
        (
            "DATETIMEOFFSET(3)",
            "'2024-01-01T00:00:00+00:00'",
            "'2024-01-01T01:00:00+01:00'",
            "'2024-01-02T00:00:00+05:00'",
        ),
    ],
    ids=["case", "accent", "blanks", "zero bytes", "offset"],
)
def test_a_key_that_is_told_in_another_way_is_an_update_and_deletes_nothing(
    mssql: MssqlBackend, type_: str, old: str, new: str, other: str, bulk: bool
) -> None:
    mssql.small(bulk_rows=1 if bulk else 10**9)
    remake(mssql, f"K {type_} NOT NULL PRIMARY KEY, Version INT NOT NULL")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({old}, 1), ({other}, 1)")
    mssql.initialize()
    assert mssql.counts() == (2, 0, 0, 0)
    mssql.run_source(f"UPDATE {mssql.table} SET K = {new} WHERE K = {old}")
    assert mssql.counts() == (0, 1, 0, 1)
    assert repr(mssql.backup_rows()) == repr(mssql.source_rows())
    assert mssql.counts() == (0, 0, 0, 2)


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        ("MONEY", ["-922337203685477.5808", "-0.0001", "0", "922337203685477.5807"]),
        ("DECIMAL(38,10)", ["-1234567890123456789012345678.0123456789", "-0.0000000001", "0", "0.0000000001"]),
        ("FLOAT", ["-1.7976931348623157e308", "-0.1", "0.30000000000000004", "1.7976931348623157e308"]),
        ("NVARCHAR(9)", ["N'a\\\nb'", "N'a\\b'", "N'b?'", "N'🎁'"]),
        ("VARBINARY(9)", ["0x5C0A", "0x5C0A01", "0x27", "0xFF"]),
    ],
    ids=["money", "decimal", "float", "text", "binary"],
)
def test_extreme_keys_bound_ranges_and_lose_no_change(mssql: MssqlBackend, type_: str, keys: list[str]) -> None:
    mssql.small(range_records=1)
    remake(mssql, f"K {type_} NOT NULL, N SMALLINT NOT NULL, Version INT NOT NULL, PRIMARY KEY (K, N)")
    rows = ", ".join(f"({key}, {n}, 1)" for key in keys for n in (-32768, 5))
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES {rows}")
    mssql.initialize()
    assert mssql.counts() == (8, 0, 0, 0)
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 2 WHERE K = {keys[0]} AND N < 0")
    mssql.run_source(f"DELETE FROM {mssql.table} WHERE K = {keys[3]} AND N > 0")
    assert mssql.counts() == (0, 1, 1, 6)
    assert repr(mssql.backup_rows()) == repr(mssql.source_rows())


@pytest.mark.parametrize(
    ("type_", "old", "new"),
    [
        ("DATETIME2(7)", "'2024-01-01T00:00:00.000001'", "'2024-01-01T00:00:00.000002'"),
        ("DATETIMEOFFSET(7)", "'2024-01-01T00:00:00+00:00'", "'2024-01-01T01:00:00.000001+01:00'"),
        ("BINARY(8)", "0x00000000000007FF", "0x0000000000000800"),
        ("DECIMAL(38,10)", "9.9999999999", "10.0000000000"),
        ("MONEY", "0.0001", "0.0002"),
        ("BIGINT", "9223372036854775806", "9223372036854775807"),
    ],
)
def test_the_smallest_step_of_a_stamp_is_a_change_and_so_is_its_appearing(
    mssql: MssqlBackend, type_: str, old: str, new: str
) -> None:
    remake(mssql, f"Id INT NOT NULL PRIMARY KEY, Version {type_} NULL")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES (1, {old}), (2, NULL), (3, {old}), (4, NULL)")
    mssql.settings["changed"] = {"Version": "newer" if type_.startswith("DATE") else "higher"}
    mssql.initialize()
    assert mssql.counts() == (4, 0, 0, 0)
    assert mssql.counts() == (0, 0, 0, 4)
    mssql.run_source(f"UPDATE {mssql.table} SET Version = {new} WHERE Id IN (1, 2)")
    assert mssql.counts() == (0, 2, 0, 2)
    assert repr(mssql.backup_rows()) == repr(mssql.source_rows())


@pytest.mark.parametrize("code", [0, 0xD800], ids=["nul", "half a pair"])
def test_characters_that_only_sql_server_holds_arrive_as_they_left(mssql: MssqlBackend, code: int) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, T NVARCHAR(9) NULL")
    try:
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES (1, 1, N'a' + NCHAR({code}) + N'b')")
        held = mssql.run_source(f"SELECT DATALENGTH(T) FROM {mssql.table}") == [(6,)]
    except pymssql.Error:
        held = False
    if not held:
        pytest.skip("this T-SQL server keeps its text in PostgreSQL, which has no such character")
    mssql.initialize()
    sql = f"SELECT CONVERT(VARBINARY(18), T) FROM {mssql.table}"
    assert mssql.counts() == (1, 0, 0, 0)
    assert mssql.run_backup(sql) == mssql.run_source(sql)
    assert mssql.counts(force=True) == (0, 1, 0, 0)
    assert mssql.run_backup(sql) == mssql.run_source(sql)


OTHERS: dict[str, tuple[str, str]] = {
    "DATETIME2(7)": ("'2024-01-01T00:00:00.000001'", "'2024-01-01T00:00:00.000002'"),
    "DATE": ("'2024-01-01'", "'2024-01-02'"),
    "TIME(7)": ("'10:00:00.000001'", "'10:00:00.000002'"),
    "DATETIME": ("'2024-01-01T00:00:00.003'", "'2024-01-01T00:00:00.007'"),
    "DATETIMEOFFSET(7)": ("'2024-01-01T12:00:00+01:00'", "'2024-01-01T11:00:00+00:00'"),
    "DECIMAL(38,10)": ("9.9999999998", "9.9999999999"),
    "MONEY": ("0.0001", "0.0002"),
    "FLOAT": ("0.1", "0.10000000000000002"),
    "REAL": ("1.5", "1.5000001"),
    "BIGINT": ("9223372036854775806", "9223372036854775807"),
    "SMALLINT": ("1", "-1"),
    "TINYINT": ("0", "1"),
    "BIT": ("0", "1"),
    "NVARCHAR(50)": ("N'a'", "N'A'"),
    "NVARCHAR(60)": ("N'a'", "N'a '"),
    "NVARCHAR(MAX)": ("N'e\u0301'", "N'é'"),
    "VARCHAR(50)": ("'a'", "'a '"),
    "VARCHAR(MAX)": ("'|2:ab'", "'|2:aB'"),
    "CHAR(5)": ("'a'", "'á'"),
    "NCHAR(5)": ("N'a'", "N'A'"),
    "VARBINARY(50)": ("0x01", "0x0100"),
    "VARBINARY(MAX)": ("0x00", "0x01"),
    "BINARY(4)": ("0x01", "0x02"),
    "UNIQUEIDENTIFIER": ("'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "'6F9619FF-8B86-D011-B42D-00C04FC964FE'"),
    "XML": ("N'<a> <b/></a>'", "N'<a><b/></a>'"),
}


def test_a_value_that_differs_in_any_byte_is_drift_and_its_column_is_named(mssql: MssqlBackend) -> None:
    columns = ", ".join(f"c{number} {type_} NULL" for number, type_ in enumerate(OTHERS))
    remake(mssql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, {columns}")
    for number, (value, _) in enumerate(OTHERS.values()):
        mssql.run_source(f"INSERT INTO {mssql.table} (Id, Version, c{number}) VALUES ({number}, 1, {value})")
    mssql.initialize()
    mssql.sync()
    for number, (value, _) in enumerate(OTHERS.values()):
        # What is tried here is the comparison: a server that is not Microsoft's may have made something else of a value.
        mssql.run_backup(f"UPDATE {mssql.table} SET c{number} = {value} WHERE Id = {number}")
    service = mssql.service(verify_again_seconds=0)
    assert mssql.verify(service).success
    for number, (value, other) in enumerate(OTHERS.values()):
        for column, wrong, right in ((number, other, value), (number, "NULL", value), (number - 1, "NULL", "NULL")):
            column %= len(OTHERS)
            if wrong == right:
                wrong = list(OTHERS.values())[column][0]
            mssql.run_backup(f"UPDATE {mssql.table} SET c{column} = {wrong} WHERE Id = {number}")
            run = mssql.verify(service)
            assert run.verified is not None
            assert run.verified["Drift"] == {"Count": 1, "Keys": [[number]], "Fields": {f"c{column}": 1}}, (
                number,
                wrong,
            )
            mssql.run_backup(f"UPDATE {mssql.table} SET c{column} = {right} WHERE Id = {number}")
    assert mssql.verify(service).success


def test_what_moves_from_one_column_to_the_next_is_seen(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A NVARCHAR(50) NULL, B NVARCHAR(50) NULL")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES (1, 1, N'a|2:b', N'c'), (2, 1, N'', NULL), (3, 1, N'-', N'')")
    mssql.initialize()
    mssql.sync()
    service = mssql.service(verify_again_seconds=0)
    for key, a, b in ((1, "N'a'", "N'b|2:c'"), (2, "NULL", "N''"), (3, "N''", "N'-'")):
        mssql.run_backup(f"UPDATE {mssql.table} SET A = {a}, B = {b} WHERE Id = {key}")
    run = mssql.verify(service)
    assert run.verified is not None
    assert run.verified["Drift"]["Fields"] == {"A": 3, "B": 3}


def test_long_rows_and_columns_of_several_collations_are_verified(mssql: MssqlBackend) -> None:
    remake(
        mssql,
        "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, A NVARCHAR(3000) COLLATE Latin1_General_CI_AS NULL, "
        "B NVARCHAR(3000) COLLATE Latin1_General_BIN2 NULL, C VARCHAR(20) COLLATE Latin1_General_CI_AS NULL",
    )
    mssql.run_source(
        f"INSERT INTO {mssql.table} VALUES (1, 1, REPLICATE(N'x', 3000), REPLICATE(N'y', 3000), 'end'), (2, 1, N'a', N'b', 'c')"
    )
    mssql.initialize()
    mssql.sync()
    service = mssql.service(verify_again_seconds=0)
    assert mssql.verify(service).success
    mssql.run_backup(f"UPDATE {mssql.table} SET C = 'enD'")
    run = mssql.verify(service)
    assert run.verified is not None
    assert run.verified["Drift"] == {"Count": 2, "Keys": [[1], [2]], "Fields": {"C": 2}}


def test_the_seventh_digit_of_a_moment_is_compared(mssql: MssqlBackend) -> None:
    remake(mssql, "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, At DATETIME2(7) NULL")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES (1, 1, '2024-01-01T00:00:00.0000001')")
    if not mssql.run_source(f"SELECT CONVERT(VARCHAR(34), At, 121) FROM {mssql.table}")[0][0].endswith("1"):
        pytest.skip("this T-SQL server keeps six digits of a second")
    mssql.initialize()
    mssql.sync()
    mssql.run_backup(f"UPDATE {mssql.table} SET At = '2024-01-01T00:00:00.0000002'")
    run = mssql.verify(mssql.service(verify_again_seconds=0))
    assert run.verified is not None
    assert run.verified["Drift"]["Fields"] == {"At": 1}


@pytest.mark.parametrize("key", ["TIME(3)", "FLOAT"])
def test_a_value_that_differs_is_drift_whatever_the_key_is(mssql: MssqlBackend, key: str) -> None:
    remake(mssql, f"Id {key} NOT NULL PRIMARY KEY, Version INT NOT NULL, [Te xt] NVARCHAR(50)")
    value = "CONVERT(TIME(3), '00:00:0{}')" if key == "TIME(3)" else "{}.5"
    for number in range(5):
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({value.format(number)}, 1, N'text')")
    service = mssql.service(verify_again_seconds=0)
    mssql.initialize(service=service)
    mssql.sync(service=service)
    assert mssql.verify(service).success
    mssql.run_backup(f"UPDATE {mssql.table} SET [Te xt] = N'text ' WHERE Id = {value.format(3)}")
    run = mssql.verify(service)
    assert run.drift == 1
    assert mssql.counts(service=mssql.service(changed="content")) == (0, 1, 0, 4)
    assert mssql.verify(service).success

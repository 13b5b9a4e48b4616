"""(key, stamp) pairs that SQL Server packs are those that it gives a row each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any

import pytest

from backup_sync.model.errors import RetriableError
from backup_sync.stores.mssql.pairs import NULL, SEPARATOR, JoinedPairs, PlainPairs
from backup_sync.stores.mssql.reader import MssqlReader
from tests.conformance.backends import MssqlBackend

ODD = [
    "",
    "plain",
    "blank inside and behind  ",
    "a,b",
    "'quoted' \"twice\" [thrice]",
    "back\\slash\\",
    "bar|",
    "|",
    SEPARATOR[:-1],
    SEPARATOR[1:],
    NULL[:-1],
    "NULL",
    "🎁👩‍👩‍👧 żółć 漢字",
    "control \x01\x1e\x1f\t\r\n end",
    "%s %d {}",
]
GUIDS = [f"{n * 7919:08X}-8B86-D011-B42D-00C04FC964FF" for n in range(1, 12)]

KINDS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "guid": (
        "K UNIQUEIDENTIFIER NOT NULL PRIMARY KEY, Version INT NOT NULL",
        [(guid, n) for n, guid in enumerate(GUIDS)],
    ),
    "nvarchar": (
        "K NVARCHAR(60) NOT NULL PRIMARY KEY, Version INT NOT NULL",
        [(text, n) for n, text in enumerate(ODD)],
    ),
    "bigint": (
        "K BIGINT NOT NULL PRIMARY KEY, Version BIGINT NULL",
        [(key, -key if key % 2 else None) for key in (-(2**63) + 1, -(2**40), -5, -1, 0, 1, 7, 2**40, 2**63 - 1)],
    ),
    "composite": (
        "A INT NOT NULL, B NVARCHAR(60) NOT NULL, C UNIQUEIDENTIFIER NOT NULL, Version INT NOT NULL, PRIMARY KEY (A, B, C)",
        [(n % 3, text, GUIDS[n % 4], n) for n, text in enumerate(ODD)],
    ),
    "datetime2": (
        "K DATETIME2(7) NOT NULL PRIMARY KEY, Version DATETIME2(7) NULL",
        [
            ("2024-02-29 12:34:56.1234567", "0001-01-01 00:00:00"),
            ("2024-02-29 12:34:56.1234", None),
            ("2024-02-29 12:34:56", "9999-12-31 23:59:59.999999"),
            ("1953-07-01 00:00:00.0000001", "2024-02-29 12:34:56.1"),
        ],
    ),
    "decimal": (
        "K DECIMAL(38,10) NOT NULL PRIMARY KEY, Version DECIMAL(20,4) NULL",
        [("1234567890123456789012345678.0123456789", "-0.0001"), ("0", "9.00"), ("-1.5", None), ("10", "10")],
    ),
    "varchar": (
        "K CHAR(8) NOT NULL PRIMARY KEY, Version VARCHAR(20) NULL",
        [("a", ""), ("ab", None), ("café", "café "), ("a,b", SEPARATOR[1:]), ("NULL", "NULL")],
    ),
    "nchar": (
        "K NCHAR(8) NOT NULL PRIMARY KEY, Version NVARCHAR(60) NULL",
        [("none", None), *((f"żó {n}", text) for n, text in enumerate(ODD))],
    ),
}


@contextmanager
def opened(mssql: MssqlBackend, to_a_row: int | None = 4) -> Iterator[MssqlReader]:
    """The source, with packs so small that the few rows here fill more than one; None: of their own size."""
    store, _ = mssql.open(mssql.service())
    with closing(store):
        reader = store.reader(store.catalog.describe())
        assert isinstance(reader, MssqlReader)
        assert isinstance(reader.codec, JoinedPairs)
        if to_a_row is not None:
            reader.codec.to_a_row = to_a_row
        yield reader


def make(mssql: MssqlBackend, columns: str, rows: list[tuple[Any, ...]]) -> None:
    mssql.run_source(f"DROP TABLE {mssql.table}")
    mssql.run_source(f"CREATE TABLE {mssql.table} ({columns})")
    if rows:
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def taken_apart(reader: MssqlReader) -> list[tuple[Any, Any]]:
    bundles = set(chain.from_iterable(reader.pairs(None)))
    pairs = reader.codec.open(bundles)
    assert reader.codec.count(bundles) == len(pairs)
    return [reader.codec.split(pair) for pair in pairs]


def same_pairs(reader: MssqlReader, rows: int) -> None:
    packed = taken_apart(reader)
    reader.codec = PlainPairs(reader.view)
    plain = taken_apart(reader)
    assert len(packed) == len(plain) == rows
    # By their text as well: what is equal in Python may be of another type.
    assert sorted(map(repr, packed)) == sorted(map(repr, plain))
    assert set(packed) == set(plain)
    keys = [key for key, _ in packed]
    assert reader.present(keys) == set(keys)
    assert {reader.key_of(record) for record in chain.from_iterable(reader.records_of(keys))} == set(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_pairs_are_those_of_a_row_each(mssql: MssqlBackend, kind: str) -> None:
    columns, rows = KINDS[kind]
    make(mssql, columns, rows)
    with opened(mssql) as reader:
        same_pairs(reader, len(rows))


@pytest.mark.parametrize(
    "columns, literals",
    [
        (
            "K INT NOT NULL PRIMARY KEY, Version BINARY(8) NULL",
            [
                "1, 0x0000000000000000",
                "2, 0x00000000000007D1",
                "3, 0x80000000000000FF",
                "4, 0xFFFFFFFFFFFFFFFF",
                "5, NULL",
            ],
        ),
        ("K BINARY(8) NOT NULL PRIMARY KEY, Version BINARY(8) NOT NULL", ["0x80000000000000FF, 0x0000000000000A00"]),
        (
            "K DATE NOT NULL, L DATETIME2(0) NOT NULL, M DATETIME2(3) NOT NULL, N DATETIMEOFFSET(0) NOT NULL, "
            "Version DATETIMEOFFSET(7) NULL, PRIMARY KEY (K, L, M, N)",
            [
                "'0001-01-01', '0001-01-01', '2024-02-29 12:34:56.1', '2024-02-29 12:34:56 -11:00', "
                "'2024-02-29 12:34:56.123456 +05:30'",
                "'9999-12-31', '9999-12-31 23:59:59', '2024-02-29', '2024-02-29 12:34:56 +00:00', '2024-02-29 00:00:00 +00:00'",
                "'2024-02-29', '2024-02-29 12:00:00', '2024-02-29 00:00:00.123', '2024-02-29 00:00:00 +14:00', NULL",
            ],
        ),
    ],
    ids=["rowversion stamp", "rowversion key", "moments"],
)
def test_packed_bytes_and_moments_are_those_of_a_row_each(
    mssql: MssqlBackend, columns: str, literals: list[str]
) -> None:
    mssql.settings["changed"] = {"Version": "newer" if "DATE" in columns else "higher"}
    make(mssql, columns, [])
    for text in literals:
        mssql.run_source(f"INSERT INTO {mssql.table} VALUES ({text})")
    with opened(mssql) as reader:
        same_pairs(reader, len(literals))


@pytest.mark.parametrize("key", ["INT", "BIGINT", "DECIMAL(12,2)", "NVARCHAR(20)", "UNIQUEIDENTIFIER"])
def test_packed_keys_keep_their_own_stamps_in_any_order_of_the_server(mssql: MssqlBackend, key: str) -> None:
    # Numbers of several lengths and signs are in another order as text, and GUIDs in one of SQL Server's own.
    numbers = [n * 7919 * (-1) ** n for n in range(1, 400)]
    rows = [
        (f"{abs(n) * 104729 % 2**32:08X}-0000-0000-0000-{abs(n):012}" if key == "UNIQUEIDENTIFIER" else n, n)
        for n in numbers
    ]
    make(mssql, f"K {key} NOT NULL PRIMARY KEY, Version BIGINT NOT NULL", [(str(k), n) for k, n in rows])
    with opened(mssql, to_a_row=150) as reader:
        same_pairs(reader, len(rows))


def test_null_and_empty_and_blank_texts_are_told_apart_when_packed(mssql: MssqlBackend) -> None:
    make(mssql, "K BIGINT NOT NULL PRIMARY KEY, Version NVARCHAR(20) NULL", [(1, None), (2, ""), (3, " "), (4, "NULL")])
    with opened(mssql) as reader:
        pairs = dict(taken_apart(reader))
    assert pairs == {(1,): (None,), (2,): ("",), (3,): (" ",), (4,): ("NULL",)}


def test_a_text_that_holds_the_drawn_separator_stops_the_run_and_pairs_nothing_wrongly(mssql: MssqlBackend) -> None:
    make(mssql, "K NVARCHAR(60) NOT NULL PRIMARY KEY, Version INT NOT NULL", [(f"a{SEPARATOR}b", 1), ("c", 2)])
    with opened(mssql) as reader, pytest.raises(RetriableError, match="the next attempt draws another"):
        taken_apart(reader)


def test_full_packs_of_the_longest_values_fit(mssql: MssqlBackend) -> None:
    rows = [(f"{n:060}", "9" * 20 + f"{n:02}") for n in range(60)]
    make(mssql, "K NVARCHAR(60) NOT NULL PRIMARY KEY, Version NVARCHAR(22) NULL", rows)
    with opened(mssql, to_a_row=None) as reader:
        same_pairs(reader, len(rows))


def test_changes_among_packed_pairs_are_found_and_written(mssql: MssqlBackend) -> None:
    columns, rows = KINDS["composite"]
    make(mssql, columns, rows)
    mssql.initialize()
    assert mssql.counts() == (len(rows), 0, 0, 0)
    mssql.run_source(f"UPDATE {mssql.table} SET Version = 100 WHERE B IN (N'back\\slash\\', N'')")
    mssql.run_source(f"DELETE FROM {mssql.table} WHERE B = N'|'")
    mssql.run_source(f"INSERT INTO {mssql.table} VALUES (7, N'new, one', '{GUIDS[0]}', 1)")
    assert mssql.counts() == (1, 2, 1, len(rows) - 3)
    assert mssql.backup_rows() == mssql.source_rows()
    assert mssql.counts(force=True) == (0, len(rows), 0, 0)

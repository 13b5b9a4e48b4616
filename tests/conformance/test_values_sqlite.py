"""Values arrive as they left: SQLite, which takes any value in any column."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import FatalError
from tests.conformance.backends import SqliteBackend

VALUES = [
    *(math.inf, -math.inf, math.nan, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 0.30000000000000004),
    *(2**63 - 1, -(2**63), 2**53 + 1, 1.0, None, "1e5", " 12 ", "0x10", "", "NaN", "nul\0inside", "\0", "🎁"),
    *(b"", b"\0", b"\xff"),
]
NO_UTF8 = ["61ff62", "eda080", "c3", "80"]
"""Hex of texts that are no UTF-8: a stray byte, half a surrogate pair, half a letter, half of another one."""


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


def made(backend: SqliteBackend, columns: str) -> SqliteBackend:
    backend.run_source("DROP TABLE Things")
    backend.run_source(f"CREATE TABLE Things ({columns})")
    return backend


def exact(path: Path) -> list[str]:
    """Each row with its storage classes, text as bytes; repr tells -0.0 from 0.0."""
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        names = [row[1].decode() for row in db.execute("PRAGMA table_info(Things)") if row[1] != b"SyncedAt"]
        columns = ", ".join(f"{name}, typeof({name})" for name in names)
        return sorted(map(repr, db.execute(f"SELECT {columns} FROM Things")))


def in_step(backend: SqliteBackend) -> None:
    assert exact(backend.backup_path) == exact(backend.source_path)


def test_every_value_keeps_its_storage_class_in_a_column_of_every_affinity(sqlite: SqliteBackend) -> None:
    made(sqlite, "Id INTEGER PRIMARY KEY, Version INTEGER, V, R REAL, N NUMERIC, T TEXT, I INTEGER, B BLOB")
    rows = [(number, 1, *[value] * 6) for number, value in enumerate(VALUES)]
    sqlite.run_source("INSERT INTO Things VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    sqlite.initialize()
    assert sqlite.counts() == (len(VALUES), 0, 0, 0)
    in_step(sqlite)
    # A later change goes through Python, which a first load does not.
    sqlite.run_source("UPDATE Things SET Version = 2")
    assert sqlite.counts() == (0, len(VALUES), 0, 0)
    in_step(sqlite)
    assert sqlite.counts() == (0, 0, 0, len(VALUES))


def test_text_that_is_not_utf_8_arrives_byte_by_byte(sqlite: SqliteBackend) -> None:
    made(sqlite, "Id INTEGER PRIMARY KEY, Version INTEGER, A, B TEXT")
    sqlite.initialize()
    sqlite.run_source("INSERT INTO Things VALUES (0, 1, 'plain', 'plain')")
    assert sqlite.counts() == (1, 0, 0, 0)
    for number, text in enumerate(NO_UTF8, start=1):
        sqlite.run_source(f"INSERT INTO Things VALUES ({number}, 1, CAST(x'{text}' AS TEXT), 'żó')")
    sqlite.run_source("UPDATE Things SET Version = 2, B = CAST(x'ff' AS TEXT) WHERE Id = 0")
    assert sqlite.counts() == (len(NO_UTF8), 1, 0, 0)
    in_step(sqlite)
    assert sqlite.counts(force=True) == (0, len(NO_UTF8) + 1, 0, 0)
    in_step(sqlite)


def test_text_that_is_not_utf_8_is_filled_into_a_new_column(sqlite: SqliteBackend) -> None:
    sqlite.put((1, 1, "one"), (2, 1, "two"))
    sqlite.initialize()
    sqlite.sync()
    sqlite.run_source("ALTER TABLE Things ADD COLUMN Fax TEXT")
    sqlite.run_source("UPDATE Things SET Fax = CAST(x'61ff' AS TEXT) WHERE Id = 1")
    sqlite.initialize()
    assert sqlite.counts() == (0, 1, 0, 1)
    assert [row[-1] for row in rows_as_bytes(sqlite.backup_path, "SELECT Fax FROM Things ORDER BY Id")] == [
        b"a\xff",
        None,
    ]


def rows_as_bytes(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        return db.execute(sql).fetchall()


def test_a_key_that_is_not_utf_8_is_refused_by_the_name_of_its_column(sqlite: SqliteBackend) -> None:
    made(sqlite, "Code TEXT NOT NULL PRIMARY KEY, Version INTEGER")
    sqlite.run_source("INSERT INTO Things VALUES ('a', 1)")
    sqlite.initialize()
    sqlite.sync()
    sqlite.run_source("INSERT INTO Things VALUES (CAST(x'61ff' AS TEXT), 1)")
    with pytest.raises(FatalError, match=r"source: key column Code of app\.Things holds text that is not valid UTF-8"):
        sqlite.sync()


def test_such_a_key_is_refused_also_where_it_would_bound_a_range(sqlite: SqliteBackend) -> None:
    sqlite.small(range_records=1)
    made(sqlite, "Code TEXT NOT NULL PRIMARY KEY, Version INTEGER")
    sqlite.run_source("INSERT INTO Things VALUES ('a', 1)")
    sqlite.initialize()
    sqlite.sync()
    sqlite.run_source("INSERT INTO Things VALUES (CAST(x'61ff' AS TEXT), 1), ('z', 1)")
    with pytest.raises(FatalError, match="key column Code of"):
        sqlite.sync()


@pytest.mark.parametrize("limit", [50_000, 3])
def test_keys_of_every_storage_class_are_told_apart(sqlite: SqliteBackend, limit: int) -> None:
    sqlite.small(range_records=limit)
    keys = [
        1,
        "1",
        b"1",
        1.5,
        2**63 - 1,
        -(2**63),
        1e308,
        math.inf,
        b"",
        "",
        b"a\0",
        "a\0",
        "a",
        "a ",
        "A",
        "é",
        "e\u0301",
    ]
    made(sqlite, "Id PRIMARY KEY NOT NULL, Version INTEGER")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [(key,) for key in keys])
    sqlite.initialize()
    assert sqlite.counts() == (len(keys), 0, 0, 0)
    assert sqlite.counts() == (0, 0, 0, len(keys))
    sqlite.run_source("UPDATE Things SET Version = 2 WHERE Id = ?", [("1",), (math.inf,), (b"",), ("a\0",)])
    sqlite.run_source("DELETE FROM Things WHERE Id = ?", [(b"1",), (1.5,), ("",)])
    assert sqlite.counts() == (0, 4, 3, len(keys) - 7)
    in_step(sqlite)


@pytest.mark.parametrize(("collation", "new"), [("NOCASE", "A"), ("RTRIM", "a ")])
def test_a_key_respelled_in_the_source_leaves_no_second_row_in_the_copy(
    sqlite: SqliteBackend, collation: str, new: str
) -> None:
    made(sqlite, f"Code TEXT COLLATE {collation} NOT NULL PRIMARY KEY, Version INTEGER")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [("a",), ("b",)])
    sqlite.initialize()
    assert sqlite.counts() == (2, 0, 0, 0)
    sqlite.run_source("UPDATE Things SET Code = ? WHERE Code = 'a'", [(new,)])
    # SQLite's catalog tells no collation, so the copy has none: there the new spelling is a new key, and the old one is gone.
    assert sqlite.counts() == (1, 0, 1, 1)
    in_step(sqlite)
    assert sqlite.counts() == (0, 0, 0, 2)


def test_a_copy_that_was_given_a_collation_by_hand_loses_no_row_to_a_respelled_key(sqlite: SqliteBackend) -> None:
    made(sqlite, "Code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, Version INTEGER")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [("a",), ("b",)])
    sqlite.initialize()
    with closing(sqlite3.connect(sqlite.backup_path)) as db, db:
        db.execute("DROP TABLE Things")
        db.execute(
            "CREATE TABLE Things (Code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, Version INTEGER, SyncedAt TEXT)"
        )
    sqlite.sync()
    sqlite.run_source("UPDATE Things SET Code = 'A' WHERE Code = 'a'")
    assert sqlite.counts() == (0, 1, 0, 1)
    in_step(sqlite)


def test_a_source_in_utf_16_is_copied_into_a_backup_in_utf_8(sqlite: SqliteBackend) -> None:
    sqlite.source_path.unlink()
    with closing(sqlite3.connect(sqlite.source_path)) as db, db:
        db.execute("PRAGMA encoding = 'UTF-16le'")
        db.execute("CREATE TABLE Things (Code TEXT NOT NULL PRIMARY KEY, Version INTEGER, T TEXT)")
        db.executemany("INSERT INTO Things VALUES (?, 1, ?)", [("żó", "🎁"), ("b", None), ("", "nul\0")])
    sqlite.initialize()
    assert sqlite.counts() == (3, 0, 0, 0)
    assert sqlite.backup_rows() == sqlite.source_rows()
    sqlite.run_source("UPDATE Things SET Version = 2, T = T || '漢'")
    assert sqlite.counts() == (0, 3, 0, 0)
    assert sqlite.backup_rows() == sqlite.source_rows()


def test_a_stamp_of_any_storage_class_is_compared_and_its_appearing_is_a_change(sqlite: SqliteBackend) -> None:
    made(sqlite, "Id INTEGER PRIMARY KEY, Version")
    before = [None, b"\x01", "a\0a", 1.5, 2**53, -1.0]
    after = [1, b"\x02", "a\0b", math.inf, 2**53 + 1, -0.5]
    sqlite.run_source("INSERT INTO Things VALUES (?, ?)", list(enumerate(before)))
    sqlite.initialize()
    assert sqlite.counts() == (len(before), 0, 0, 0)
    assert sqlite.counts() == (0, 0, 0, len(before))
    sqlite.run_source("UPDATE Things SET Version = ? WHERE Id = ?", [(new, number) for number, new in enumerate(after)])
    assert sqlite.counts() == (0, len(before), 0, 0)
    in_step(sqlite)


def test_a_value_that_differs_in_any_byte_is_drift_and_its_column_is_named(sqlite: SqliteBackend) -> None:
    values = [*VALUES, *(f"\0{text}" for text in NO_UTF8)]
    made(sqlite, "Id INTEGER PRIMARY KEY, Version INTEGER, V, R REAL, N NUMERIC, T TEXT, I INTEGER, B BLOB")
    rows = [(number, 1, *[value] * 6) for number, value in enumerate(values)]
    sqlite.run_source("INSERT INTO Things VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for number, text in enumerate(NO_UTF8, start=len(VALUES)):
        sqlite.run_source(
            f"UPDATE Things SET V = CAST(x'{text}' AS TEXT), T = CAST(x'{text}' AS TEXT) WHERE Id = {number}"
        )
    sqlite.initialize()
    sqlite.sync()
    service = sqlite.service(verify_again_seconds=0)
    assert sqlite.verify(service).success
    kept = dict.fromkeys(exact(sqlite.backup_path))
    for column in "VRNTIB":
        for number in range(len(values)):
            # The value of the next row in place of its own.
            other = f"(SELECT {column} FROM Things WHERE Id = {(number + 1) % len(values)})"
            sqlite.run_backup(f"CREATE TABLE Kept AS SELECT {column} AS v FROM Things WHERE Id = {number}")
            sqlite.run_backup(f"UPDATE Things SET {column} = {other} WHERE Id = {number}")
            differs = set(exact(sqlite.backup_path)) != set(kept)
            run = sqlite.verify(service)
            assert run.verified is not None
            assert run.verified["Drift"]["Count"] == differs, (column, values[number])
            if differs:
                assert run.verified["Drift"]["Keys"] == [[number]]
                assert run.verified["Drift"]["Fields"] == {column: 1}
            sqlite.run_backup(f"UPDATE Things SET {column} = (SELECT v FROM Kept) WHERE Id = {number}")
            sqlite.run_backup("DROP TABLE Kept")
    assert sqlite.verify(service).success


def test_a_table_of_nearly_two_thousand_columns_is_verified(sqlite: SqliteBackend) -> None:
    names = ", ".join(f"c{number}" for number in range(1_900))
    made(sqlite, f"Id INTEGER PRIMARY KEY, Version INTEGER, {names}")
    marks = ", ".join("?" * 1_902)
    sqlite.run_source(f"INSERT INTO Things VALUES ({marks})", [(n, 1, *range(1_900)) for n in range(3)])
    sqlite.initialize()
    sqlite.sync()
    service = sqlite.service(verify_again_seconds=0)
    assert sqlite.verify(service).success
    sqlite.run_backup("UPDATE Things SET c1899 = 0 WHERE Id = 2")
    run = sqlite.verify(service)
    assert run.verified is not None
    assert run.verified["Drift"]["Fields"] == {"c1899": 1}
    service = sqlite.service(keep_history="30d")
    sqlite.initialize(service=service)
    sqlite.sync(service=service)
    assert sqlite.counts(service=service, force=True) == (0, 3, 0, 0)
    assert [row["Id"] for row in sqlite.undo_rows()] == [2]


def test_rows_of_any_weight_and_keys_of_any_kind_are_verified(sqlite: SqliteBackend) -> None:
    sqlite.small(page_weight=100_000, first_page=8)
    made(sqlite, "A TEXT NOT NULL, B BLOB NOT NULL, Version INTEGER, T TEXT, PRIMARY KEY (A, B)")
    rows = [(f"k{n % 7}", bytes([n % 251, n // 251]), 1, "x" * (50_000 if n % 100 == 0 else 20)) for n in range(1_500)]
    sqlite.run_source("INSERT INTO Things VALUES (?, ?, ?, ?)", rows)
    service = sqlite.service(verify="1/3", verify_again_seconds=0, keep_history="30d")
    sqlite.initialize(service=service)
    assert [round(sqlite.sync(service=service).verified_share, 2) for _ in range(3)] == [0.33, 0.67, 1.0]
    assert sqlite.check_seal(service).success
    sqlite.run_backup("UPDATE Things SET T = 'x' || substr(T, 2) || ' ' WHERE A = 'k3' AND B = x'0a00'")
    assert not sqlite.check_seal(service).success
    run = sqlite.verify(service)
    assert run.verified is not None
    assert run.verified["Drift"] == {"Count": 1, "Keys": [["k3", "0a00"]], "Fields": {"T": 1}}


def test_a_source_in_utf_16_and_its_backup_in_utf_8_are_found_alike(sqlite: SqliteBackend) -> None:
    sqlite.source_path.unlink()
    with closing(sqlite3.connect(sqlite.source_path)) as db:
        db.execute("PRAGMA encoding = 'UTF-16le'")
        db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER, T TEXT)")
        db.executemany("INSERT INTO Things VALUES (?, 1, ?)", [(1, "é🎁"), (2, "plain"), (3, None)])
        db.commit()
    sqlite.initialize()
    sqlite.sync()
    service = sqlite.service(verify_again_seconds=0)
    assert sqlite.verify(service).success
    sqlite.run_backup("UPDATE Things SET T = 'Plain' WHERE Id = 2")
    run = sqlite.verify(service)
    assert run.verified is not None
    assert run.verified["Drift"]["Keys"] == [[2]]

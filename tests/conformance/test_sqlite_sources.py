"""Tables and views as SQLite has them: any name, any declared type, keys that hold anything, views, STRICT tables."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError
from backup_sync.stores.sqlite.dialect import affinity, written
from tests.conformance.backends import SqliteBackend


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


def script(backend: SqliteBackend, sql: str) -> None:
    with closing(sqlite3.connect(backend.source_path)) as db, db:
        db.executescript("DROP TABLE IF EXISTS Things;" + sql)


def content(path: Path, table: str = "Things") -> list[str]:
    """Each row with the storage class of each value."""
    with closing(sqlite3.connect(path)) as db:
        names = [row[1] for row in db.execute(f'PRAGMA table_xinfo("{table}")') if row[1] != "SyncedAt" and row[6] != 1]
        columns = [", ".join(form.format(name) for name in names) for form in ('"{}"', 'typeof("{}")')]
        both = [list(db.execute(f'SELECT {which} FROM "{table}" ORDER BY "{names[0]}"')) for which in columns]
        return sorted(map(repr, zip(*both, strict=True)))


def in_step(backend: SqliteBackend, table: str = "Things") -> None:
    assert content(backend.backup_path, table) == content(backend.source_path, table)
    assert content(backend.source_path, table)


# names


@pytest.mark.parametrize(
    "name",
    ["posted", "backup_sync_posted", "t", "p", "source", "main", "temp", "planned", "sync", "many", "k0", "excluded"],
)
def test_a_table_called_as_anything_of_ours_is_kept_in_step(sqlite, name):
    script(sqlite, f"CREATE TABLE [{name}] (Id TEXT PRIMARY KEY, Version INTEGER NOT NULL, V)")
    sqlite.run_source(f"INSERT INTO [{name}] VALUES (?, 1, ?)", [(f"k{n}", n) for n in range(100)])
    service = sqlite.service(table=f"app.{name}")
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (100, 0, 0, 0)
    sqlite.run_source(f"UPDATE [{name}] SET Version = 2, V = 'new' WHERE Id IN ('k5', 'k6')")
    sqlite.run_source(f"DELETE FROM [{name}] WHERE Id = 'k7'")
    assert sqlite.counts(service=service) == (0, 2, 1, 97)
    in_step(sqlite, name)


@pytest.mark.parametrize("key", ["INTEGER PRIMARY KEY", "TEXT NOT NULL PRIMARY KEY"])
@pytest.mark.parametrize("name", ["key_number", "piece", "mix", "n", "k0", "c0", "i", "rowid", "value", "order"])
def test_columns_called_as_anything_of_ours_are_columns(sqlite, key, name):
    script(sqlite, f"CREATE TABLE Things ([{name}] {key}, Version INTEGER NOT NULL, [{name} too])")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1, 'x')", [(n,) for n in range(100)])
    sqlite.initialize()
    assert sqlite.counts() == (100, 0, 0, 0)
    sqlite.run_source("UPDATE Things SET Version = 2 WHERE [" + name + "] IN (5, '5')")
    assert sqlite.counts() == (0, 1, 0, 99)
    in_step(sqlite)


def test_names_that_differ_in_more_than_the_case_of_a_to_z_are_two_columns(sqlite):
    script(sqlite, "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INT, straße, strasse, É, é, ſ, s)")
    sqlite.run_source("INSERT INTO Things VALUES (1, 1, 'a', 'b', 'c', 'd', 'e', 'f')")
    sqlite.initialize()
    assert sqlite.counts() == (1, 0, 0, 0)
    in_step(sqlite)


def test_a_column_of_the_configuration_is_found_whatever_the_case_of_a_to_z_and_no_further(sqlite):
    script(sqlite, "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Größe INTEGER NOT NULL)")
    sqlite.run_source("INSERT INTO Things VALUES (1, 1)")
    service = sqlite.service(changed={"gRößE": "higher"})
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (1, 0, 0, 0)
    with pytest.raises(ConfigurationError, match="has no column GRÖSSE"):
        sqlite.initialize(service=sqlite.service(changed={"GRÖSSE": "higher"}))


# declared types

TYPES = [
    *("[nvarchar](255)", "[my-type]", '"quo""te"', "[as]", "[unique]", "[not null]", "[a;b]", "[a,b]", "[primary key]"),
    *(
        "[default 5]",
        "[check (1)]",
        "[x -- y]",
        "[generated always]",
        "[references]",
        "[collate nocase]",
        "'text'",
        "[select]",
    ),
    *("DOUBLE PRECISION", "VARCHAR(10, 2)", "unsigned big int", "decimal(10,-2)", "[int]]", "[ſtring]", "[größe]"),
]


@pytest.mark.parametrize("declared", [type_ for type_ in TYPES if type_ != "[int]]"])
def test_a_column_of_any_declared_type_is_copied_and_followed(sqlite, declared):
    script(sqlite, f"CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL, V {declared})")
    sqlite.run_source(
        "INSERT INTO Things VALUES (?, 1, ?)", [(1, "x"), (2, None), (3, "007"), (4, 7), (5, 7.5), (6, b"x")]
    )
    sqlite.initialize()
    assert sqlite.counts() == (6, 0, 0, 0)
    in_step(sqlite)
    sqlite.run_source(f"ALTER TABLE Things ADD COLUMN W {declared.replace('[default 5]', '[default]')}")
    sqlite.run_source("UPDATE Things SET W = '007'")
    sqlite.initialize()
    assert sqlite.counts() == (0, 6, 0, 0)
    in_step(sqlite)


@pytest.mark.parametrize("type_", ["INTEGER", "NVARCHAR(255)", "UNSIGNED BIG INT", "", "DOUBLE PRECISION"])
def test_a_plain_type_is_written_as_it_is(type_):
    assert written(type_) == type_


@pytest.mark.parametrize(
    "type_", ["NOT NULL", "A,B", "X -- Y", "DEFAULT 5", "CHECK (0)", "A) STRICT --", 'A"B', "COLLATE NOCASE"]
)
def test_a_type_that_says_more_than_a_type_is_written_in_quotes_and_has_the_same_affinity(type_):
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(f"CREATE TABLE t (c {written(type_)}, d)")
        db.execute("INSERT INTO t VALUES (NULL, NULL), (NULL, NULL)")
        ((_, _, told, not_null, default, key), _) = db.execute("PRAGMA table_info(t)")
    assert (told, not_null, default, key) == (type_, 0, None, 0)


def test_an_affinity_knows_no_other_capitals_than_a_to_z():
    assert affinity("ınteger") == "NUMERIC"  # a dotless i
    assert affinity("ﬂoat") == "NUMERIC"  # a ligature


# STRICT tables


def test_any_column_of_a_strict_table_keeps_what_it_holds(sqlite):
    script(
        sqlite,
        "CREATE TABLE Things (Id ANY PRIMARY KEY, Version INT NOT NULL, A ANY, I INT, R REAL, T TEXT, B BLOB) STRICT, WITHOUT ROWID;"
        "INSERT INTO Things VALUES ('007', 1, '007', 7, 7.0, '7', x'07'), (7, 1, 7, 7, 7, '7', x''), "
        "(7.5, 1, '1e3', NULL, NULL, NULL, NULL), (x'37', 1, 1e3, 1, 1.5, '', x'00')",
    )
    sqlite.initialize()
    assert sqlite.counts() == (4, 0, 0, 0)
    in_step(sqlite)
    sqlite.run_source("UPDATE Things SET A = '00', Version = 2 WHERE Id IN ('007', 7.5)")
    sqlite.run_source("DELETE FROM Things WHERE Id = 7")
    assert sqlite.counts() == (0, 2, 1, 1)
    in_step(sqlite)


def test_any_column_of_an_ordinary_table_is_what_sqlite_makes_of_it(sqlite):
    script(sqlite, "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INT NOT NULL, A ANY)")
    sqlite.run_source("INSERT INTO Things VALUES (1, 1, '007')")
    sqlite.initialize()
    assert sqlite.counts() == (1, 0, 0, 0)
    in_step(sqlite)


# views and virtual tables


def test_a_view_with_a_key_is_copied_and_kept_in_step(sqlite):
    script(
        sqlite,
        "CREATE TABLE Base (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL, Name TEXT NOT NULL, Secret TEXT);"
        "CREATE VIEW Things AS SELECT Id, Version, Name, Id || '' AS Text FROM Base;",
    )
    sqlite.run_source("INSERT INTO Base VALUES (?, 1, 'a', 's')", [(n,) for n in range(1000)])
    service = sqlite.service(key=["Id"])
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (1000, 0, 0, 0)
    sqlite.run_source("UPDATE Base SET Version = 2, Name = 'b' WHERE Id = 500")
    sqlite.run_source("DELETE FROM Base WHERE Id = 700")
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (0, 1, 1, 998)
    in_step(sqlite)


def test_a_views_values_are_kept_whatever_type_sqlite_tells_of_its_columns(sqlite):
    script(
        sqlite,
        "CREATE TABLE A (Id INTEGER, Version INTEGER, N INTEGER); INSERT INTO A VALUES (1, 1, 7), (2, 1, 8);"
        "CREATE TABLE B (Id TEXT, Version TEXT, N TEXT); INSERT INTO B VALUES ('003', '1', '007'), ('x', '1', '1e3');"
        "CREATE VIEW Things AS SELECT Id, Version, N FROM A UNION ALL SELECT Id, Version, N FROM B",
    )
    service = sqlite.service(key=["Id"], changed={"Version": "different"})
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (4, 0, 0, 0)
    in_step(sqlite)
    assert sqlite.counts(service=service) == (0, 0, 0, 4)


def test_a_view_whose_key_holds_null_is_refused_by_the_columns_name(sqlite):
    script(sqlite, "CREATE VIEW Things AS SELECT 1 AS Id, 1 AS Version UNION SELECT NULL, 1")
    with pytest.raises(ConfigurationError, match=r"key column Id of app\.Things is nullable"):
        sqlite.initialize(service=sqlite.service(key=["Id"]))


def test_a_virtual_table_is_copied(sqlite):
    script(
        sqlite, "CREATE VIRTUAL TABLE Things USING rtree(Id, a, b); INSERT INTO Things VALUES (1, 0.5, 1.5), (2, 1, 2)"
    )
    service = sqlite.service(key=["Id"], changed={"a": "different", "b": "different"})
    sqlite.initialize(service=service)
    assert sqlite.counts(service=service) == (2, 0, 0, 0)
    in_step(sqlite)


def test_generated_columns_are_copied_as_values(sqlite):
    script(
        sqlite,
        "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER, A INTEGER, "
        "S TEXT AS (A * 2) STORED, V INTEGER AS ('00' || A) VIRTUAL)",
    )
    sqlite.run_source("INSERT INTO Things (Id, Version, A) VALUES (?, 1, ?)", [(1, 5), (2, None)])
    sqlite.initialize()
    assert sqlite.counts() == (2, 0, 0, 0)
    in_step(sqlite)


# keys that hold anything

KEYS: list[Any] = [*range(50), 2.5, 2.25, -1.5, "x", "7a", "", b"7", b"", -(2**63), 2**62]


@pytest.mark.parametrize("key", ["INTEGER PRIMARY KEY DESC", "INT PRIMARY KEY", "INT NOT NULL", "BIGINT PRIMARY KEY"])
@pytest.mark.parametrize("rest", ["", "WITHOUT ROWID"])
@pytest.mark.parametrize("keys", [KEYS, [*range(50), 2.5, 1e30], [*range(100)], ["b", "A", "a", 1], [2.5], ["x"]])
def test_a_key_that_is_no_rowid_may_hold_anything_and_none_of_it_is_lost(sqlite, key, rest, keys):
    own = ", PRIMARY KEY (Id)" if "PRIMARY" not in key else ""
    script(sqlite, f"CREATE TABLE Things (Id {key}, Version INTEGER NOT NULL, V{own}) {rest}")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1, 'x')", [(value,) for value in keys])
    sqlite.initialize()
    assert sqlite.counts() == (len(keys), 0, 0, 0)
    in_step(sqlite)
    assert sqlite.counts() == (0, 0, 0, len(keys))
    sqlite.run_source("UPDATE Things SET Version = 2, V = 'new' WHERE Id IS ?", [(value,) for value in keys[-3:]])
    assert sqlite.counts() == (0, len(keys[-3:]), 0, len(keys) - len(keys[-3:]))
    if len(keys) > 1:  # an empty source is never mirrored
        sqlite.run_source("DELETE FROM Things WHERE Id IS ?", [(value,) for value in keys[:1]])
        sqlite.counts(allow_deletes=1)
        in_step(sqlite)


def test_a_key_that_holds_null_is_refused_by_name_until_it_is_mended(sqlite):
    script(sqlite, "CREATE TABLE Things (Id INT PRIMARY KEY, Version INTEGER NOT NULL)")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [(1,), (None,)])
    with pytest.raises(ConfigurationError, match=r"key column Id of app\.Things is nullable"):
        sqlite.initialize()
    sqlite.run_source("DELETE FROM Things WHERE Id IS NULL")
    sqlite.initialize()
    assert sqlite.counts() == (1, 0, 0, 0)


# another program's collation


def of_another_program(backend: SqliteBackend, sql: str) -> None:
    with closing(sqlite3.connect(backend.source_path)) as db, db:
        db.create_collation("UNICODE_X", lambda one, other: (one > other) - (one < other))
        db.executescript("DROP TABLE Things;" + sql)


def test_a_column_with_a_collation_of_another_program_is_copied_also_where_an_index_is_ordered_by_it(sqlite):
    of_another_program(
        sqlite,
        "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER, N TEXT COLLATE UNICODE_X);"
        "CREATE INDEX I ON Things (N); CREATE INDEX J ON Things (Version, N);"
        "INSERT INTO Things VALUES (1, 1, 'x'), (2, 1, 'y')",
    )
    sqlite.initialize()
    assert sqlite.counts(dry_run=True) == (2, 0, 0, 0)
    assert sqlite.counts() == (2, 0, 0, 0)
    assert sqlite.counts() == (0, 0, 0, 2)
    in_step(sqlite)


def test_a_key_with_a_collation_of_another_program_is_refused_by_the_name_of_the_collation(sqlite):
    of_another_program(
        sqlite,
        "CREATE TABLE Things (Id TEXT COLLATE UNICODE_X NOT NULL PRIMARY KEY, Version INTEGER) WITHOUT ROWID;"
        "INSERT INTO Things VALUES ('x', 1), ('y', 1)",
    )
    with pytest.raises(
        ConfigurationError, match="ordered by the collation UNICODE_X, which SQLite itself does not know"
    ):
        sqlite.initialize()


# very many columns


@pytest.mark.slow
@pytest.mark.parametrize("count", [600, 1_900])
def test_hundreds_of_columns_that_are_added_at_once_are_followed_and_filled_in(sqlite, count):
    script(sqlite, "CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER)")
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [(n,) for n in range(40)])
    sqlite.initialize()
    assert sqlite.counts() == (40, 0, 0, 0)
    columns = ", ".join(f"c{n} TEXT" for n in range(count))
    script(
        sqlite,
        f"CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER, {columns});"
        "INSERT INTO Things (Id, Version) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39) "
        f"SELECT i, 1 FROM n; UPDATE Things SET c0 = 'a', c{count - 1} = 'z' WHERE Id < 7",
    )
    sqlite.initialize()
    assert sqlite.counts() == (0, 7, 0, 33)
    in_step(sqlite)


def test_an_initialization_waits_for_another_that_writes_to_the_new_file(tmp_path: Path) -> None:
    """SQLite does not wait where the form of a file's journal changes."""
    backend = SqliteBackend(tmp_path)
    with closing(sqlite3.connect(backend.backup_path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE Other (Id INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.4, other.execute, ["COMMIT"])
        release.start()
        assert "table Things" in backend.initialize()
        release.join()
    with closing(sqlite3.connect(backend.backup_path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)

"""What SQLite's catalog says of a table, and the making and altering of a backup's one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any

from backup_sync.model.names import UPPER, without_case
from backup_sync.model.service import STATE
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import Row, SqlSession
from backup_sync.stores.sql.shape import SYNCED_AT, Column, Difference, TableShape, Types
from backup_sync.stores.sql.store import SqlStore
from backup_sync.stores.sqlite.session import SqliteSession

SQLITE_TYPES = {"uuid": "TEXT", "text": "TEXT", "count": "INTEGER", "flag": "INTEGER", "moment": "TEXT"}


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def in_main(name: str) -> str:
    """A table of the database itself, and of no other one that is attached."""
    return f"main.{quote(name)}"


@lru_cache(maxsize=1_000)
def written(type_: str) -> str:
    """A declared type as a CREATE TABLE may say it again: a type may be any text, such as ``[not null]`` or ``a,b``.

    SQLite's catalog tells it without the quotes it may have had. Bare where SQLite reads it as just that, otherwise in
    quotes, which say the same.
    """
    with closing(sqlite3.connect(":memory:")) as scratch:
        try:
            scratch.execute(f"CREATE TABLE t (c {type_})")
            if [tuple(row[1:]) for row in scratch.execute("PRAGMA table_xinfo(t)")] == [("c", type_, 0, None, 0, 0)]:
                return type_
        except sqlite3.Error:
            pass
    return quote(type_)


def affinity(type_: str) -> str:
    """What SQLite makes of a declared type (https://www.sqlite.org/datatype3.html#determination_of_column_affinity)."""
    for words, found in (
        (("INT",), "INTEGER"),
        (("CHAR", "CLOB", "TEXT"), "TEXT"),
        (("BLOB",), "BLOB"),
        (("REAL", "FLOA", "DOUB"), "REAL"),
    ):
        if any(word in type_.translate(UPPER) for word in words):
            return found
    return "NUMERIC" if type_.strip() else "BLOB"


def _same(old: str, new: str) -> bool:
    return affinity(old) == affinity(new)


def _never(old: str, new: str) -> bool:
    """A declared length or precision means nothing to SQLite, so there is nothing to widen."""
    return False


def columns_of(session: SqlSession, table: str) -> list[Row]:
    """The columns of a table that was named by :func:`in_main`, as SQLite tells them; none if it is not there."""
    return list(session.query(f"PRAGMA main.table_xinfo({table.removeprefix('main.')})"))


def _rows_if_there(session: SqlSession, table: str, sql: str, params: Sequence[Any]) -> Iterator[Row]:
    if columns_of(session, table):
        yield from session.query(sql, params)


DIALECT = Dialect(
    quote=quote,
    kinds=SQLITE_TYPES,
    slot=lambda _: "?",
    newest_first=lambda limit: ("", f"LIMIT {int(limit)}"),
    rows_if_there=_rows_if_there,
    types=Types(same=_same, widens=_never),
)


class SqliteCatalog(SqlStore):
    """Everything but the reading and writing of rows; the store provides the connection."""

    session: SqliteSession
    name: str
    _identity: dict[str, str | None] | None
    dialect = DIALECT

    def catalog(self) -> TableShape | None:
        rows = columns_of(self.session, self.name)
        if not rows:
            return None
        key = [row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5])]
        named = {without_case(name) for name in (*key, *(self.service.key or ()))}
        is_table, strict = self._kind()
        columns = []
        for _, name, type_, not_null, _, _, hidden in rows:
            if hidden == 1:  # a virtual table's own column
                continue
            type_ = type_.translate(UPPER)
            if not is_table:
                type_ = self._type_in_view(name, type_)
            elif strict and type_ == "ANY":
                type_ = ""  # which it is only there; to any other table it is NUMERIC, to which '007' is 7
            elif key == [name] and type_ == "INTEGER" and self._indexed_by_key():
                # No alias of the rowid, so that it may hold anything; in the copy INTEGER would be one.
                type_ = "INT"
            # SQLite lets a primary key be NULL unless told otherwise; what counts is whether it ever is.
            nullable = not not_null and not (without_case(name) in named and not self._has_null(name))
            columns.append(Column(name, type_, nullable))
        return TableShape(tuple(columns), tuple(key))

    def describe(self) -> TableShape:
        shape = super().describe()
        for name in shape.key:  # looked for by its own collation, which may be unknown here
            next(self.session.query(f"SELECT 1 FROM {self.name} WHERE {quote(name)} = 'x' LIMIT 0"), None)
        return shape

    def _kind(self) -> tuple[bool, bool]:
        """Whether it is a table, and not a view or a virtual one; and whether it is STRICT."""
        # An older SQLite knows neither this nor STRICT tables.
        for row in self.session.query(f"PRAGMA main.table_list({quote(self.table)})"):
            return row[2] in ("table", "shadow"), bool(row[5])
        sql = "SELECT type FROM main.sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')"
        return next(self.session.query(sql, [self.table]))[0] == "table", False

    def _type_in_view(self, name: str, type_: str) -> str:
        """A view's columns hold what its expressions make, whatever type SQLite tells of them: none is kept, so that the
        copy changes no value, but for whole numbers by which records are found and compared."""
        compared = {without_case(field) for field in (*(self.service.key or ()), *self.service.fields)}
        if affinity(type_) != "INTEGER" or without_case(name) not in compared:
            return ""
        sql = f"SELECT 1 FROM {self.name} WHERE typeof({quote(name)}) NOT IN ('integer', 'null') LIMIT 1"
        return type_ if next(self.session.query(sql), None) is None else ""

    def _indexed_by_key(self) -> bool:
        """Whether the primary key has an index of its own: an alias of the rowid needs none."""
        return any(row[3] == "pk" for row in self.session.query(f"PRAGMA main.index_list({quote(self.table)})"))

    def _has_null(self, column: str) -> bool:
        sql = f"SELECT 1 FROM {self.name} WHERE {quote(column)} IS NULL LIMIT 1"
        return next(self.session.query(sql), None) is not None

    def unique(self, key: tuple[str, ...]) -> bool:
        columns = ", ".join(quote(name) for name in key)
        sql = f"SELECT 1 FROM {self.name} GROUP BY {columns} HAVING COUNT(*) > 1 LIMIT 1"
        return next(self.session.query(sql), None) is None

    def create(self, shape: TableShape, *, dry_run: bool = False) -> list[str]:
        if not dry_run:
            self.session.open("create")
            self._identity = None
        elif not self.session.exists():
            return [f"table {name}" for name in (self.table, self.history_table, STATE)]
        made, evolved = [], list[str]()
        own = self.own_shape()
        if own is None:
            made.append((f"table {self.table}", self.create_table_sql(self.name, shape)))
        else:
            evolved = self.evolve(shape, own, dry_run=dry_run)
        if dry_run:
            return evolved + [what for what, _ in (*made, *self._beside())]
        if made or self._beside():
            self.session.run("PRAGMA journal_mode = WAL")  # so that the copy can be queried while a run writes to it
            with self.session.transaction():
                # Chains run side by side: another one may have made the history meanwhile.
                made += self._beside()
                for _, statement in made:
                    self.session.run(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
            self._own = None
        return evolved + [what for what, _ in made]

    def _beside(self) -> list[tuple[str, str]]:
        """(what it is, its statement) of what is missing of the history and the states."""
        made = []
        there = [row[1] for row in columns_of(self.session, self.journal.history_name)]
        if not there:
            made.append((f"table {self.history_table}", self.journal.create_history_sql()))
        else:
            for name, kind in self.journal.missing_history_columns(there):
                column = f"{quote(name)} {SQLITE_TYPES[kind]}"
                made.append(
                    (
                        f"column {name} of {self.history_table}",
                        f"ALTER TABLE {self.journal.history_name} ADD COLUMN {column}",
                    )
                )
        if not columns_of(self.session, self.journal.state_name):
            made.append((f"table {STATE}", self.journal.create_state_sql("TEXT COLLATE NOCASE", "TEXT", "TEXT")))
        return made

    def create_table_sql(self, name: str, shape: TableShape) -> str:
        columns = [
            f"{quote(column.name)} {written(column.type)}{'' if column.nullable else ' NOT NULL'}"
            for column in shape.columns
        ]
        if not shape.has(SYNCED_AT):
            columns.append(f"{quote(SYNCED_AT)} TEXT NOT NULL")
        columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in shape.key)})")
        return f"CREATE TABLE {name} ({', '.join(columns)})"

    # following the source's columns

    def obstacles(self) -> list[str]:
        sql = "SELECT name FROM main.sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY name"
        triggers = [row[0] for row in self.session.query(sql, [self.table])]
        found = [f"triggers {', '.join(triggers)}"] if triggers else []
        if list(self.session.query(f"PRAGMA main.foreign_key_list({quote(self.table)})")):
            found.append("foreign keys")
        sql = (
            "SELECT DISTINCT m.name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            """WHERE m.type = 'table' AND lower(f."table") = lower(?) AND lower(m.name) <> lower(?) ORDER BY m.name"""
        )
        if others := [row[0] for row in self.session.query(sql, [self.table, self.table])]:
            found.append(f"foreign keys to it from {', '.join(others)}")
        return found

    def alter(self, shape: TableShape, own: TableShape, found: Difference) -> None:
        for column in found.added:
            self.session.run(f"ALTER TABLE {self.name} ADD COLUMN {quote(column.name)} {written(column.type)}")
        if found.loosened:
            self._loosen(own, found)

    def _loosen(self, own: TableShape, found: Difference) -> None:
        """SQLite cannot take NOT NULL back from a column: the rows move into a new table, with their SyncedAt."""
        nullable = {column.name for column in found.loosened}
        columns = [Column(c.name, c.type, c.nullable or c.name in nullable) for c in own.columns] + list(found.added)
        names = ", ".join(quote(column.name) for column in columns)
        new = in_main(f"{self.table}_New")
        sql = (
            "SELECT sql FROM main.sqlite_master WHERE type = 'index' AND lower(tbl_name) = lower(?) AND sql IS NOT NULL"
        )
        indexes = [row[0] for row in self.session.query(sql, [self.table])]
        self.session.run(self.create_table_sql(new, TableShape(tuple(columns), own.key)))
        self.session.run(f"INSERT INTO {new} ({names}) SELECT {names} FROM {self.name}")
        self.session.run(f"DROP TABLE {self.name}")
        # Otherwise a view that somebody made on the copy would keep the new table from taking its name.
        legacy = next(self.session.query("PRAGMA legacy_alter_table"))[0]
        self.session.run("PRAGMA legacy_alter_table = ON")
        try:
            self.session.run(f"ALTER TABLE {new} RENAME TO {quote(self.table)}")
        finally:
            self.session.run(f"PRAGMA legacy_alter_table = {legacy}")
        for index in indexes:
            self.session.run(index)

    def has_unfilled(self) -> bool:
        return bool(columns_of(self.session, self.unfilled_name))

    def read_unfilled(self) -> list[str]:
        if not self.has_unfilled():
            return []
        sql = f"SELECT ColumnName FROM {self.unfilled_name} WHERE TableName = ?"
        return [row[0] for row in self.session.query(sql, [self.full_name])]

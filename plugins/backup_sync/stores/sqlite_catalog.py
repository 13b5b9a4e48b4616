"""What SQLite's catalog says of a table, and the making and altering of a backup's one."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod

from backup_sync.service import STATE
from backup_sync.stores.schema import SYNCED_AT, Column, Difference, TableShape, Types
from backup_sync.stores.sql import SqlStore

SQLITE_TYPES = {"uuid": "TEXT", "text": "TEXT", "count": "INTEGER", "flag": "INTEGER", "moment": "TEXT"}


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def affinity(type_: str) -> str:
    """What SQLite makes of a declared type (https://www.sqlite.org/datatype3.html#determination_of_column_affinity)."""
    for words, found in (
        (("INT",), "INTEGER"),
        (("CHAR", "CLOB", "TEXT"), "TEXT"),
        (("BLOB",), "BLOB"),
        (("REAL", "FLOA", "DOUB"), "REAL"),
    ):
        if any(word in type_.upper() for word in words):
            return found
    return "NUMERIC" if type_.strip() else "BLOB"


def _same(old: str, new: str) -> bool:
    return affinity(old) == affinity(new)


def _never(old: str, new: str) -> bool:
    """A declared length or precision means nothing to SQLite, so there is nothing to widen."""
    return False


class SqliteCatalog(SqlStore):
    """Everything but the reading and writing of rows; the store provides the connection."""

    name: str
    _identity: dict[str, str | None] | None
    types_ = Types(same=_same, widens=_never)
    history_types = SQLITE_TYPES

    @property
    @abstractmethod
    def connection(self) -> sqlite3.Connection: ...

    @abstractmethod
    def _open(self, purpose: str | None) -> sqlite3.Connection: ...

    @abstractmethod
    def _there(self) -> bool: ...

    def catalog(self) -> TableShape | None:
        rows = list(self.query(f"PRAGMA table_xinfo({self.name})"))
        if not rows:
            return None
        key = [row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5])]
        columns = []
        for _, name, type_, not_null, _, in_key, hidden in rows:
            if hidden == 1:  # a virtual table's own column
                continue
            # SQLite lets a primary key be NULL unless told otherwise; what counts is whether it ever is.
            nullable = not not_null and not (in_key and not self._has_null(name))
            columns.append(Column(name, type_.upper(), nullable))
        return TableShape(tuple(columns), tuple(key))

    def _has_null(self, column: str) -> bool:
        sql = f"SELECT 1 FROM {self.name} WHERE {quote(column)} IS NULL LIMIT 1"
        return next(self.query(sql), None) is not None

    def unique(self, key: tuple[str, ...]) -> bool:
        columns = ", ".join(quote(name) for name in key)
        sql = f"SELECT 1 FROM {self.name} GROUP BY {columns} HAVING COUNT(*) > 1 LIMIT 1"
        return next(self.query(sql), None) is None

    def create(self, shape: TableShape, *, dry_run: bool = False) -> list[str]:
        if not dry_run:
            self._open("create")
            self._identity = None
        elif not self._there():
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
            self.run_sql("PRAGMA journal_mode = WAL")  # so that the copy can be queried while a run writes to it
            with self.transaction():
                # Chains run side by side: another one may have made the history meanwhile.
                made += self._beside()
                for _, statement in made:
                    self.run_sql(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
            self._own = None
        return evolved + [what for what, _ in made]

    def _beside(self) -> list[tuple[str, str]]:
        """(what it is, its statement) of what is missing of the history and the states."""
        made = []
        there = [row[1] for row in self.query(f"PRAGMA table_info({self.history_name})")]
        if not there:
            made.append((f"table {self.history_table}", self.create_history_sql(SQLITE_TYPES)))
        else:
            for name, kind in self.missing_history_columns(there):
                column = f"{quote(name)} {SQLITE_TYPES[kind]}"
                made.append(
                    (f"column {name} of {self.history_table}", f"ALTER TABLE {self.history_name} ADD COLUMN {column}")
                )
        if not list(self.query(f"PRAGMA table_info({self.state_name})")):
            made.append((f"table {STATE}", self.create_state_sql("TEXT COLLATE NOCASE", "TEXT", "TEXT")))
        return made

    def create_table_sql(self, name: str, shape: TableShape) -> str:
        columns = [
            f"{quote(column.name)} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in shape.columns
        ]
        if not shape.has(SYNCED_AT):
            columns.append(f"{quote(SYNCED_AT)} TEXT NOT NULL")
        columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in shape.key)})")
        return f"CREATE TABLE {name} ({', '.join(columns)})"

    # following the source's columns

    def obstacles(self) -> list[str]:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY name"
        triggers = [row[0] for row in self.query(sql, [self.table])]
        found = [f"triggers {', '.join(triggers)}"] if triggers else []
        if list(self.query(f"PRAGMA foreign_key_list({self.name})")):
            found.append("foreign keys")
        sql = (
            "SELECT DISTINCT m.name FROM sqlite_master m, pragma_foreign_key_list(m.name) f "
            """WHERE m.type = 'table' AND lower(f."table") = lower(?) AND lower(m.name) <> lower(?) ORDER BY m.name"""
        )
        if others := [row[0] for row in self.query(sql, [self.table, self.table])]:
            found.append(f"foreign keys to it from {', '.join(others)}")
        return found

    def alter(self, shape: TableShape, own: TableShape, found: Difference) -> None:
        for column in found.added:
            self.run_sql(f"ALTER TABLE {self.name} ADD COLUMN {quote(column.name)} {column.type}")
        if found.loosened:
            self._loosen(own, found)

    def _loosen(self, own: TableShape, found: Difference) -> None:
        """SQLite cannot take NOT NULL back from a column: the rows move into a new table, with their SyncedAt."""
        nullable = {column.name for column in found.loosened}
        columns = [Column(c.name, c.type, c.nullable or c.name in nullable) for c in own.columns] + list(found.added)
        names = ", ".join(quote(column.name) for column in columns)
        new = quote(f"{self.table}_New")
        sql = "SELECT sql FROM sqlite_master WHERE type = 'index' AND lower(tbl_name) = lower(?) AND sql IS NOT NULL"
        indexes = [row[0] for row in self.query(sql, [self.table])]
        self.run_sql(self.create_table_sql(new, TableShape(tuple(columns), own.key)))
        self.run_sql(f"INSERT INTO {new} ({names}) SELECT {names} FROM {self.name}")
        self.run_sql(f"DROP TABLE {self.name}")
        # Otherwise a view that somebody made on the copy would keep the new table from taking its name.
        legacy = next(self.query("PRAGMA legacy_alter_table"))[0]
        self.run_sql("PRAGMA legacy_alter_table = ON")
        try:
            self.run_sql(f"ALTER TABLE {new} RENAME TO {self.name}")
        finally:
            self.run_sql(f"PRAGMA legacy_alter_table = {legacy}")
        for index in indexes:
            self.run_sql(index)

    def has_unfilled(self) -> bool:
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return next(self.query(sql, [self.unfilled_table]), None) is not None

    def read_unfilled(self) -> list[str]:
        if not self.has_unfilled():
            return []
        sql = f"SELECT ColumnName FROM {self.unfilled_name} WHERE TableName = ?"
        return [row[0] for row in self.query(sql, [self.full_name])]

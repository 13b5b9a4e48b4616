"""What SQLite's catalog says of a table, and the making and altering of a backup's one."""

from __future__ import annotations

import os
import time

from backup_sync.model.errors import RetriableError
from backup_sync.model.names import UPPER, without_case
from backup_sync.model.service import STATE
from backup_sync.model.where import Value
from backup_sync.stores.base import Identity
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.shape import SYNCED_AT, Column, Difference, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sqlite.dialect import DIALECT, SQLITE_TYPES, affinity, columns_of, in_main, quote, written
from backup_sync.stores.sqlite.literals import literal
from backup_sync.stores.sqlite.masking import HIDING
from backup_sync.stores.sqlite.session import SqliteSession

BUSY = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses, in seconds, before a file that another connection writes to is tried again."""


class SqliteCatalog(SqlCatalog):
    """See :class:`backup_sync.stores.base.Catalog`."""

    dialect = DIALECT
    hiding = HIDING
    session: SqliteSession

    def __init__(self, session: SqliteSession, table: Table, journal: SqlJournal, *, copy: bool) -> None:
        super().__init__(session, table, journal, copy=copy)
        self._identity: dict[str, str | None] | None = None

    # what it is

    def identity(self) -> dict[str, str | None]:
        if self._identity is None:
            self._identity = {"file": os.path.realpath(self.session.path)} if self.session.exists() else {}
        return self._identity

    @staticmethod
    def same(one: Identity, other: Identity) -> bool:
        return one.get("file") == other.get("file")

    def is_at(self, other: SqliteCatalog) -> bool:
        """By the file itself: links of both kinds lead to one."""
        return (
            self.session.exists() and other.session.exists() and os.path.samefile(self.session.path, other.session.path)
        )

    def exists(self) -> bool:
        return self.session.exists() and super().exists()

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT 1 FROM {self.table.name} LIMIT 1") is None

    def literal(self, column: Column, value: Value) -> str:
        return literal(column, value)

    def tables(self) -> list[tuple[str, str]]:
        sql = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
        return [("main", str(name)) for (name,) in self.session.query(sql)]

    def read_shape(self) -> TableShape | None:
        rows = columns_of(self.session, self.table.name)
        if not rows:
            return None
        key = [row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5])]
        excluded = self.excluded(without_case)
        self.left_out = [row[1] for row in rows if without_case(row[1]) in excluded]
        named = {without_case(name) for name in (*key, *(self.service.key or ()))}
        is_table, strict = self._kind()
        columns = []
        for _, name, type_, not_null, _, _, hidden in rows:
            if hidden == 1 or name in self.left_out:  # a virtual table's own column, or one that is not asked for
                continue
            type_ = type_.translate(UPPER)
            if not is_table:
                type_ = self._type_in_view(name, type_)
            elif strict and type_ == "ANY":
                type_ = ""  # which it is only there; to any other table it is NUMERIC, to which '007' is 7
            elif key == [name] and type_ == "INTEGER" and self._indexed_by_key():
                # No alias of the rowid, so that it may hold anything; in the copy INTEGER would be one.
                type_ = "INT"
            # SQLite lets a primary key be NULL unless declared otherwise; what counts is whether it ever is.
            nullable = not not_null and not (without_case(name) in named and not self._has_null(name))
            columns.append(Column(name, type_, nullable))
        return TableShape(tuple(columns), tuple(key))

    def describe(self) -> TableShape:
        shape = super().describe()
        for name in shape.key:  # looked for by its own collation, which may be unknown here
            next(self.session.query(f"SELECT 1 FROM {self.table.name} WHERE {quote(name)} = 'x' LIMIT 0"), None)
        return shape

    def _kind(self) -> tuple[bool, bool]:
        """Whether it is a table, and not a view or a virtual one; and whether it is STRICT."""
        # An older SQLite knows neither this nor STRICT tables.
        for row in self.session.query(f"PRAGMA main.table_list({quote(self.table.table)})"):
            return row[2] in ("table", "shadow"), bool(row[5])
        sql = "SELECT type FROM main.sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')"
        return next(self.session.query(sql, [self.table.table]))[0] == "table", False

    def _type_in_view(self, name: str, type_: str) -> str:
        """A view's columns hold what its expressions make, whatever type SQLite gives them: none is kept, so that the
        copy changes no value, but for whole numbers by which records are found and compared."""
        compared = {without_case(field) for field in (*(self.service.key or ()), *self.service.fields)}
        if affinity(type_) != "INTEGER" or without_case(name) not in compared:
            return ""
        sql = f"SELECT 1 FROM {self.table.name} WHERE typeof({quote(name)}) NOT IN ('integer', 'null') LIMIT 1"
        return type_ if next(self.session.query(sql), None) is None else ""

    def _indexed_by_key(self) -> bool:
        """Whether the primary key has a separate index: an alias of the rowid needs none."""
        return any(row[3] == "pk" for row in self.session.query(f"PRAGMA main.index_list({quote(self.table.table)})"))

    def _has_null(self, column: str) -> bool:
        sql = f"SELECT 1 FROM {self.table.name} WHERE {quote(column)} IS NULL LIMIT 1"
        return next(self.session.query(sql), None) is not None

    def computed(self) -> set[str]:
        return {row[1] for row in columns_of(self.session, self.table.name) if row[6] in (2, 3)}

    def unique(self, key: tuple[str, ...]) -> bool:
        columns = ", ".join(quote(name) for name in key)
        sql = f"SELECT 1 FROM {self.table.name} GROUP BY {columns} HAVING COUNT(*) > 1 LIMIT 1"
        return next(self.session.query(sql), None) is None

    def create(self, shape: TableShape, *, dry_run: bool = False) -> list[str]:
        if not self.copy:
            return self._create_plain(shape, dry_run=dry_run)
        if not dry_run:
            self.session.open("create")
            self._identity = None
        elif not self.session.exists():
            return [f"table {name}" for name in (self.table.table, self.table.history_table, STATE)]
        made, evolved = [], list[str]()
        own = self.own_shape()
        if own is None:
            made.append((f"table {self.table.table}", create_table_sql(self.table.name, shape)))
        else:
            evolved = self.evolve(shape, own, dry_run=dry_run)
        if dry_run:
            return evolved + [what for what, _ in (*made, *self._beside())]
        if made or self._beside():
            self._write_ahead()
            with self.session.transaction():
                # Chains run side by side: another one may have made the history meanwhile.
                made += self._beside()
                for _, statement in made:
                    self.session.run(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
            self._own = None
        return evolved + [what for what, _ in made]

    def _create_plain(self, shape: TableShape, *, dry_run: bool) -> list[str]:
        if self.exists():
            return []
        if not dry_run:
            self.session.open("create")
            self._identity = None
            statement = create_table_sql(self.table.name, shape, copy=False)
            self.session.run(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))
            self._own = None
        return [f"table {self.table.table}"]

    def _write_ahead(self) -> None:
        """Keep the journal so that the copy can be queried while a run writes to it.

        SQLite answers at once that the file is busy, whatever the time-out, while another connection writes to it (seen with
        3.40): another chain that begins, most likely.
        """
        for pause in (*BUSY, None):
            try:
                self.session.run("PRAGMA journal_mode = WAL")
                return
            except RetriableError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _beside(self) -> list[tuple[str, str]]:
        """(what it is, its statement) of what is missing of the history and the states."""
        made = []
        there = [row[1] for row in columns_of(self.session, self.journal.history_name)]
        if not there:
            made.append((f"table {self.table.history_table}", self.journal.create_history_sql()))
        else:
            for name, kind in self.journal.missing_history_columns(there):
                column = f"{quote(name)} {SQLITE_TYPES[kind]}"
                made.append(
                    (
                        f"column {name} of {self.table.history_table}",
                        f"ALTER TABLE {self.journal.history_name} ADD COLUMN {column}",
                    )
                )
        if not columns_of(self.session, self.journal.state_name):
            made.append((f"table {STATE}", self.journal.create_state_sql("TEXT COLLATE NOCASE", "TEXT", "TEXT")))
        return made

    # following the source's columns

    def obstacles(self) -> list[str]:
        sql = "SELECT name FROM main.sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) ORDER BY name"
        triggers = [row[0] for row in self.session.query(sql, [self.table.table])]
        found = [f"triggers {', '.join(triggers)}"] if triggers else []
        if list(self.session.query(f"PRAGMA main.foreign_key_list({quote(self.table.table)})")):
            found.append("foreign keys")
        sql = (
            "SELECT DISTINCT m.name FROM main.sqlite_master m, pragma_foreign_key_list(m.name) f "
            """WHERE m.type = 'table' AND lower(f."table") = lower(?) AND lower(m.name) <> lower(?) ORDER BY m.name"""
        )
        if others := [row[0] for row in self.session.query(sql, [self.table.table] * 2)]:
            found.append(f"foreign keys to it from {', '.join(others)}")
        return found

    def alter(self, own: TableShape, found: Difference) -> None:
        for column in found.added:
            self.session.run(f"ALTER TABLE {self.table.name} ADD COLUMN {quote(column.name)} {written(column.type)}")
        if found.loosened:
            self._loosen(own, found)

    def _loosen(self, own: TableShape, found: Difference) -> None:
        """SQLite cannot take NOT NULL back from a column: the rows move into a new table, with their SyncedAt."""
        nullable = {column.name for column in found.loosened}
        columns = [Column(c.name, c.type, c.nullable or c.name in nullable) for c in own.columns] + list(found.added)
        names = ", ".join(quote(column.name) for column in columns)
        new = in_main(f"{self.table.table}_New")
        sql = (
            "SELECT sql FROM main.sqlite_master WHERE type = 'index' AND lower(tbl_name) = lower(?) AND sql IS NOT NULL"
        )
        indexes = [row[0] for row in self.session.query(sql, [self.table.table])]
        self.session.run(create_table_sql(new, TableShape(tuple(columns), own.key)))
        self.session.run(f"INSERT INTO {new} ({names}) SELECT {names} FROM {self.table.name}")
        self.session.run(f"DROP TABLE {self.table.name}")
        # Otherwise a view that somebody made on the copy would keep the new table from taking its name.
        legacy = next(self.session.query("PRAGMA legacy_alter_table"))[0]
        self.session.run("PRAGMA legacy_alter_table = ON")
        try:
            self.session.run(f"ALTER TABLE {new} RENAME TO {quote(self.table.table)}")
        finally:
            self.session.run(f"PRAGMA legacy_alter_table = {legacy}")
        for index in indexes:
            self.session.run(index)


def create_table_sql(name: str, shape: TableShape, *, copy: bool = True) -> str:
    """``copy``: with the column of our own."""
    columns = [
        f"{quote(column.name)} {written(column.type)}{'' if column.nullable else ' NOT NULL'}"
        for column in shape.columns
    ]
    if copy and not shape.has(SYNCED_AT):
        columns.append(f"{quote(SYNCED_AT)} TEXT NOT NULL")
    columns.append(f"PRIMARY KEY ({', '.join(quote(name) for name in shape.key)})")
    return f"CREATE TABLE {name} ({', '.join(columns)})"

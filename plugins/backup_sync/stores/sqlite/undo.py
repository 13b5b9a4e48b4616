"""The history of records of a copy in a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.base import Keep, Record
from backup_sync.stores.sql.beside import OWN, entry_columns
from backup_sync.stores.sql.digest import tree
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sql.undo import SqlEntries, SqlUndo
from backup_sync.stores.sqlite.beside import SqliteBeside
from backup_sync.stores.sqlite.dialect import quote


class SqliteUndo(SqliteBeside, SqlUndo):
    """See :class:`backup_sync.stores.base.Undo`."""

    def delete_sql(self, condition: str, limit: int) -> str:
        found = f"SELECT u.rowid FROM {self.name} u WHERE {condition} LIMIT {int(limit)}"
        return f"DELETE FROM {self.name} WHERE rowid IN ({found})"

    def forget_one(self, key: Key) -> int:
        where = " AND ".join(f"{quote(column.name)} = ?" for column in self.key)
        return self.session.run(f"DELETE FROM {self.name} WHERE {where}", key)

    def as_of_name(self, number: int) -> str:
        return f"({self.as_of_sql(str(int(number)))})"


class SqliteEntries(SqlEntries):
    """See :class:`SqlEntries`. ``shape``: of the rows that are written."""

    undo: SqliteUndo

    def __init__(self, undo: SqliteUndo, keep: Keep, shape: TableShape) -> None:
        super().__init__(undo, keep, shape)
        self._columns = [quote(column.name) for column in shape.columns]
        self._key = [quote(name) for name in shape.key]
        self._each = undo.session.run_each

    def absent(self, keys: Sequence[Key]) -> int:
        return self._each(self._absent_sql, keys)

    def absent_in(self, rows: str, params: Sequence[Any]) -> int:
        """As :meth:`absent`, for the keys of the rows that ``rows`` selects (a FROM clause and what follows it)."""
        names = ", ".join([*map(quote, OWN), *self._key])
        sql = (
            f"INSERT OR IGNORE INTO {self.undo.name} ({names}) SELECT {self._ours('I')}, {', '.join(self._key)} {rows}"
        )
        return self.undo.session.run(sql, params)

    def image(self, operation: str, keys: Sequence[Key]) -> None:
        self._each(lambda marks: self._image_sql(operation, marks, ""), keys)

    def image_changed(self, rows: Sequence[Record]) -> None:
        width = len(self._columns)

        def sql(marks: Sequence[str]) -> str:
            same = [
                f"t.{name} IS {mark} COLLATE BINARY AND typeof(t.{name}) = typeof({mark})"
                for name, mark in zip(self._columns, marks[:width], strict=True)
            ]
            return self._image_sql("U", marks[width:], f"AND NOT ({tree(same, 'AND')})")

        self._each(sql, [(*row, *self.key_of(row)) for row in rows])

    # texts

    def _ours(self, operation: str) -> str:
        return f"{self.keep.number}, '{operation}', '{self.keep.sync_id}'"

    def _absent_sql(self, marks: Sequence[str]) -> str:
        names = ", ".join([*map(quote, OWN), *self._key])
        return (
            f"INSERT OR IGNORE INTO {self.undo.name} ({names}) SELECT {self._ours('I')}, {', '.join(marks)} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.undo.table.name} t WHERE {self._found(marks)})"
        )

    def _image_sql(self, operation: str, marks: Sequence[str], condition: str) -> str:
        own = self.undo.copy.own_shape()
        assert own is not None
        into, selected = entry_columns(own, quote)
        return (
            f"INSERT OR IGNORE INTO {self.undo.name} ({', '.join(map(quote, OWN))}, {into}) "
            f"SELECT {self._ours(operation)}, {selected} FROM {self.undo.table.name} t WHERE {self._found(marks)} {condition}"
        )

    def _found(self, marks: Sequence[str]) -> str:
        return " AND ".join(f"t.{name} = {mark}" for name, mark in zip(self._key, marks, strict=True))

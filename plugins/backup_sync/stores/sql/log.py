"""The restore log of a SQL copy: what a restore's target held before it was overwritten.

The table ``<Table>_RestoreLog`` next to the copy is like that of the history of records, but its rows come from another table,
most likely on another server.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.base import Keep, Reader, Record
from backup_sync.stores.sql.beside import OP, OWN, SEQ, SqlBeside
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import Column, TableShape


class SqlLog(SqlBeside):
    """See :class:`backup_sync.stores.base.RestoreLog`.

    ``open_reader``: of a table that looks like the copy. ``write``: inserts rows of a shape into a table.
    """

    what = "restore log"

    def __init__(
        self,
        session: SqlSession,
        copy: SqlCatalog,
        beside: SqlCatalog,
        open_reader: Callable[..., Reader],
        write: Callable[[TableShape, Sequence[Record]], None],
    ) -> None:
        super().__init__(session, copy, beside)
        self._open_reader, self._write = open_reader, write

    # what a dialect provides

    @abstractmethod
    def selected(self, column: Column) -> str:
        """The expression of a key column's value as a reader gives it."""

    @abstractmethod
    def images_name(self, number: int) -> str:
        """The records that a restore replaced or removed, as it stands in a statement in place of a table."""

    # the flow

    def begin(self, number: int) -> None:
        self.session.run(f"DELETE FROM {self.name} WHERE {self._is(number)}")

    def add(
        self, run: Keep, shape: TableShape, absent: Sequence[Key], replaced: Sequence[Record], removed: Sequence[Record]
    ) -> None:
        there = self.beside.own_shape()
        assert there is not None
        names = [column.name for column in shape.columns]
        columns = tuple(there.column(name) for name in (*OWN, *names))
        entries = TableShape(columns, (SEQ, *shape.key), shape.fold)
        at = [names.index(shape.column(name).name) for name in shape.key]

        def row(operation: str, values: Sequence[Any]) -> Record:
            return (run.number, operation, run.sync_id, *values)

        def key_alone(key: Key) -> list[Any]:
            values: list[Any] = [None] * len(names)
            for position, part in zip(at, key, strict=True):
                values[position] = part
            return values

        rows = [row("I", key_alone(key)) for key in absent]
        rows += [row("U", record) for record in replaced]
        rows += [row("D", record) for record in removed]
        with self.session.transaction():
            self._write(entries, rows)

    def entries(self, number: int) -> Iterator[tuple[str, Key]]:
        names = ", ".join([self.dialect.quote(OP), *map(self.selected, self.key)])
        for operation, *key in self.session.query(f"SELECT {names} FROM {self.name} WHERE {self._is(number)}"):
            yield operation, tuple(key)

    def reader(self, shape: TableShape, number: int) -> Reader:
        return self._open_reader(replace(self.table, name=self.images_name(number)), shape, content=True, stamps=False)

    def cut(self, number: int) -> int:
        if not self.exists():
            return 0
        return self.session.run(f"DELETE FROM {self.name} WHERE {self.dialect.quote(SEQ)} <= {int(number)}")

    def images_sql(self, number: str) -> str:
        own = self.copy.own_shape()
        assert own is not None
        there = self.beside.own_shape()
        assert there is not None
        names = ", ".join(self.dialect.quote(column.name) for column in own.columns if there.has(column.name))
        return f"SELECT {names} FROM {self.name} WHERE {self.dialect.quote(SEQ)} = {number} AND {self.dialect.quote(OP)} <> 'I'"

    def _is(self, number: int) -> str:
        return f"{self.dialect.quote(SEQ)} = {int(number)}"

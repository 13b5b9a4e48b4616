"""Reading a table of SQL Server: digests, pairs and whole rows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from itertools import chain
from operator import add
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores import weight
from backup_sync.stores.base import Record
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import DIALECT, quote
from backup_sync.stores.mssql.pairs import Pairs, codec_of
from backup_sync.stores.mssql.posted import found_by, keys_json, posted_keys
from backup_sync.stores.mssql.ranges import MssqlRanges
from backup_sync.stores.mssql.rows import MssqlRows
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.reader import SqlReader
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table

DIGEST_ROWS = 10_000
"""Digests of a page."""


class MssqlReader(SqlReader):
    """See :class:`backup_sync.stores.base.Reader`. ``joined``: see :class:`MssqlRows`."""

    dialect = DIALECT
    pieces = Pieces(few=512, keys=128, parts=8)
    session: MssqlSession
    codec: Pairs

    def __init__(
        self,
        session: MssqlSession,
        table: Table,
        shape: TableShape,
        limits: Limits,
        *,
        joined: bool = True,
        **options: Sequence[str],
    ) -> None:
        super().__init__(session, table, shape, limits, **options)
        self.ranges = MssqlRanges(self.key_columns)
        self.rows = MssqlRows(session, table, shape, limits, joined=joined)
        # Many pairs to a row: the driver's cost is by the row, and most rows are the same on both sides.
        self.codec = codec_of(self.key_columns, self.fields, self.hashed, to_a_row=limits.packed_keys, label=self.label)

    def no_value(self, column: Column) -> str:
        return f"CAST(NULL AS {column.type})"

    def is_integer(self, column: Column) -> bool:
        return types.base(column.type) in types.INTEGERS

    def digestible(self) -> bool:
        return True

    def bounds(self, within: KeyRange) -> tuple[int, int] | None:
        name = quote(self.key_columns[0].name)
        where, params = self.ranges.where(within)
        sql = f"SELECT MIN({name}), MAX({name}) FROM {self.table.name} WHERE {where}"
        low, high = next(self.session.query(sql, params))
        return None if low is None else (int(low), int(high))

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        order = ", ".join(quote(column.name) for column in self.key_columns)
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.key_columns))
        wire = ", ".join(types.outgoing(f"k{number}", column.type) for number, column in enumerate(self.key_columns))
        where, params = self.ranges.where(within)
        sql = (
            f"SELECT {wire} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.table.name} "
            f"WHERE {where}) k WHERE n % {every} = 0 ORDER BY n"
        )
        return [tuple(row) for row in self.session.query(sql, params)]

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        sql, params = self.ranges.digest_sql(self.compared, self.stamp_columns, within, even)
        found: dict[int, tuple[int, ...]] = {}
        for number, *sums in chain.from_iterable(self.session.pages(sql, params, DIGEST_ROWS)):
            piece = min(max(int(number), 0), even.count - 1) if even else 0
            digest = tuple(map(int, sums))
            found[piece] = tuple(map(add, found[piece], digest)) if piece in found else digest
        return ((piece, *digest) for piece, digest in found.items())

    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]:
        where, params = self.ranges.where(within)
        return self.session.pages(self.codec.sql(self.compared, where), params, self.codec.rows)

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        found = self.rows.where(*self.ranges.where(within))
        return weight.batches(found, self.limits.batch_rows, weight.weight_of_row, self.limits)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        return weight.batches(self.rows.of_keys(keys), len(keys), weight.weight_of_row, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        sql = (
            f"SELECT p.i FROM {posted_keys(self.key_columns)} p WHERE EXISTS "
            f"(SELECT 1 FROM {self.table.name} t WHERE {found_by(self.key_columns)})"
        )
        return {keys[row[0]] for row in self.session.query(sql, [keys_json(keys)])}

    def count(self) -> int:
        return int(self.session.scalar(f"SELECT COUNT_BIG(*) FROM {self.table.name}"))

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT TOP (1) 1 FROM {self.table.name}") is None

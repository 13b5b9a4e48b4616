"""Cutting a table of SQL Server, and digesting its pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import add
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import DIALECT, quote
from backup_sync.stores.mssql.ranges import MssqlRanges
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.cutter import SqlCutter
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.view import View

DIGEST_ROWS = 10_000
"""Digests of a page."""


class MssqlCutter(SqlCutter):
    """See :class:`SqlCutter`."""

    dialect = DIALECT
    pieces = Pieces(few=512, keys=128, parts=8)
    session: MssqlSession

    def __init__(self, session: MssqlSession, view: View, limits: Limits) -> None:
        super().__init__(session, view, limits)
        self._ranges = MssqlRanges(view.key)

    def digestible(self) -> bool:
        return True

    def bounds(self, within: KeyRange) -> tuple[int, int] | None:
        name = quote(self.view.key[0].name)
        where, params = self._ranges.where(within)
        sql = f"SELECT MIN({name}), MAX({name}) FROM {self.view.rows} WHERE {where}"
        low, high = next(self.session.query(sql, params))
        return None if low is None else (int(low), int(high))

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        order = ", ".join(quote(column.name) for column in self.view.key)
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.view.key))
        wire = ", ".join(types.outgoing(f"k{number}", column.type) for number, column in enumerate(self.view.key))
        where, params = self._ranges.where(within)
        sql = (
            f"SELECT {wire} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.view.rows} "
            f"WHERE {where}) k WHERE n % {every} = 0 ORDER BY n"
        )
        return [tuple(row) for row in self.session.query(sql, params)]

    def count(self, within: KeyRange) -> int:
        where, params = self._ranges.where(within)
        return int(self.session.scalar(f"SELECT COUNT_BIG(*) FROM {self.view.rows} WHERE {where}", params))

    def content_digest(self, within: KeyRange) -> tuple[int, str]:
        """The digests of its pieces, added up: the same however it is cut."""
        count = total = 0
        for part in self.cut(within, self.limits.range_records).parts():
            for records, sum_ in self._digests(part).values():
                count, total = count + records, total + sum_
        return count, str(total)

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        compared, content = self.view.compared, self.view.content
        if content is not None:
            sql, params = self._ranges.content_sql(compared, content, within, even)
        else:
            sql, params = self._ranges.digest_sql(compared, self.view.stamp, within, even)
        found: dict[int, tuple[int, ...]] = {}
        for number, *sums in chain.from_iterable(self.session.pages(sql, params, DIGEST_ROWS)):
            piece = min(max(int(number), 0), even.count - 1) if even else 0
            digest = tuple(map(int, sums))
            found[piece] = tuple(map(add, found[piece], digest)) if piece in found else digest
        return ((piece, *digest) for piece, digest in found.items())

"""Cutting a table of SQLite, and digesting its pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores.sql.cutter import SqlCutter
from backup_sync.stores.sql.digest import DIGEST_P, DIGEST_Q, MIX, summed
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.view import View
from backup_sync.stores.sqlite.content import ROWS, SqliteContent
from backup_sync.stores.sqlite.dialect import DIALECT, quote
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.session import SqliteSession

CONTENT_PIECES = Pieces(few=2**20, keys=ROWS, parts=512)
"""Where whole rows are digested, a text to each piece."""


class SqliteCutter(SqlCutter):
    """See :class:`SqlCutter`."""

    dialect = DIALECT
    session: SqliteSession
    # A group costs next to nothing where no wire is crossed, and a pair that need not be read saves more.
    pieces = Pieces(few=2**20, keys=16, parts=512)

    def __init__(self, session: SqliteSession, view: View, limits: Limits) -> None:
        super().__init__(session, view, limits)
        self._ranges = SqliteRanges(view)
        self._content = SqliteContent(session, view, self._ranges, limits)
        if view.content is not None:
            self.pieces = CONTENT_PIECES

    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        name = quote(self.view.key[0].name)
        where, params = self._ranges.where(within)
        # Two look-ups at the ends of the index; MIN and MAX in one SELECT would scan it.
        low, high = (
            self.session.scalar(f"SELECT {function}({name}) FROM {self.view.rows} WHERE {where}", params)
            for function in ("MIN", "MAX")
        )
        return None if low is None else (low, high)

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.view.key))
        taken = ", ".join(f"k{number}" for number in range(len(self.view.key)))
        order = ", ".join(self._ranges.ordered)
        where, params = self._ranges.where(within)
        sql = (
            f"SELECT {taken} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.view.rows} "
            f"WHERE {where}) WHERE n % ? = 0 ORDER BY n"
        )
        found = list(self.session.query(sql, [*params, every]))
        self._ranges.check(found)
        return found

    def count(self, within: KeyRange) -> int:
        where, params = self._ranges.where(within)
        return int(self.session.scalar(f"SELECT COUNT(*) FROM {self.view.rows} WHERE {where}", params))

    def content_digest(self, within: KeyRange) -> tuple[int, str]:
        return self._content.digest(within)

    def digestible(self) -> bool:
        return self.view.content is not None or all(
            DIALECT.is_integer(column) for column in (*self.view.key, *self.view.fields)
        )

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        if self.view.content is not None:
            if even is None:
                yield (0, *self._content.digest(within))
                return
            for number in range(len(even)):
                digest = self._content.digest(even.select([number]), short=True)
                if digest[0]:
                    yield (number, *digest)
            return
        terms = [f"{MIX[0]}"]
        whole = (*self.view.key, *self.view.fields)
        for number, column in enumerate(self.view.columns, start=1):
            value = self._ranges.value(column)
            terms.append(f"COALESCE({value} % {DIGEST_P} * {MIX[2 * number]}, {MIX[2 * number + 1]})")
        linear = f"(({summed([f'({term}) % {DIGEST_P}' for term in terms])}) % {DIGEST_P})"
        plain = [f"TOTAL(c{number})" for number in range(len(self.view.key), len(whole))]
        odd = summed([f"SUM(typeof(c{number}) NOT IN ('integer', 'null'))" for number in range(len(whole))])
        where, params = self._ranges.where(within)
        piece = self._ranges.piece(even) if even else "0"
        names = ", ".join(f"{quote(column.name)} AS c{number}" for number, column in enumerate(whole))
        # The mix is computed in a derived table, which LIMIT -1 keeps from being merged, so that it is evaluated once.
        inner = f"SELECT {piece} AS piece, {linear} AS mix, {names} FROM {self.view.compared} WHERE {where} LIMIT -1"
        sql = (
            f"SELECT piece, COUNT(*), SUM(mix * mix % {DIGEST_Q}), {', '.join(plain)}, {odd} "
            f"FROM ({inner}) GROUP BY piece"
        )
        for row in self.session.query(sql, params):
            # A value that is no whole number was mixed as one: make such a piece differ from every other.
            yield row if not row[-1] else (*row, object())

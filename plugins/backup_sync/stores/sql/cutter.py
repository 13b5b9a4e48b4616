"""Cutting a table's keys into pieces, and digesting them: the flow once for all dialects."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores.base import Cut, Digest
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.ranges import EVERYTHING, EvenCut, KeyRange, ListCut, key_of_position, position_of_key
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.view import View

WIDE_PIECE_KEYS = 4_096
"""The widest that a piece of a whole-number key is chosen. In wide pieces a changed row costs the reading of many pairs;
many pieces make a server's digest dearer (a grouping into thousands took twice the time of one into hundreds). So: some
hundred pieces, as long as they are not too wide."""


class SqlCutter(ABC):
    """A dialect provides the SQL text."""

    dialect: Dialect
    pieces: Pieces
    """How whole-number keys are cut, unless ``limits`` says otherwise."""

    def __init__(self, session: SqlSession, view: View, limits: Limits) -> None:
        self.session, self.view, self.limits = session, view, limits

    # what a dialect provides

    @abstractmethod
    def digestible(self) -> bool:
        """Whether this product can digest the key and stamp columns."""

    @abstractmethod
    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        """Lowest and highest key of a range, of one column whose type is that of whole numbers; None if it is empty."""

    @abstractmethod
    def count(self, within: KeyRange) -> int:
        """How many rows a range holds."""

    @abstractmethod
    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        """Every ``every``-th key of a range, in the engine's order."""

    @abstractmethod
    def content_digest(self, within: KeyRange) -> tuple[int, str]:
        """See :class:`backup_sync.stores.base.Reader`."""

    @abstractmethod
    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        """(piece, count, sum of mixes …) for each piece of ``even`` (None: one row, piece 0)."""

    # the flow

    def cut(self, within: KeyRange | None, records: int) -> Cut:
        within = within or EVERYTHING
        key = self.view.key
        # Pieces that cannot be digested are all compared, so they should be as large as memory allows.
        if self.digestible() and len(key) == 1 and self.dialect.is_integer(key[0]):
            ends = self.bounds(within)
            if ends is None:
                return ListCut(within, ())
            # A column of SQLite may hold anything. And beyond 62 bits the arithmetic would overflow 64.
            if all(isinstance(end, int) for end in ends) and (span := ends[1] - ends[0] + 1) < 2**62:
                return self._even(within, ends[0], span)
        return ListCut(within, tuple(self.boundaries(within, records)))

    def portion(self, after: Any, part: float) -> tuple[KeyRange, Any]:
        within = KeyRange(after=key_of_position(after) if after else None)
        if part >= 1:
            return within, None
        key = self.view.key
        ends = self.bounds(within) if len(key) == 1 and self.dialect.is_integer(key[0]) else None
        if ends and all(isinstance(end, int) for end in ends):
            last = ends[0] + math.ceil((ends[1] - ends[0] + 1) * part) - 1
            bounds: list[Key] = [(last,)] if last < ends[1] else []
        else:
            bounds = self.boundaries(within, max(1, math.ceil(self.count(within) * part)))
        if not bounds:
            return within, None
        return KeyRange(within.after, bounds[0]), position_of_key(bounds[0])

    def _even(self, within: KeyRange, first: int, span: int) -> EvenCut:
        pieces, held = self.limits.pieces or self.pieces, self.limits.digests
        wanted = min(max(pieces.keys, -(-span // pieces.few)), WIDE_PIECE_KEYS)
        width = min(max(wanted, -(-span // (pieces.parts * held))), max(1, -(-span // 2)))
        return EvenCut(within, first, width, -(-span // width), held)

    @property
    def digests(self) -> Callable[[Cut], Mapping[int, Digest]] | None:
        return self._digests if self.digestible() else None

    def _digests(self, cut: Cut) -> dict[int, Digest]:
        if isinstance(cut, EvenCut):
            return {row[0]: row[1:] for row in self.digest_rows(cut.within, cut)}
        assert isinstance(cut, ListCut)
        found = {}
        for piece in range(len(cut)):
            for row in self.digest_rows(cut.select([piece]), None):
                if row[1]:
                    found[piece] = row[1:]
        return found

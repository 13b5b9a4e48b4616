"""Reading a table, the flow once for all dialects: cut, digest, pairs, records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores.base import Cut, Digest, PairCodec, Record, batches
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.ranges import EVERYTHING, EvenCut, KeyRange, ListCut
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table

WIDE_PIECE_KEYS = 4_096
"""The widest that a piece of a whole-number key is chosen. In wide pieces a changed row costs the reading of many pairs;
many pieces make a server's digest dearer (a grouping into thousands took twice the time of one into hundreds). So: some
hundred pieces, as long as they are not too wide."""


class SqlReader(ABC):
    """See :class:`backup_sync.stores.base.Reader`. A dialect provides the SQL text, and the few steps that differ.

    ``compare_also``: columns that are part of the stamp behind the configured ones. They enter as a hash, because a pair
    has to stay small whatever they hold. ``lacking``: columns that the table is yet to get, and that are read as NULL.
    """

    dialect: Dialect
    pieces: Pieces
    """How whole-number keys are cut, unless ``limits`` says otherwise."""
    reread_share = 0.25
    rejected = 0
    codec: PairCodec

    def __init__(
        self,
        session: SqlSession,
        table: Table,
        shape: TableShape,
        limits: Limits,
        *,
        compare_also: Sequence[str] = (),
        lacking: Sequence[str] = (),
    ) -> None:
        self.session, self.table, self.shape, self.limits = session, table, shape, limits
        self.label = table.label
        self.key_columns = tuple(shape.column(name) for name in shape.key)
        fields = [shape.column(name) for name in table.service.fields]
        # Until they are filled in, any of these may be NULL.
        self.fields = tuple(replace(one, nullable=one.nullable or one.name in compare_also) for one in fields)
        self.hashed = tuple(replace(shape.column(name), nullable=True) for name in compare_also)
        self._key_at = [shape.index(name) for name in shape.key]
        self.compared = table.name
        """What pairs and digests are read from."""
        if lacking:
            missing = [(self.no_value(shape.column(name)), self.dialect.quote(name)) for name in lacking]
            columns = ", ".join(f"{value} AS {name}" for value, name in missing)
            self.compared = f"(SELECT t.*, {columns} FROM {table.name} t) planned"

    @property
    def stamp_columns(self) -> tuple[Column, ...]:
        return self.fields + self.hashed

    # what a dialect provides

    @abstractmethod
    def no_value(self, column: Column) -> str:
        """NULL, of the column's type where that matters."""

    @abstractmethod
    def is_integer(self, column: Column) -> bool: ...

    @abstractmethod
    def digestible(self) -> bool:
        """Whether this product can digest the key and stamp columns."""

    @abstractmethod
    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        """Lowest and highest key of a range, of one column whose type is that of whole numbers; None if it is empty."""

    @abstractmethod
    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        """Every ``every``-th key of a range, in the engine's order."""

    @abstractmethod
    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        """(piece, count, sum of mixes …) for each piece of ``even`` (None: one row, piece 0)."""

    @abstractmethod
    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]: ...

    @abstractmethod
    def read(self, within: KeyRange) -> Iterator[list[Record]]: ...

    @abstractmethod
    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]: ...

    @abstractmethod
    def present(self, keys: Sequence[Key]) -> set[Key]: ...

    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def empty(self) -> bool: ...

    # the flow

    def cut(self, within: KeyRange | None, records: int) -> Cut:
        within = within or EVERYTHING
        # Pieces that cannot be digested are all compared, so they should be as large as memory allows.
        if self.digestible() and len(self.key_columns) == 1 and self.is_integer(self.key_columns[0]):
            ends = self.bounds(within)
            if ends is None:
                return ListCut(within, ())
            # A column of SQLite may hold anything. And beyond 62 bits the arithmetic would overflow 64.
            if all(isinstance(end, int) for end in ends) and (span := ends[1] - ends[0] + 1) < 2**62:
                return self._even(within, ends[0], span)
        return ListCut(within, tuple(self.boundaries(within, records)))

    def _even(self, within: KeyRange, first: int, span: int) -> EvenCut:
        pieces, held = self.limits.pieces or self.pieces, self.limits.digests
        wanted = min(max(pieces.keys, -(-span // pieces.few)), WIDE_PIECE_KEYS)
        width = min(max(wanted, -(-span // (pieces.parts * held))), max(1, -(-span // 2)))
        return EvenCut(within, first, width, -(-span // width), held)

    def readable(self, cut: Cut) -> Cut:
        return cut

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

    def pairs(self, within: KeyRange | None) -> Iterator[Collection[Hashable]]:
        return self.read_pairs(within or EVERYTHING)

    def records(self, within: KeyRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        return self.read(within or EVERYTHING)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        for chunk in batches(keys, self.limits.posted_keys):
            yield from self.read_keys(chunk)

    def key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

"""Slices of a Cosmos container's key space.

Cosmos places a document by the hash of its partition key, the *effective partition key* (EPK), written as
hexadecimal text. Every container with the same partition key definition hashes alike, so one slice of the hash
space means the same documents in both accounts, wherever each of them has its physical partitions.
With hash version 2 the space runs from ``""`` to 3FFF… and is even, so it can be cut by arithmetic
(https://learn.microsoft.com/azure/cosmos-db/nosql/query-feed-range; the service accepts any sub-range of a feed range).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

_TOP = 1 << 126  # the first value beyond the hash space of version 2
_LAST = "FF"


@dataclass(frozen=True)
class EpkRange:
    """The union of spans ``[low, high)``; no spans at all: the whole container, asked for without naming a range."""

    spans: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FeedCut:
    """Piece n is the n-th slice of every feed range, so that each piece keeps all physical partitions busy."""

    feed_ranges: tuple[tuple[str, str], ...]
    pieces: int
    gaps: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.pieces

    def select(self, pieces: Sequence[int]) -> EpkRange:
        if self.pieces == 1 and len(self.feed_ranges) == 1:
            return EpkRange()
        return EpkRange(
            tuple(
                _slice(low, high, piece, self.pieces) if self.pieces > 1 else (low, high)
                for piece in pieces
                for low, high in self.feed_ranges
            )
        )


def _slice(low: str, high: str, number: int, count: int) -> tuple[str, str]:
    """Slice ``number`` of ``count`` equal ones; the outermost bounds stay exactly as they were given."""
    start, end = _value(low), _value(high)
    cuts = [start + (end - start) * n // count for n in (number, number + 1)]
    return (low if number == 0 else f"{cuts[0]:032X}", high if number == count - 1 else f"{cuts[1]:032X}")


def _value(bound: str) -> int:
    if bound == "":
        return 0
    if bound == _LAST:
        return _TOP
    return int(bound[:32].ljust(32, "0"), 16)

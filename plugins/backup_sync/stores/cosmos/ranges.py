"""Slices of a Cosmos container's key space.

Cosmos places a document by the hash of its partition key, the *effective partition key* (EPK), written as
hexadecimal text. Every container with the same partition key definition hashes alike, so one slice of the hash
space means the same documents in both accounts, wherever each of them has its physical partitions.
A container takes any slice of its own feed ranges
(https://learn.microsoft.com/azure/cosmos-db/nosql/query-feed-range), so that where the cuts lie decides only how even the pieces are.
With hash version 2 the space runs from ``""`` to 3FFF… and is even. A hierarchical key has 32 digits for each level that
tells its values apart, so the bounds of its ranges may be up to three times as long. A container of version 1 is not cut: its
bounds are numbers of 32 bits in another form, and one piece is right, if slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

Span = tuple[str, str]

_DIGITS = 32
_TOP = 1 << 126  # the first value beyond the hash space of version 2, in that many digits
_LAST = "FF"
_PLACES = 1 << 53
_ASKED = 16  # feed ranges that are tried: servers that do not keep to slices are small


@dataclass(frozen=True)
class EpkRange:
    """The union of spans ``[low, high)``, compared as text; None: the whole container, for each store by its own feed ranges."""

    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class FeedCut:
    """Piece n is the n-th slice of every feed range, so that each piece keeps all physical partitions busy.

    ``whole``: these are all feed ranges, and not spans out of them.
    """

    feed_ranges: tuple[Span, ...]
    pieces: int
    whole: bool = True
    gaps: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.pieces

    def select(self, pieces: Sequence[int]) -> EpkRange:
        if self.pieces == 1:
            return EpkRange(None if self.whole else self.feed_ranges)
        return EpkRange(tuple((low, high) for piece in pieces for low, high in self._spans(piece) if low < high))

    def parts(self) -> Iterable[FeedCut]:
        return (self,)

    def slivers(self) -> tuple[Span, ...]:
        """Slices so thin that no document lies in them, one to a feed range; none where the cut asks for no slice at all.

        A server that finds documents there does not keep to slices.
        """
        if self.pieces == 1 and self.whole:
            return ()
        ranges = self.feed_ranges[:_ASKED]
        count = 1 << 64
        return FeedCut(ranges, count).select([count // 3]).spans or ()

    def _spans(self, piece: int) -> Iterator[Span]:
        for low, high in self.feed_ranges:
            yield _bound(low, high, piece, self.pieces), _bound(low, high, piece + 1, self.pieces)


def _bound(low: str, high: str, number: int, count: int) -> str:
    """Where slice ``number`` of ``count`` equal ones of a range begins; the range's own bounds stay as they were given."""
    if number in (0, count):
        return high if number else low
    digits = max(_DIGITS, len(low), len(high))
    start, end = _value(low, digits), _value(high, digits)
    cut = f"{start + (end - start) * number // count:0{digits}X}"
    # A bound is text, and one that is short sorts before itself with noughts behind it.
    return max(low, min(cut, high))


def _value(bound: str, digits: int) -> int:
    if bound == _LAST:
        return _TOP << 4 * (digits - _DIGITS)
    return int(bound.ljust(digits, "0"), 16)


def portion(feed_ranges: Sequence[Span], after: float, upto: float) -> EpkRange:
    """What lies between two places of the hash space, each 0 (its beginning) up to 1 (its end)."""
    if after <= 0 and upto >= 1:
        return EpkRange()
    first, last = (_bound("", _LAST, int(place * _PLACES), _PLACES) for place in (after, upto))
    # Each span within one feed range: a server takes no slice of two.
    spans = ((max(low, first), min(high, last)) for low, high in feed_ranges)
    return EpkRange(tuple((low, high) for low, high in spans if low < high))


def share_of(spans: Sequence[Span]) -> float:
    """How much of the hash space some spans cover, 0..1."""
    return sum(_value(high, _DIGITS) - _value(low, _DIGITS) for low, high in spans) / _TOP

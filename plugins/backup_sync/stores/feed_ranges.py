"""Slices of a Cosmos container's key space.

Cosmos places a document by the hash of its partition key, the *effective partition key* (EPK), written as
hexadecimal text. Every container with the same partition key definition hashes alike, so one slice of the hash
space means the same documents in both accounts, wherever each of them has its physical partitions.
A container takes any slice of its own feed ranges
(https://learn.microsoft.com/azure/cosmos-db/nosql/query-feed-range), so that where the cuts lie decides only how even the pieces are.
With hash version 2 the space runs from ``""`` to 3FFF… and is even. Version 1 hashes to 32 bits, written as a number in
the binary form of an index: 05, then the bits of the double, eight of them and from there on seven in each byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

_TOP = 1 << 126  # the first value beyond the hash space of version 2
_LAST = "FF"
_64_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class EpkRange:
    """The union of spans ``[low, high)``; no spans at all: the whole container, asked for without naming a range."""

    spans: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FeedCut:
    """Piece n is the n-th slice of every feed range, so that each piece keeps all physical partitions busy.

    ``version``: that of the hash. With version 1 the whole space is cut into ``pieces`` slices for each feed range,
    and piece n gets each ``pieces``-th of them, which comes to the same where feed ranges are alike in size.
    """

    feed_ranges: tuple[tuple[str, str], ...]
    pieces: int
    version: int = 2
    gaps: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.pieces

    def select(self, pieces: Sequence[int]) -> EpkRange:
        if self.pieces == 1:
            return EpkRange(self.feed_ranges if len(self.feed_ranges) > 1 else ())
        if self.version == 1:
            return EpkRange(tuple(span for piece in pieces for span in self._spans_of_32_bits(piece)))
        return EpkRange(
            tuple(_slice(low, high, piece, self.pieces) for piece in pieces for low, high in self.feed_ranges)
        )

    def parts(self) -> Iterable[FeedCut]:
        return (self,)

    def _spans_of_32_bits(self, piece: int) -> Iterator[tuple[str, str]]:
        count = self.pieces * len(self.feed_ranges)
        for number in range(piece, count, self.pieces):
            start, end = _edge(number, count), _edge(number + 1, count)
            for low, high in self.feed_ranges:
                span = (max(low, start), min(high, end))
                if span[0] < span[1]:
                    yield span


def _edge(number: int, count: int) -> str:
    """Where slice ``number`` of ``count`` begins in the space of version 1."""
    if number == 0:
        return ""
    return _LAST if number == count else of_32_bits((number << 32) // count)


def of_32_bits(value: int) -> str:
    """The effective partition key at which those begin whose hash (version 1) is this number."""
    bits = struct.unpack(">Q", struct.pack(">d", float(value)))[0] ^ 1 << 63
    found = bytearray([0x05, bits >> 56])
    rest = bits << 8 & _64_BITS
    while True:
        byte, rest = rest >> 56 | 1, rest << 7 & _64_BITS
        if not rest:
            break
        found.append(byte)
    found.append(byte & 0xFE)  # the last byte says that it is the last
    return found.hex().upper()


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

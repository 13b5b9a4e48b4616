"""Slices of a SQL table's key space, and the two ways of cutting it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits


@dataclass(frozen=True)
class KeyRange:
    """All keys with ``after < key <= upto`` in the engine's own order; None: open at that end.

    ``only``: of those, the keys that fall into these pieces of this cut; and so on, for a range that was cut out of a
    range with gaps.
    """

    after: Key | None = None
    upto: Key | None = None
    only: tuple[tuple[EvenCut, tuple[int, ...]], ...] = ()


EVERYTHING = KeyRange()

SAMPLED_KEYS = 2**18
"""A cut of so many keys begins with a small part: where nearly all of its pieces differ, the digests of the others would
earn nothing."""
FEWEST_SAMPLED = 16
"""Pieces of such a part, at least."""


@dataclass(frozen=True)
class EvenCut:
    """A single whole-number key, cut by arithmetic: piece n holds the keys from ``first + n * width``.

    The first piece reaches down to the range's lower end and the last one up to its upper end, so that a key beyond
    those that the cutting store had seen belongs to a piece as well. ``most``: pieces of a part (:meth:`parts`).
    """

    within: KeyRange
    first: int
    width: int
    count: int
    most: int = Limits.digests
    gaps: ClassVar[bool] = True

    def __len__(self) -> int:
        return self.count

    @property
    def last_start(self) -> int:
        return self.first + (self.count - 1) * self.width

    def select(self, pieces: Sequence[int]) -> KeyRange:
        low, high = pieces[0], pieces[-1]
        after = self.within.after if low == 0 else (self.first + low * self.width - 1,)
        upto = self.within.upto if high == self.count - 1 else (self.first + (high + 1) * self.width - 1,)
        gaps = len(pieces) < high - low + 1
        return KeyRange(after, upto, (*self.within.only, *([(self, tuple(pieces))] if gaps else [])))

    def parts(self) -> Iterator[EvenCut]:
        low, size = 0, self.most
        if self.count * self.width >= SAMPLED_KEYS:
            size = min(size, max(FEWEST_SAMPLED, self.count // 16))
        while low < self.count:
            pieces = range(low, min(low + size, self.count))
            low, size = low + size, self.most
            yield EvenCut(self.select(pieces), self.first + pieces[0] * self.width, self.width, len(pieces), self.most)


@dataclass(frozen=True)
class ListCut:
    """Any key, cut at boundaries that the engine itself read off its index: piece n ends at ``bounds[n]``."""

    within: KeyRange
    bounds: tuple[Key, ...]
    gaps: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.bounds) + 1

    def select(self, pieces: Sequence[int]) -> KeyRange:
        """Only pieces that lie side by side (``gaps`` says so): a range is given by its two ends."""
        low, high = pieces[0], pieces[-1]
        after = self.bounds[low - 1] if low else self.within.after
        upto = self.bounds[high] if high < len(self.bounds) else self.within.upto
        return KeyRange(after, upto, self.within.only)

    def parts(self) -> Iterable[ListCut]:
        return (self,)


def position_of_key(key: Key) -> list[Any]:
    """A key as JSON."""
    return [{"hex": part.hex()} if isinstance(part, bytes) else part for part in key]


def key_of_position(position: Sequence[Any]) -> Key:
    """The inverse of :func:`position_of_key`."""
    return tuple(bytes.fromhex(part["hex"]) if isinstance(part, dict) else part for part in position)

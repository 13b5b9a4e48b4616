"""What differs: cut → digest → pairs. Reads both ends, and writes nothing.

Both ends cut the key space in the same way, and each digests its pieces in its own engine. Where the digests agree, the
work on that piece ends: nothing of it is read over the wire. Where they do not, the (key, stamp) pairs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from backup_sync.model.diff import Changes, Key, diff
from backup_sync.model.faults import point
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Cut, Reader
from backup_sync.walk.groups import Digests, count, groups
from backup_sync.walk.join import Joined, join
from backup_sync.walk.pipeline import both
from backup_sync.walk.progress import Progress

DENSE = 0.9
"""Share of the pieces of a cut's first part: where so many differ, the others are compared without asking for digests."""
FEWEST_DENSE = 16
"""Pieces that say something of the others, at least."""


@dataclass(frozen=True)
class Found:
    """What a comparison found in a range, or in a part of one.

    ``source`` and ``target``: records that each side holds there. ``changes``: what sets them apart; None: the target
    holds nothing of it, so that all of it is missing. ``within``: the range, to be read as a whole; None: it is a part
    of one that cannot be read separately, so that only keys can be asked for.
    """

    source: int
    target: int
    changes: Changes | None
    within: Any = None


class Finder:
    """Compares two ends.

    ``rules``: for each field of the stamps, when it counts as changed. With ``force`` every record that both hold is an
    update, less the keys of a range in ``written``, which an earlier attempt of the run wrote. ``check``: called between
    the steps; raises when the run has to stop.
    """

    def __init__(
        self,
        source: Reader,
        target: Reader,
        rules: tuple[str, ...],
        *,
        force: bool,
        written: Callable[[Any], Set[Key]],
        progress: Progress,
        check: Callable[[], None],
        limits: Limits,
    ) -> None:
        self.source, self.target, self.rules = source, target, rules
        self.force, self.written, self.progress, self.check = force, written, progress, check
        self.limits = limits

    def find(self, cut: Cut, held: float = math.inf) -> Iterator[Found]:
        """Compare a range of any size. ``held``: records that the range was seen to hold, if it is a piece of another."""
        ours, theirs = self.source.digests, self.target.digests
        if ours is None or theirs is None:
            for piece in range(len(cut)):
                yield from self.compare(cut.select([piece]))
            return
        dense = 0.0
        for part in cut.parts():
            self.check()
            if dense:
                yield from self._compare_all(part, dense)
                continue
            source, target = both(partial(ours, part), partial(theirs, part))
            point("after digest")
            if self.progress.total is None:  # a guess from the first part
                self.progress.total = sum(digest[0] for digest in source.values()) * len(cut) // len(part)
            yield from self._drill(part, source, target, held)
            dense = _dense(source, target)

    def _compare_all(self, cut: Cut, records: float) -> Iterator[Found]:
        """Compare all pieces of a cut, of some ``records`` each, without their digests."""
        step = max(1, int(self.limits.range_records / records))
        for start in range(0, len(cut), step):
            yield from self.compare(cut.select(range(start, min(start + step, len(cut)))))

    def _drill(self, cut: Cut, source: Digests, target: Digests, held: float) -> Iterator[Found]:
        """Sort the pieces of a cut by their digests: the same, missing, gone, to be compared, or to be cut again.

        A piece that holds as much as the range did before it was cut does not become smaller: its ends may be keys that
        the store gives out in a way in which it does not find them. It is compared as it is.
        """
        pieces = sorted(source.keys() | target.keys())
        differing = pieces if self.force else [n for n in pieces if source.get(n) != target.get(n)]
        if 2 * len(differing) > len(pieces):
            differing = pieces  # one long range reads faster than many gaps
        elif same := sum(source[n][0] for n in set(pieces).difference(differing)):
            yield Found(same, same, Changes(skipped=same))
        for kind, group in groups(differing, source, target, most=self.limits.range_records, gaps=cut.gaps):
            within = cut.select(group)
            if kind == "copy":
                yield Found(sum(count(source, piece) for piece in group), 0, None, within)
            elif kind == "delete":
                for keys in self.keys_of(self.target, within):
                    yield Found(0, len(keys), Changes(deletes=keys))
            elif kind == "compare" or (most := max(count(source, group[0]), count(target, group[0]))) >= held:
                yield from self.compare(within)
            else:
                larger = self.source if count(source, group[0]) == most else self.target
                yield from self.find(larger.cut(within, self.limits.range_records), most)

    @staticmethod
    def keys_of(reader: Reader, within: Any) -> Iterator[list[Key]]:
        """The keys of a range."""
        for bundles in reader.pairs(within):
            yield [reader.codec.split(pair)[0] for pair in reader.codec.open(set(bundles))]

    def differing(self, found: Found) -> Iterator[Sequence[Key]]:
        """The keys of all that differs in what :meth:`find` found, in batches."""
        if found.changes is None:
            yield from self.keys_of(self.source, found.within)
        else:
            changes = found.changes
            yield [*changes.inserts, *changes.updates, *changes.ahead, *changes.deletes]

    def compare(self, within: Any) -> Iterator[Found]:
        """Compare a range record by record."""
        self.check()
        written = self.written(within) if self.force else frozenset()
        for joined in join(self.source, self.target, within, most=self.limits.held_pairs, force=self.force):
            source, target = joined.same + len(joined.source), joined.same + len(joined.target)
            changes = self._changes(joined, written)
            changes.skipped += joined.same
            readable = within if joined.whole else None
            del joined  # the pairs, before more of them come
            yield Found(source, target, changes, readable)

    def _changes(self, joined: Joined, written: Set[Key]) -> Changes:
        split = self.source.codec.split
        done = joined.source & joined.target
        if self.force:
            done = {pair for pair in done if split(pair)[0] in written} if written else set()
        changes = diff(
            dict(map(split, joined.source - done)),
            dict(map(split, joined.target - done)),
            self.rules,
            force=self.force,
        )
        changes.skipped += len(done)
        return changes


def _dense(source: Digests, target: Digests) -> float:
    """Records of a piece, on average, where nearly every piece differs; otherwise 0.

    Only of pieces that both ends hold: what one of them lacks is found by its digests alone.
    """
    if len(source) < FEWEST_DENSE or source.keys() != target.keys():
        return 0.0
    differing = sum(source[piece] != target[piece] for piece in source)
    return sum(digest[0] for digest in source.values()) / len(source) if differing >= DENSE * len(source) else 0.0

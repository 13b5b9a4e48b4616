"""What differs: cut → digest → pairs → plan. Reads both stores, and writes to neither.

Both stores cut the key space in the same way and each digests its pieces by itself. Where the digests agree, the work on
that piece ends: nothing of it is read over the wire. Where they do not, the (key, stamp) pairs are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from backup_sync.model.diff import Changes, Key, diff
from backup_sync.model.faults import point
from backup_sync.stores.base import Cut, Store
from backup_sync.walk.groups import count, groups
from backup_sync.walk.join import Joined, join
from backup_sync.walk.pipeline import both
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool, private_file

RANGE_RECORDS = 50_000
"""Records whose (key, stamp) pairs are to be held in memory at once: what bounds the memory of a run."""

MOST_PAIRS = 2 * RANGE_RECORDS
"""Pairs of one side that are held in memory at most. A range is sized by the store that cut it, and the other one may
hold far more of it; or so much has one key to a store that it cannot be cut (a logical partition)."""

MOST_CUTS = 16
"""How many times over a range is cut. What is too large even then will not become smaller: its ends may be keys that the
store gives out in a way in which it does not find them. It is compared as it is."""


@dataclass(frozen=True)
class Copied:
    """A range of which the backup holds nothing, and how many records the source was seen to hold there."""

    within: Any
    records: int


@dataclass(frozen=True)
class Dense:
    """A range so much of which changed that reading all of it is cheaper than asking for keys; where its changes lie in
    the plan's ``dense``."""

    within: Any
    start: int
    count: int


class Plan:
    """What a comparison found. Keys lie in a private file, so that its memory does not grow with their number.

    ``copies``: ranges of which the backup holds nothing. ``changed`` and ``dense`` hold rows of (1 for an update or 0 for
    an insert, key …). ``skipped`` are the same on both sides; ``filled``: updates that only fill in a new column; the counts
    of records are of what each side holds.
    """

    def __init__(self) -> None:
        self._file = private_file()
        self.copies: list[Copied] = []
        self.dense_ranges: list[Dense] = []
        self.changed, self.dense, self.ahead, self.deletes = (
            KeySpool(self._file, name) for name in ("changed", "dense", "ahead", "deletes")
        )
        self.inserts = self.updates = self.filled = self.skipped = 0
        self.source_records = self.backup_records = 0

    def close(self) -> None:
        self._file.close()


class Finder:
    """Compares two stores and fills a plan.

    ``written``: the keys of a range that an earlier attempt of a forced run wrote, which need not be written again.
    ``check``: called between the steps; raises when the run has to stop.
    """

    def __init__(
        self,
        source: Store,
        backup: Store,
        rules: tuple[str, ...],
        *,
        force: bool,
        written: Callable[[Any], Set[Key]],
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        self.source, self.backup, self.rules = source, backup, rules
        self.force, self.written, self.progress, self.check = force, written, progress, check
        self.plan = Plan()

    def close(self) -> None:
        self.plan.close()

    def find(self, cut: Cut, depth: int = 1) -> None:
        """Compare a range of any size. ``depth``: how many times over it has been cut."""
        for part in cut.parts():
            self._part(part, len(cut) / len(part), depth)

    def _part(self, cut: Cut, parts: float, depth: int) -> None:
        """``parts``: how many like this one there are, about; ``depth``: as above."""
        self.check()
        source, backup = both(lambda: self.source.digests(cut), lambda: self.backup.digests(cut))
        point("after digest")
        if source is None or backup is None:
            for piece in range(len(cut)):
                self.compare(cut.select([piece]))
            return
        if self.progress.total is None:
            self.progress.total = round(parts * sum(digest[0] for digest in source.values()))
        self._drill(cut, source, backup, depth)

    def _drill(self, cut: Cut, source: Any, backup: Any, depth: int) -> None:
        """Sort the pieces of a cut by their digests: done, copy, delete, compare, or cut again."""
        pieces = sorted(source.keys() | backup.keys())
        differing = pieces if self.force else [n for n in pieces if source.get(n) != backup.get(n)]
        if 2 * len(differing) > len(pieces):
            differing = pieces  # one long range reads faster than many gaps
        else:
            same = set(pieces).difference(differing)
            self._same(sum(source[n][0] for n in same))
        for kind, group in groups(differing, source, backup, most=RANGE_RECORDS, gaps=cut.gaps):
            if kind == "copy":
                self._copy(cut.select(group), sum(count(source, piece) for piece in group))
            elif kind == "delete":
                for batch in self._keys_of(self.backup, cut.select(group)):
                    self.plan.backup_records += len(batch)
                    self.plan.deletes.extend(batch)
            elif kind == "compare" or depth >= MOST_CUTS:
                self.compare(cut.select(group))
            else:
                larger = self.source if count(source, group[0]) >= count(backup, group[0]) else self.backup
                self.find(larger.cut(cut.select(group), RANGE_RECORDS), depth + 1)

    def _same(self, records: int) -> None:
        plan = self.plan
        plan.source_records += records
        plan.backup_records += records
        plan.skipped += records
        self.progress.advance(records)

    def _copy(self, within: Any, records: int) -> None:
        self.plan.copies.append(Copied(within, records))
        self.plan.inserts += records
        self.plan.source_records += records

    @staticmethod
    def _keys_of(store: Store, within: Any) -> Iterator[list[Key]]:
        for bundles in store.pairs(within):
            yield [store.split(pair)[0] for pair in store.unpacked(set(bundles))]

    def compare(self, within: Any) -> None:
        """Compare a range record by record."""
        self.check()
        plan = self.plan
        written = self.written(within) if self.force else frozenset()
        for joined in join(self.source, self.backup, within, most=MOST_PAIRS, force=self.force):
            seen = joined.same + len(joined.source)
            plan.source_records += seen
            plan.backup_records += joined.same + len(joined.backup)
            changes = self._changes(joined, written)
            changes.skipped += joined.same
            plan.skipped += changes.skipped
            self.progress.advance(changes.skipped)
            readable = within if joined.whole else None
            del joined  # the pairs, before more of them come
            self._keep(readable, changes, seen)

    def _changes(self, joined: Joined, written: Set[Key]) -> Changes:
        done = joined.source & joined.backup
        if self.force:
            done = {pair for pair in done if self.backup.split(pair)[0] in written} if written else set()
        changes = diff(
            dict(map(self.source.split, joined.source - done)),
            dict(map(self.source.split, joined.backup - done)),
            self.rules,
            force=self.force,
        )
        changes.skipped += len(done)
        return changes

    def _keep(self, within: Any, changes: Changes, seen: int) -> None:
        """Set aside what changed in a range of ``seen`` records. Without a range it is a part of one that cannot be read by
        itself, so that only keys can be asked for."""
        plan = self.plan
        plan.inserts += len(changes.inserts)
        plan.updates += len(changes.updates)
        plan.filled += changes.filled
        plan.ahead.extend(changes.ahead)
        plan.deletes.extend(changes.deletes)
        changed = _flagged(0, changes.inserts) + _flagged(1, changes.updates)
        if within is not None and changed and len(changed) >= self.source.dense * seen:
            plan.dense_ranges.append(Dense(within, len(plan.dense), len(changed)))
            plan.dense.extend(changed)
        else:
            plan.changed.extend(changed)


def _flagged(update: int, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    return [(update, *key) for key in keys]

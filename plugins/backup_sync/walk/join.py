"""The two sides of a range, brought together pair by pair: in memory, or by way of a file where that is too much.

By way of a file it is a Grace hash join: each side is sorted by the hash of its keys into buckets, and then one bucket
after the other is compared. What belongs together lies in buckets of one number
(https://en.wikipedia.org/wiki/Hash_join#Grace_hash_join).
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Set
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.base import Reader
from backup_sync.walk.pipeline import both
from backup_sync.walk.spool import on_disk, private_file

BUCKETS = 256


@dataclass
class Joined:
    """All pairs of some keys of a range: ``source`` and ``target`` hold those of each side, and ``same`` counts others that
    are alike on both. ``whole``: these are all keys of the range."""

    source: Set[Hashable]
    target: Set[Hashable]
    same: int
    whole: bool


def join(source: Reader, target: Reader, within: Any, *, most: int, force: bool) -> Iterator[Joined]:
    """Read the pairs of a range from both ends at once, holding up to ``most`` of each side in memory.

    With ``force`` those that are alike are among the pairs as well. Raises RetriableError where the file fails.
    """
    with closing(Buckets()) as one, closing(Buckets()) as other:
        ours, theirs = both(lambda: _read(source, within, most, one), lambda: _read(target, within, most, other))
        if not one.used and not other.used:
            # What both sides hold alike falls out here, unopened and in one step.
            same = 0
            if not force:
                same = source.codec.count(ours & theirs)
                ours, theirs = ours - theirs, theirs - ours
            joined = [Joined(source.codec.open(ours), target.codec.open(theirs), same, whole=True)]
            del ours, theirs
            yield joined.pop()  # held by nobody but the one who asks, and only for as long as he does
            return
        one.add(_keyed(source, ours))
        other.add(_keyed(target, theirs))
        del ours, theirs
        for new, old in zip(one.each(), other.each(), strict=True):
            yield Joined(new, old, 0, whole=False)


def _read(reader: Reader, within: Any, most: int, rest: Buckets) -> set[Hashable]:
    """The bundles of a range. Those that are too many for memory go into ``rest``, pair by pair."""
    found: set[Hashable] = set()
    held = 0
    for batch in reader.pairs(within):
        found.update(batch)
        held += reader.codec.count(batch)
        if held > most:
            rest.add(_keyed(reader, found))
            found, held = set(), 0
    return found


def _keyed(reader: Reader, bundles: Set[Hashable]) -> Iterator[tuple[Key, Hashable]]:
    return ((reader.codec.split(pair)[0], pair) for pair in reader.codec.open(bundles))


class Buckets:
    """The pairs of one side, which may be anything that can be pickled. Costs nothing until it is used.

    Raises RetriableError where its temporary file fails.
    """

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    @property
    def used(self) -> bool:
        return self._db is not None

    def add(self, keyed: Iterable[tuple[Key, Hashable]]) -> None:
        """Set aside pairs, each with its key."""
        buckets: dict[int, list[Hashable]] = {}
        for key, pair in keyed:
            buckets.setdefault(hash(key) % BUCKETS, []).append(pair)
        with on_disk():
            if self._db is None:
                # Filled by the thread that reads this side, and emptied by the one that compares.
                self._db = private_file(across_threads=True)
                self._db.execute("CREATE TABLE pairs (bucket INTEGER, pairs BLOB)")
            self._db.execute("BEGIN")
            self._db.executemany(
                "INSERT INTO pairs VALUES (?, ?)", ((number, pickle.dumps(pairs)) for number, pairs in buckets.items())
            )
            self._db.execute("COMMIT")

    def each(self) -> Iterator[set[Hashable]]:
        """The pairs of each bucket, all ``BUCKETS`` of them in order. Nothing can be added any more."""
        assert self._db is not None
        with on_disk():
            self._db.execute("CREATE INDEX by_bucket ON pairs (bucket)")
        for number in range(BUCKETS):
            with on_disk():
                rows = self._db.execute("SELECT pairs FROM pairs WHERE bucket = ?", [number]).fetchall()
            yield {pair for (pairs,) in rows for pair in pickle.loads(pairs)}

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

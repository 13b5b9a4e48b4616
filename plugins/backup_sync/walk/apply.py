"""What was found is written: in batches that are read ahead of the writer, deletes last.

A rule for all stores, checked here and not left to a store's word: keys asked for = records read + records rejected +
records confirmed gone. A driver, a query or a service that leaves out what it was asked for is an error, because a record
that is missing in silence is missing on every night that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from contextlib import closing
from itertools import chain
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import RetriableError, Unaccounted
from backup_sync.model.faults import point
from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Applied, Record, Store, batches
from backup_sync.walk.find import Plan
from backup_sync.walk.pipeline import read_ahead
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool

PENDING_KEYS = 10_000
"""Changed records that are read and written together: a round trip costs as much for one record as for many."""

ASKED_KEYS = 1_000
"""Keys that a store is asked about, or told to delete, at once."""


class Applier:
    """Writes to the backup. What was really written is counted in ``run``; ``rejected``: what could not be."""

    def __init__(
        self, source: Store, backup: Store, run: SyncResult, *, progress: Progress, check: Callable[[], None]
    ) -> None:
        self.source, self.backup, self.run = source, backup, run
        self.progress, self.check = progress, check
        self.rejected = 0

    def changes(self, plan: Plan) -> list[Any]:
        """The inserts and updates of a plan. Returns the ranges of which fewer records came than were seen there."""
        read = [(copied, self._copy(copied.within, [copied.within])) for copied in plan.copies]
        for dense in plan.dense_ranges:
            keys, updates = _split(plan.dense.part(dense.start, dense.count))
            wanted = set(keys)
            self._write(self._chosen(self.source.records(dense.within, compared=True), wanted), wanted, updates)
        for rows in plan.changed.batches(PENDING_KEYS):
            keys, updates = _split(rows)
            self._write(self.source.records_of(keys), set(keys), updates)
        return [copied.within for copied, found in read if found < copied.records]

    def set_back(self, keys: KeySpool) -> None:
        """The records that are newer in the backup."""
        for some in keys.batches(PENDING_KEYS):
            self._write(self.source.records_of(some), set(some), set(some))

    def copy_all(self, ranges: Iterable[Any]) -> int:
        """All records of the source, of which the backup has none. ``ranges``: all there are, to be read one by one.

        Returns how many were read, rejected ones included.
        """
        return self._copy(None, ranges)

    def _copy(self, within: Any, ranges: Iterable[Any]) -> int:
        pulled = self.backup.pull(self.source, within)
        if pulled is not None:
            return sum(map(_seen, self._pulled(pulled)))
        before = self.source.rejected
        records = chain.from_iterable(map(self.source.records, ranges))
        return sum(map(_seen, self._written(records, frozenset()))) + self.source.rejected - before

    def delete(self, keys: KeySpool) -> None:
        """Deletes, each batch checked against the source once more just before it is written."""
        for gone in self.gone(keys):
            self.check()
            point("before delete")
            self._wrote(self.backup.delete(gone))

    def gone(self, keys: KeySpool) -> Iterator[list[Key]]:
        """Those of the keys that the source does not hold (now), in batches."""
        for some in keys.batches(ASKED_KEYS):
            returned = self.source.present(some)
            if gone := [key for key in some if key not in returned]:
                yield gone

    # reading and writing

    def _pulled(self, pulled: Generator[Applied, None, None]) -> Iterator[Applied]:
        with closing(pulled):  # a run that stops here must not leave the store in the middle of it
            for applied in pulled:
                yield self._wrote(applied)
                self.check()

    def _chosen(self, found: Iterator[list[Record]], wanted: Set[Key]) -> Iterator[list[Record]]:
        for records in found:
            chosen = [record for record in records if self.source.key_of(record) in wanted]
            if chosen:
                yield chosen

    def _write(self, found: Iterator[list[Record]], asked: Set[Key], updates: Set[Key]) -> None:
        """Write the records found for the keys that were asked for. ``updates``: those that the backup has already."""
        missing = set(asked)
        for _ in self._written(self._seen_of(found, missing), updates):
            pass
        if missing:
            self._account(missing, updates)

    def _seen_of(self, found: Iterable[list[Record]], missing: set[Key]) -> Iterator[list[Record]]:
        for records in found:
            missing.difference_update(map(self.source.key_of, records))
            yield records

    def _account(self, missing: set[Key], updates: Set[Key]) -> None:
        """Records that were asked for and did not come have to be gone. Those that are there (again) are read once more.

        Raises Unaccounted for those that the source has, and does not give out.
        """
        there = self._present(missing)
        if not there:
            return
        again = set(there)
        for _ in self._written(self._seen_of(self.source.records_of(list(there)), again), updates):
            pass
        if again and (left := self._present(again)):
            raise Unaccounted(
                f"{self.source.label}: {len(left)} records that are in the source did not come when they were asked for by "
                "their keys; nothing was deleted. If retries do not help, please report it with the types of the table's key "
                "columns, or the container's partition key"
            )

    def _present(self, keys: Set[Key]) -> set[Key]:
        return {key for some in batches(keys, ASKED_KEYS) for key in self.source.present(some)}

    def _written(self, found: Iterator[list[Record]], updates: Set[Key]) -> Iterator[Applied]:
        """Write batches of records while the next ones are read."""
        reading = read_ahead(found)
        try:
            for records in reading:
                self.check()
                inserting, updating = self._sort(records, updates)
                point("before apply")
                applied = self.backup.apply(inserting, updating)
                if _seen(applied) != len(records):
                    raise RetriableError(
                        f"{self.backup.label}: of {len(records)} records {_seen(applied)} were written; somebody else is "
                        "changing the backup, and the next attempt finds out what is missing"
                    )
                yield self._wrote(applied)
        finally:
            reading.close()

    def _sort(self, records: list[Record], updates: Set[Key]) -> tuple[Sequence[Record], Sequence[Record]]:
        if not updates:
            return records, []
        inserting: list[Record] = []
        updating: list[Record] = []
        for record in records:
            (updating if self.source.key_of(record) in updates else inserting).append(record)
        return inserting, updating

    def _wrote(self, applied: Applied) -> Applied:
        self.run.inserted += applied.inserted
        self.run.updated += applied.updated
        self.run.deleted += applied.deleted
        self.rejected += applied.rejected
        self.progress.advance(applied.inserted + applied.updated)
        point("after write")
        return applied


def _split(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Key], set[Key]]:
    """(all keys in their order, those of updates) of a plan's rows."""
    return [row[1:] for row in rows], {row[1:] for row in rows if row[0]}


def _seen(applied: Applied) -> int:
    return applied.inserted + applied.updated + applied.rejected

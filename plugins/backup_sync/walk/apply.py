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
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Applied, Reader, Record, Writer, batches
from backup_sync.walk.pipeline import read_ahead
from backup_sync.walk.plan import Plan
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool


class Applier:
    """Writes to the target. What was really written is counted in ``result``; ``rejected``: what could not be.

    ``labels``: how messages call source and target.
    """

    def __init__(
        self,
        source: Reader,
        target: Writer,
        result: SyncResult,
        *,
        labels: tuple[str, str],
        progress: Progress,
        check: Callable[[], None],
        limits: Limits,
    ) -> None:
        self.source, self.target, self.result = source, target, result
        self.source_label, self.target_label = labels
        self.progress, self.check, self.limits = progress, check, limits
        self.rejected = 0

    def changes(self, plan: Plan) -> list[Any]:
        """The inserts and updates of a plan. Returns the ranges of which fewer records came than were seen there."""
        read = [(missing, self._copy(missing.within, [missing.within])) for missing in plan.missing]
        for reread in plan.reread_ranges:
            keys, updates = _split(plan.reread.part(reread.start, reread.count))
            wanted = set(keys)
            self._write(self._chosen(self.source.records(reread.within, compared=True), wanted), wanted, updates)
        for rows in plan.changed.batches(self.limits.pending_keys):
            keys, updates = _split(rows)
            self._write(self.source.records_of(keys), set(keys), updates)
        return [missing.within for missing, found in read if found < missing.records]

    def set_back(self, keys: KeySpool) -> None:
        """Write the records that are newer in the target as the source has them."""
        for some in keys.batches(self.limits.pending_keys):
            self._write(self.source.records_of(some), set(some), set(some))

    def copy_all(self, ranges: Iterable[Any]) -> int:
        """All records of the source, of which the target has none. ``ranges``: all there are, to be read one by one.

        Returns how many were read, rejected ones included.
        """
        return self._copy(None, ranges)

    def _copy(self, within: Any, ranges: Iterable[Any]) -> int:
        pulled = self.target.pull(self.source, within) if self.target.pull else None
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
            self._wrote(self.target.delete(gone))

    def gone(self, keys: KeySpool) -> Iterator[list[Key]]:
        """Those of the keys that the source does not hold (now), in batches."""
        for some in keys.batches(self.limits.asked_keys):
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
        """Write the records found for the keys that were asked for. ``updates``: those that the target has already."""
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
                f"{self.source_label}: {len(left)} records that are in the source did not come when they were asked for by "
                "their keys; nothing was deleted. If retries do not help, please report it with the types of the table's key "
                "columns, or the container's partition key"
            )

    def _present(self, keys: Set[Key]) -> set[Key]:
        return {key for some in batches(keys, self.limits.asked_keys) for key in self.source.present(some)}

    def _written(self, found: Iterator[list[Record]], updates: Set[Key]) -> Iterator[Applied]:
        """Write batches of records while the next ones are read."""
        reading = read_ahead(found)
        try:
            for records in reading:
                self.check()
                inserting, updating = self._sort(records, updates)
                point("before apply")
                applied = self.target.apply(inserting, updating)
                if _seen(applied) != len(records):
                    raise RetriableError(
                        f"{self.target_label}: of {len(records)} records {_seen(applied)} were written; somebody else is "
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
        self.result.inserted += applied.inserted
        self.result.updated += applied.updated
        self.result.deleted += applied.deleted
        self.rejected += applied.rejected
        self.progress.advance(applied.inserted + applied.updated)
        point("after write")
        return applied


def _split(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Key], set[Key]]:
    """(all keys in their order, those of updates) of a plan's rows."""
    return [row[1:] for row in rows], {row[1:] for row in rows if row[0]}


def _seen(applied: Applied) -> int:
    return applied.inserted + applied.updated + applied.rejected

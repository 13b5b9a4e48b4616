"""The walk: cut → digest → compare → apply → guard → delete.

Both stores cut the key space in the same way and each digests its pieces by itself. Where the digests agree, the
work on that piece ends: nothing of it is read over the wire. Where they do not, the (key, stamp) pairs are compared
and only the records that changed are read and written. Deletes come last, are guarded as a whole, and each is
checked against the source once more just before it is written.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from backup_sync.core.diff import UNFILLED, Changes, Key, diff
from backup_sync.core.errors import ConfigurationError
from backup_sync.core.faults import point
from backup_sync.core.groups import count, groups
from backup_sync.core.guard import check_deletes, check_set_back
from backup_sync.core.join import Joined, join
from backup_sync.core.pipeline import both, read_ahead
from backup_sync.core.progress import Progress
from backup_sync.core.result import IN_PROGRESS, SyncResult
from backup_sync.core.spool import KeySpool
from backup_sync.service import Service
from backup_sync.stores.base import Applied, Cut, Record, Store

log = logging.getLogger(__name__)

RANGE_RECORDS = 50_000
"""Records whose (key, stamp) pairs are to be held in memory at once: what bounds the memory of a run."""

MOST_PAIRS = 2 * RANGE_RECORDS
"""Pairs of one side that are held in memory at most. A range is sized by the store that cut it, and the other one may
hold far more of it; or so much has one key to a store that it cannot be cut (a logical partition)."""

MOST_CUTS = 16
"""How many times over a range is cut. What is too large even then will not become smaller: its ends may be keys that the
store gives out in a way in which it does not find them. It is compared as it is."""

PENDING_KEYS = 10_000
"""Changed records that are read and written together: a round trip costs as much for one record as for many."""

DELETE_BATCH = 1_000


@dataclass(frozen=True)
class Options:
    """What the one who started the run asked for."""

    force: bool = False
    dry_run: bool = False
    allow_mass_delete: bool = False


def initialize(source: Store, backup: Store, *, dry_run: bool = False) -> list[str]:
    """Make the backup ready for the source: database, schema, table or container, history.

    Returns what was created (with ``dry_run``: what would be), in words; an empty list when all was there.
    Raises ConfigurationError when the source cannot be backed up or the two ends do not fit.
    """
    if source.kind != backup.kind:
        raise ConfigurationError(
            f"source is {source.kind} and backup is {backup.kind}: both connections of a service must be of one type"
        )
    # The history first: if the source turns out to be unusable, there is a place to say so.
    created = backup.create(None, dry_run=dry_run)
    return created + [what for what in backup.create(source.describe(), dry_run=dry_run) if what not in created]


def record_history(backup: Store, run: SyncResult) -> None:
    """Write the run's history record.

    What the record holds of earlier attempts stays: a sync that was killed never said what it had done, and one that
    failed before it could begin knows nothing of what the others had committed.
    """
    committed = SyncResult(run.sync_id, run.service_name)
    backup.resume(committed)
    run.started_at = min(run.started_at, committed.started_at)
    for name in ("inserted", "updated", "deleted"):
        setattr(run, name, max(getattr(run, name), getattr(committed, name)))
    point("before history")
    backup.save_history(run)


def sync(service: Service, source: Store, backup: Store, run: SyncResult, options: Options) -> None:
    """Bring the backup in step with the source; ``run`` is filled in as the work goes on.

    On return ``run`` is Completed. On an exception it holds what had been done until then (counts of what was
    committed, deletes withheld) and the caller decides what becomes of it. A dry run takes no lock and writes
    nothing, not even history.
    """
    run.status, run.dry_run = IN_PROGRESS, options.dry_run
    shape, exists = both(source.describe, backup.exists)
    source.open(shape)
    with ExitStack() as held:

        def cut() -> Cut:
            return source.cut(None, RANGE_RECORDS)

        def hold() -> tuple[bool, Sequence[str], bool]:
            backup.open(shape)
            resumed = False
            if not options.dry_run:
                held.enter_context(backup.lock(run, service.lock_wait_seconds))
                resumed = backup.begin(run)
            return backup.empty(), backup.unfilled(), resumed

        if exists:
            first, (empty, unfilled, resumed) = both(cut, hold)
            point("after cut")
            source.watch(unfilled)
            backup.watch(unfilled)
            _Walk(service, source, backup, run, options, unfilled, resumed).run(None if empty else first)
        elif options.dry_run:
            run.inserted = source.count()
        else:
            backup.open(shape)  # says what is missing
    run.complete()


class _Walk:
    """One run over one pair of stores. Counts are kept in ``run``; what is planned but not written, here."""

    def __init__(
        self,
        service: Service,
        source: Store,
        backup: Store,
        run: SyncResult,
        options: Options,
        unfilled: Sequence[str],
        resumed: bool,
    ) -> None:
        self.service, self.source, self.backup, self.run_, self.options = service, source, backup, run, options
        self.unfilled, self.resumed = unfilled, resumed
        self.rules = service.rules + (UNFILLED,) * len(unfilled)
        self.source_records = 0
        self.backup_records = 0
        self.skipped = 0
        self.rejected = 0
        self.written_before = run.inserted + run.updated  # by earlier attempts of this run
        self.inserts: list[Key] = []
        self.updates: list[Key] = []
        self.deletes = KeySpool()
        self.ahead = KeySpool()
        self.progress = Progress(run)

    def run(self, cut: Cut | None) -> None:
        """``cut``: everything, cut by the source. None: the backup is empty, so there is nothing to compare."""
        try:
            if cut is None:
                self.progress.total = self.source.count()
                self._copy_all(None)
            else:
                self._visit(cut)
                self._copy_pending()
            self._set_back()
            if self.unfilled and not self.options.dry_run:
                self.backup.filled(self.unfilled)
            self._delete()
        finally:
            self.deletes.close()
            self.ahead.close()
            self._book()

    # comparing

    def _visit(self, cut: Cut, depth: int = 1) -> None:
        """Compare a range of any size. ``depth``: how many times over it has been cut."""
        for part in cut.parts():
            self._visit_part(part, len(cut) / len(part), depth)

    def _visit_part(self, cut: Cut, parts: float, depth: int) -> None:
        """``parts``: how many like this one there are, about; ``depth``: as for a visit."""
        source, backup = both(lambda: self.source.digests(cut), lambda: self.backup.digests(cut))
        point("after digest")
        if source is None or backup is None:
            for piece in range(len(cut)):
                self._compare(cut.select([piece]))
            return
        if self.progress.total is None:
            self.progress.total = round(parts * sum(digest[0] for digest in source.values()))
        self._drill(cut, source, backup, depth)

    def _drill(self, cut: Cut, source: Any, backup: Any, depth: int) -> None:
        """Sort the pieces of a cut by their digests: done, copy, delete, compare, or cut again."""
        pieces = sorted(source.keys() | backup.keys())
        differing = pieces if self.options.force else [n for n in pieces if source.get(n) != backup.get(n)]
        if 2 * len(differing) > len(pieces):
            differing = pieces  # one long range reads faster than many gaps
        else:
            same = set(pieces).difference(differing)
            self._same(sum(source[n][0] for n in same))
        for kind, group in groups(differing, source, backup, most=RANGE_RECORDS, gaps=cut.gaps):
            if kind == "copy":
                self._copy_all(cut.select(group))
            elif kind == "delete":
                for batch in self._keys_of(self.backup, cut.select(group)):
                    self.backup_records += len(batch)
                    self.deletes.extend(batch)
            elif kind == "compare" or depth >= MOST_CUTS:
                self._compare(cut.select(group))
            else:
                larger = self.source if count(source, group[0]) >= count(backup, group[0]) else self.backup
                self._visit(larger.cut(cut.select(group), RANGE_RECORDS), depth + 1)

    def _same(self, records: int) -> None:
        self.source_records += records
        self.backup_records += records
        self.skipped += records
        self.progress.advance(records)

    def _compare(self, within: Any) -> None:
        """Compare a range record by record, and write what changed."""
        options = self.options
        written: Set[Key] = frozenset()
        if options.force and self.resumed:
            written = self.backup.written_since(within, self.run_.started_at)
        for joined in join(self.source, self.backup, within, most=MOST_PAIRS, force=options.force):
            seen = joined.same + len(joined.source)
            self.source_records += seen
            self.backup_records += joined.same + len(joined.backup)
            changes = self._changes(joined, written)
            changes.skipped += joined.same
            self.skipped += changes.skipped
            self.progress.advance(changes.skipped)
            self.run_.ahead += len(changes.ahead)
            self.ahead.extend(changes.ahead)
            self.deletes.extend(changes.deletes)
            readable = within if joined.whole else None
            del joined  # the pairs, before the records come
            self._change(readable, changes, seen)

    def _changes(self, joined: Joined, written: Set[Key]) -> Changes:
        """``written``: keys that an earlier attempt of a forced run wrote, which need not be written again."""
        done = joined.source & joined.backup
        if self.options.force:
            done = {pair for pair in done if self.backup.split(pair)[0] in written} if written else set()
        changes = diff(
            dict(map(self.source.split, joined.source - done)),
            dict(map(self.source.split, joined.backup - done)),
            self.rules,
            force=self.options.force,
        )
        changes.skipped += len(done)
        return changes

    @staticmethod
    def _keys_of(store: Store, within: Any) -> Iterator[list[Key]]:
        for bundles in store.pairs(within):
            yield [store.split(pair)[0] for pair in store.unpacked(set(bundles))]

    # writing

    def _copy_all(self, within: Any) -> None:
        """Write all records of a range (None: everything), of which the backup has none."""
        if self.options.dry_run:
            found = self.source.count() if within is None else sum(map(len, self._keys_of(self.source, within)))
            self.source_records += found
            self.run_.inserted += found
            return
        pulled = self.backup.pull(self.source, within)
        written = self._apply(self.source.records(within), frozenset()) if pulled is None else self._pulled(pulled)
        for applied in written:
            self.source_records += applied.inserted + applied.updated + applied.rejected

    def _pulled(self, pulled: Generator[Applied, None, None]) -> Iterator[Applied]:
        with closing(pulled):  # a run that stops here must not leave the store in the middle of it
            for applied in pulled:
                yield self._wrote(applied)

    def _change(self, within: Any, changes: Changes, seen: int) -> None:
        """Write what changed in a range of ``seen`` records: now where it is much of it, or later together with others.

        Without a range it is a part of one that cannot be read by itself, so that only keys can be asked for.
        """
        changed = len(changes.inserts) + len(changes.updates)
        if self.options.dry_run:
            self.run_.inserted += len(changes.inserts)
            self.run_.updated += len(changes.updates)
        elif within is not None and changed and changed >= self.source.dense * seen:
            updates = set(changes.updates)
            wanted = updates.union(changes.inserts)
            for _ in self._apply(self._chosen(self.source.records(within), wanted), updates):
                pass
        else:
            self.inserts += changes.inserts
            self.updates += changes.updates
            if len(self.inserts) + len(self.updates) >= PENDING_KEYS:
                self._copy_pending()

    def _copy_pending(self) -> None:
        inserts, updates, self.inserts, self.updates = self.inserts, self.updates, [], []
        if inserts or updates:
            for _ in self._apply(self.source.records_of([*inserts, *updates]), set(updates)):
                pass

    def _chosen(self, found: Iterator[list[Record]], wanted: Set[Key]) -> Iterator[list[Record]]:
        for records in found:
            chosen = [record for record in records if self.source.key_of(record) in wanted]
            if chosen:
                yield chosen

    def _apply(self, found: Iterator[list[Record]], updates: Set[Key]) -> Iterator[Applied]:
        """Write batches of records while the next ones are read. ``updates``: the keys that the backup has already."""
        reading = read_ahead(found)
        try:
            for records in reading:
                inserting, updating = self._sort(records, updates)
                point("before apply")
                yield self._wrote(self.backup.apply(inserting, updating))
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
        self.run_.inserted += applied.inserted
        self.run_.updated += applied.updated
        self.run_.deleted += applied.deleted
        self.rejected += applied.rejected
        self.progress.advance(applied.inserted + applied.updated)
        point("after write")
        return applied

    def _set_back(self) -> None:
        """Write the records that are newer in the backup: a few were deleted and made again, many are an accident."""
        guard, found = self.service.guard, len(self.ahead)
        if not found:
            return
        log.warning("%s: %d records of the backup are newer than the source's", self.service.name, found)
        point("before guard")
        try:
            check_set_back(self.service.name, found, self.backup_records, share=guard.share, count=guard.count)
        except Exception:
            self.skipped += found
            self.run_.withheld = len(self.deletes)
            raise
        if self.options.dry_run:
            self.run_.updated += found
            return
        for keys in self.ahead.batches(PENDING_KEYS):
            self.updates = keys
            self._copy_pending()

    def _delete(self) -> None:
        """Guard the deletes as a whole, then write them, each batch re-checked against the source."""
        found = len(self.deletes)
        guard, allow = self.service.guard, self.options.allow_mass_delete
        point("before guard")
        try:
            check_deletes(
                self.service.name,
                found,
                self.source_records,
                self.backup_records,
                share=guard.share,
                count=guard.count,
                allow=allow,
            )
        except Exception:
            self.run_.withheld = found
            raise
        if found and not allow and self.source.empty():
            # Emptied while we were reading it: the diff saw records that are no longer there to be checked.
            self.run_.withheld = found
            check_deletes(self.service.name, found, 0, self.backup_records, share=0, count=0, allow=False)
        for keys in self.deletes.batches(DELETE_BATCH):
            returned = self.source.present(keys)
            gone = [key for key in keys if key not in returned]
            if self.options.dry_run:
                self.run_.deleted += len(gone)
            elif gone:
                point("before delete")
                self._wrote(self.backup.delete(gone))

    def _book(self) -> None:
        """Counts that are known only for the attempt as a whole."""
        self.run_.rejected = self.rejected + self.source.rejected
        # What an earlier attempt wrote looks the same now; it is counted as written, so not as skipped as well.
        self.run_.skipped = max(0, self.skipped - self.written_before)
        usages = (self.source.usage, self.backup.usage)
        self.run_.request_charge = round(sum(usage.request_charge for usage in usages), 2)
        self.run_.throttled = sum(usage.throttled for usage in usages)

"""Bring a backup in step with its source.

A sync finds out everything first (``find.py``), lets the guard judge all of it together (``guard.py``), and only then
writes (``apply.py``). Nothing is written to a backup that is not this service's copy of this source (``pairing.py``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from backup_sync.model.diff import UNFILLED, WHOLE, Key
from backup_sync.model.errors import UpdatesWithheld
from backup_sync.model.faults import point
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.result import IN_PROGRESS, SyncResult
from backup_sync.model.service import Service
from backup_sync.stores.base import Cut, Reader, Store
from backup_sync.walk import drill, guard, hold, pairing, points, verify, withheld
from backup_sync.walk import stop as stopping
from backup_sync.walk.apply import Applier
from backup_sync.walk.find import Finder, Found
from backup_sync.walk.pipeline import both
from backup_sync.walk.plan import Plan
from backup_sync.walk.progress import Heard, Progress
from backup_sync.walk.target import Target, take
from backup_sync.walk.withheld import Withheld

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options a run was started with.

    ``force``: rewrite every record. ``dry_run``: count what would be done, and write nothing. ``allow_deletes``: let so
    many deletes through, though they look like an accident. ``content``: compare whole records and not their stamps alone,
    so that drift is mended. ``approved_by``: who allowed those deletes in this run; it writes nothing if another run has begun meanwhile.
    """

    force: bool = False
    dry_run: bool = False
    allow_deletes: int | None = None
    content: bool = False
    approved_by: str | None = None

    def words(self) -> str:
        """What is special about the run; empty for a nightly one."""
        by = f" (approved by {self.approved_by})" if self.approved_by is not None else ""
        deletes = "" if self.allow_deletes is None else f"allowed {self.allow_deletes} deletes{by}"
        return ", ".join(
            filter(None, ["planned" * self.dry_run, "forced" * self.force, "repaired" * self.content, deletes])
        )


def sync(
    service: Service,
    source: Store,
    backup: Store,
    result: SyncResult,
    options: Options,
    *,
    stop: threading.Event | None = None,
    heard: Heard | None = None,
) -> None:
    """Bring the backup in step with the source; ``result`` is filled in as the work goes on.

    On return ``result`` is Completed. On an exception it holds what had been done until then (counts of what was
    committed, deletes withheld) and the caller decides what becomes of it. A dry run takes no lock and writes
    nothing, not even history. Once ``stop`` is set nothing more is written, and Stopped is raised. Held is raised where
    the backup is held; a dry run may look at it all the same. ``heard``: is told every few seconds how far it is.
    """
    result.status, result.dry_run, result.mode = IN_PROGRESS, options.dry_run, options.words()
    over = threading.Event()

    def check() -> None:
        stopping.check(stop, service.name)
        stopping.check(over, service.name)

    def look() -> tuple[bool, Mapping[str, Any]]:
        states = pairing.states_of(backup)
        if not options.dry_run:
            hold.check(service, states)
        elif found := hold.of(states):
            result.note(f"the backup is {found.words()}")
        return backup.catalog.exists(), states

    def describe() -> Any:
        shape = source.catalog.describe()
        source.catalog.identity()  # asked for now, and remembered for when the other thread wants it
        return shape

    # The backup first: if it is held, the source may be in any state.
    (exists, before), shape = both(look, describe)
    content = options.content or service.by_content
    if not exists:
        _without_backup(source, backup, result, options, shape, before)
        return
    reader = source.reader(shape, content=content)
    with ExitStack() as held:
        try:
            first, target = both(
                lambda: reader.cut(None, source.limits.range_records),
                lambda: take(
                    source,
                    backup,
                    result,
                    shape,
                    before,
                    dry_run=options.dry_run,
                    force=options.force,
                    content=content,
                    newest=options.approved_by is not None,
                    held=held,
                    over=over,
                    check=check,
                ),
            )
        except BaseException:
            over.set()
            raise
        first = target.reader.readable(first)
        point("after cut")
        if target.unfilled:
            reader = source.reader(shape, compare_also=target.unfilled, content=content)
        with closing(_Sync(service, source, reader, backup, target, result, options, content, check, heard)) as run:
            run.run(first)
        if not options.dry_run:
            pairing.where_used(backup, before, result.run_number)
            result.note(drill.overdue(service, before))
            _verify(source, backup, shape, result, check, heard, content=content, loaded=target.empty)
        if target.keeping is not None:
            keeping = points.end(backup, target.keeping, empty=not run.plan.source_records and target.reader.empty())
            points.prune(backup, result, keeping, mended=content)
        if target.check_lock is not None:
            target.check_lock()
    result.complete()


def _verify(
    source: Store,
    backup: Store,
    shape: Any,
    result: SyncResult,
    check: Callable[[], None],
    heard: Heard | None,
    *,
    content: bool,
    loaded: bool,
) -> None:
    """Compare a share of the whole content; or, where the run itself did (``content``), remember that all of it is right.
    ``loaded``: the run copied everything and compared nothing."""
    if content:
        if not loaded:
            verify.mended(backup, result)
    elif backup.service.verify_of:
        verify.check_share(
            source,
            backup,
            shape,
            result,
            of=backup.service.verify_of,
            number=result.run_number,
            check=check,
            heard=heard,
        )


def _without_backup(
    source: Store, backup: Store, result: SyncResult, options: Options, shape: Any, states: Mapping[str, Any]
) -> None:
    """A dry run counts what a first load would copy; any other run raises what is missing."""
    if not options.dry_run:
        backup.catalog.check_fit(shape)
    pairing.check(source, backup, states)
    result.inserted = source.reader(shape).count()
    result.complete()


class _Sync:
    """One run over one pair of stores."""

    def __init__(
        self,
        service: Service,
        source: Store,
        reader: Reader,
        backup: Store,
        target: Target,
        result: SyncResult,
        options: Options,
        content: bool,
        check: Callable[[], None],
        heard: Heard | None,
    ) -> None:
        self.service, self.source, self.reader = service, source, reader
        self.backup, self.target, self.result, self.options = backup, target, result, options
        self.known = target.withheld
        self.written_before = result.inserted + result.updated  # by earlier attempts of this run
        self.updated_before, self.deleted_before = result.updated, result.deleted
        self.source_rejected_before = 0  # in a load, whose comparison meets them again
        self.progress = Progress(result, heard=heard)
        self.finder = Finder(
            reader,
            target.reader,
            service.rules + (WHOLE,) * content + (UNFILLED,) * len(target.unfilled),
            force=options.force,
            written=self._written,
            progress=self.progress,
            check=check,
            limits=source.limits,
        )
        self.applier = Applier(
            reader,
            target.writer,
            result,
            labels=(source.label, backup.label),
            progress=self.progress,
            check=check,
            limits=source.limits,
        )
        self.plan = Plan(reader.reread_share)

    def close(self) -> None:
        self.plan.close()

    def _written(self, within: Any) -> Set[Key]:
        """Keys of a range that an earlier attempt of this run wrote, as far as the backup can tell."""
        since = self.target.writer.written_since
        return since(within, self.result.started_at) if self.target.resumed and since else frozenset()

    def run(self, cut: Cut) -> None:
        """``cut``: everything, cut by the source."""
        try:
            if self.target.empty:
                self._load(cut)
            else:
                self._gather(self.plan, self.finder.find(cut))
                self._judge_and_write()
        finally:
            self._book()

    def _gather(self, plan: Plan, found: Iterator[Found]) -> None:
        for one in found:
            plan.add(one)
            if one.changes is not None:
                self.progress.advance(one.changes.skipped)

    # a first load

    def _load(self, cut: Cut) -> None:
        if self.source.check_fields:
            self.source.check_fields(matched=False)
        self.progress.total = total = self.reader.count()
        if self.options.dry_run:
            self.result.inserted = self.plan.source_records = total
            return
        read = self.applier.copy_all(_ranges(cut, total, self.source.limits.range_records))
        self.plan.source_records = read - self.reader.rejected
        self._check_rejected()
        if read < total:
            # Deleted meanwhile, or left out: a comparison finds what is missing.
            log.info("%s: read %d of %d records that there were; comparing", self.service.name, read, total)
            self.plan.source_records = 0
            self.applier.rejected, self.source_rejected_before = 0, self.reader.rejected
            self.written_before = self.result.inserted + self.result.updated
            self._gather(self.plan, self.finder.find(cut))
            self._judge_and_write()
        else:
            self._mark_filled()
            if self.known:
                self.backup.journal.keep_state(withheld.STATE, None)  # it was of a copy that is no more

    # any other run

    def _judge_and_write(self) -> None:
        """Let the guard judge all that was found, write what it lets through, and raise what it does not."""
        plan, result, options = self.plan, self.result, self.options
        found = self._findings(self.known)
        result.ahead = found.ahead
        if found.ahead:
            log.warning("%s: %d records of the backup are newer than the source's", self.service.name, found.ahead)
        changed = found.updates + self.updated_before
        if guard.many_updates(changed, found.target) and not options.force:
            result.note(f"{changed} of the backup's {found.target} records changed at once")
        point("before guard")
        judge = partial(
            guard.judge, self.service.name, self.service.guard.limits, found, force=options.force, dag=result.sync_dag
        )
        verdict = judge(allow_deletes=self._deletes_left())
        if verdict.problem is not None:
            result.withheld = found.deletes
            if found.deletes and judge(allow_deletes=found.deletes).problem is None:
                result.question = withheld.question(plan.deletes.part(0, withheld.SAMPLES), found.deletes, found.target)
            plan.skipped += found.ahead
            if not isinstance(verdict.problem, UpdatesWithheld):
                self._remember()
        if options.dry_run:
            if verdict.writes:
                result.inserted, result.updated = plan.inserts, plan.updates
        elif verdict.writes:
            self._write()
        if not verdict.writes:
            plan.skipped += plan.inserts + plan.updates
        self._check_rejected()
        if verdict.problem is not None:
            raise verdict.problem
        if options.dry_run:
            if self.target.unfilled:
                result.note(f"{plan.filled} of the updates fill in {', '.join(self.target.unfilled)}")
            result.updated += found.ahead
            result.deleted = sum(map(len, self.applier.gone(plan.deletes)))
            return
        self.applier.set_back(plan.ahead)
        self._mark_filled()
        self._delete()
        if self.known:
            self.backup.journal.keep_state(withheld.STATE, None)

    def _mark_filled(self) -> None:
        """Every record of the backup has by now the fields that it was given."""
        if self.target.unfilled and self.backup.unfilled:
            self.backup.unfilled.mark_filled(self.target.unfilled, self.result.run_number)

    def _write(self) -> None:
        """The inserts and updates of the plan. Ranges of which fewer records came than the source was seen to hold are
        compared, which finds what is missing; what else differs there is the next run's affair."""
        short = self.applier.changes(self.plan)
        if not short:
            return
        log.info("%s: comparing %d ranges of which fewer records came than there were", self.service.name, len(short))
        with closing(Plan(self.reader.reread_share)) as again:
            for within in short:
                self._gather(again, self.finder.compare(within))
            self.applier.changes(again)

    def _findings(self, known: Withheld) -> guard.Findings:
        plan = self.plan
        return guard.Findings(
            source=plan.source_records + self._source_rejected(),
            target=plan.target_records,
            inserts=plan.inserts,
            updates=plan.updates - plan.filled,
            ahead=len(plan.ahead),
            deletes=len(plan.deletes),
            held=withheld.known(plan.deletes, known.deletes),
            held_ahead=withheld.known(plan.ahead, known.ahead),
            since=known.since,
        )

    def _deletes_left(self) -> int | None:
        """What is left of the allowance: a retry, or clearing the run later, has no more than its first attempt had."""
        allowed = self.options.allow_deletes
        return None if allowed is None else max(0, allowed - self.deleted_before)

    def _remember(self) -> None:
        """Keep what is withheld now, so that no later run lets it through unasked."""
        plan = self.plan
        if self.options.dry_run or not (len(plan.deletes) or len(plan.ahead)):
            return
        since = self.known.since or f"run {self.result.run_id} of {iso(utc_now().replace(microsecond=0))}"
        now = Withheld(since, withheld.sketch(plan.deletes), withheld.sketch(plan.ahead))
        self.backup.journal.keep_state(withheld.STATE, now.to_value())

    def _delete(self) -> None:
        found = len(self.plan.deletes)
        if found and self.reader.empty():
            # Emptied while we were reading it: the comparison saw records that are no longer there to be checked.
            self.result.withheld = found
            self._remember()
            empty = guard.Findings(source=0, target=self.plan.target_records, deletes=found)
            limits = self.service.guard.limits
            verdict = guard.judge(
                self.service.name, limits, empty, allow_deletes=None, force=False, dag=self.result.sync_dag
            )
            assert verdict.problem is not None
            raise verdict.problem
        self.applier.delete(self.plan.deletes)

    def _check_rejected(self) -> None:
        read = self.plan.source_records + self._source_rejected()
        guard.check_rejected(self.service.name, read, self._rejected(), self.service.rejects.limits)

    def _source_rejected(self) -> int:
        return self.reader.rejected - self.source_rejected_before

    def _rejected(self) -> int:
        return self.applier.rejected + self._source_rejected()

    def _book(self) -> None:
        """Counts that are known only for the attempt as a whole."""
        result = self.result
        result.rejected = self._rejected()
        # What an earlier attempt wrote looks the same now; it is counted as written, so not as skipped as well.
        result.skipped = max(0, self.plan.skipped - self.written_before)
        usages = (self.source.usage(), self.backup.usage())
        result.request_charge = round(sum(usage.request_charge for usage in usages), 2)
        result.throttled = sum(usage.throttled for usage in usages)


def _ranges(cut: Cut, records: int, most: int) -> Iterator[Any]:
    """A cut of so many records in all, as ranges of some ``most`` each, as far as pieces can be told apart.

    One statement over the whole of an operational table would hold its locks (on SQL Server, that of its schema) for as
    long as the load takes.
    """
    pieces = len(cut)
    step = max(1, pieces * most // max(records, 1))
    for start in range(0, pieces, step):
        yield cut.select(range(start, min(start + step, pieces)))

"""Bring a backup in step with its source.

A sync finds out everything first (``find.py``), lets the guard judge all of it together (``guard.py``), and only then
writes (``apply.py``). Nothing is written to a backup that is not this service's copy of this source (``pairing.py``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from backup_sync.model.diff import UNFILLED, Key
from backup_sync.model.errors import ConfigurationError, UpdatesWithheld
from backup_sync.model.faults import point
from backup_sync.model.result import IN_PROGRESS, PAIRING_CHECKED, SyncResult, iso, utc_now
from backup_sync.model.service import Service
from backup_sync.stores.base import Cut, Store
from backup_sync.walk import find, guard, hold, pairing, withheld
from backup_sync.walk import stop as stopping
from backup_sync.walk.apply import Applier
from backup_sync.walk.find import Finder, Plan
from backup_sync.walk.pipeline import both
from backup_sync.walk.progress import Progress
from backup_sync.walk.withheld import Withheld

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the one who started the run asked for. ``allow_deletes``: so many deletes, though they look like an accident."""

    force: bool = False
    dry_run: bool = False
    allow_deletes: int | None = None

    def words(self) -> str:
        """What is special about the run; empty for one of every night."""
        deletes = "" if self.allow_deletes is None else f"allowed {self.allow_deletes} deletes"
        return ", ".join(filter(None, ["planned" * self.dry_run, "forced" * self.force, deletes]))


def sync(
    service: Service,
    source: Store,
    backup: Store,
    run: SyncResult,
    options: Options,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Bring the backup in step with the source; ``run`` is filled in as the work goes on.

    On return ``run`` is Completed. On an exception it holds what had been done until then (counts of what was
    committed, deletes withheld) and the caller decides what becomes of it. A dry run takes no lock and writes
    nothing, not even history. Once ``stop`` is set nothing more is written, and Stopped is raised. Held is raised where
    the backup is held; a dry run may look at it all the same.
    """
    run.status, run.dry_run, run.mode = IN_PROGRESS, options.dry_run, options.words()
    over = threading.Event()

    def check() -> None:
        stopping.check(stop, service.name)
        stopping.check(over, service.name)

    def look() -> tuple[bool, Mapping[str, Any]]:
        states = pairing.states_of(backup)
        if not options.dry_run:
            hold.check(service, states)
        elif found := hold.of(states):
            run.note(f"the backup is {found.words()}")
        return backup.exists(), states

    def describe() -> Any:
        shape = source.describe()
        source.identity()  # asked for now, and remembered for when the other thread wants it
        return shape

    # The backup first: if it is held, the source may be in any state.
    (exists, before), shape = both(look, describe)
    source.open(shape)
    with ExitStack() as held:

        def cut() -> Cut:
            return source.cut(None, find.RANGE_RECORDS)

        def take() -> tuple[bool, Sequence[str], bool, Withheld]:
            states = before
            pairing.check(source, backup, states)
            backup.open(shape, planned=options.dry_run)
            resumed = False
            if not options.dry_run:
                check()
                if pairing.STATE not in states:
                    raise ConfigurationError(
                        f"{backup.label}: the backup of {service.name} is not paired with its source yet; run the DAG "
                        "backup_initialize first"
                    )
                held.enter_context(backup.lock(run, service.lock_wait_seconds))
                if over.is_set():
                    held.close()  # nobody waits for this thread any more, nor gives the lock back
                check()
                # Read again: while this run waited, another one may have paired it anew or withheld something, and a hold may be set.
                states = backup.journal.states()
                hold.check(service, states)
                if pairing.check(source, backup, states):
                    pairing.write(source, backup, states)
                run.pairing = PAIRING_CHECKED
                if pairing.accepted_by(run.run_id, states):
                    run.mode = ", ".join(filter(None, [run.mode, "accepted another source"]))
                resumed = backup.journal.begin(run)
            return backup.empty(), backup.unfilled(), resumed, Withheld.from_value(states.get(withheld.STATE))

        if exists:
            try:
                first, (empty, unfilled, resumed, known) = both(cut, take)
            except BaseException:
                over.set()
                raise
            first = backup.readable(first)
            point("after cut")
            source.watch(unfilled)
            backup.watch(unfilled)
            _Sync(service, source, backup, run, options, unfilled, resumed, known, check).run(first, empty=empty)
            if not options.dry_run:
                backup.check_lock()
        elif options.dry_run:
            pairing.check(source, backup, before)
            run.inserted = source.count()
        else:
            backup.open(shape)  # says what is missing
    run.complete()


class _Sync:
    """One run over one pair of stores."""

    def __init__(
        self,
        service: Service,
        source: Store,
        backup: Store,
        run: SyncResult,
        options: Options,
        unfilled: Sequence[str],
        resumed: bool,
        known: Withheld,
        check: Callable[[], None],
    ) -> None:
        self.service, self.source, self.backup, self.result, self.options = service, source, backup, run, options
        self.unfilled, self.known = unfilled, known
        self.written_before = run.inserted + run.updated  # by earlier attempts of this run
        self.updated_before, self.deleted_before = run.updated, run.deleted
        self.source_rejected_before = 0  # in a load, whose comparison meets them again
        self.progress = Progress(run)

        def written(within: Any) -> Set[Key]:
            return backup.written_since(within, run.started_at) if resumed else frozenset()

        rules = service.rules + (UNFILLED,) * len(unfilled)
        self._finder = partial(
            Finder, source, backup, rules, force=options.force, written=written, progress=self.progress, check=check
        )
        self.finder = self._finder()
        self.applier = Applier(source, backup, run, progress=self.progress, check=check)

    @property
    def plan(self) -> Plan:
        return self.finder.plan

    def run(self, cut: Cut, *, empty: bool) -> None:
        """``cut``: everything, cut by the source. ``empty``: the backup is, so that there is nothing to compare."""
        try:
            if empty:
                self._load(cut)
            else:
                self.finder.find(cut)
                self._judge_and_write()
        finally:
            self._book()
            self.finder.close()

    # a first load

    def _load(self, cut: Cut) -> None:
        self.source.check_fields(matched=False)
        self.progress.total = total = self.source.count()
        if self.options.dry_run:
            self.result.inserted = self.plan.source_records = total
            return
        read = self.applier.copy_all(_ranges(cut, total))
        self.plan.source_records = read - self.source.rejected
        self._check_rejected()
        if read < total:
            # Deleted meanwhile, or left out: a comparison tells, and finds what is missing.
            log.info("%s: read %d of %d records that there were; comparing", self.service.name, read, total)
            self.plan.source_records = 0
            self.applier.rejected, self.source_rejected_before = 0, self.source.rejected
            self.written_before = self.result.inserted + self.result.updated
            self.finder.find(cut)
            self._judge_and_write()
        elif self.known:
            self.backup.journal.keep_state(withheld.STATE, None)  # it was of a copy that is no more

    # any other run

    def _judge_and_write(self) -> None:
        """Let the guard judge all that was found, write what it lets through, and raise what it does not."""
        plan, run, options = self.plan, self.result, self.options
        found = self._findings(self.known)
        run.ahead = found.ahead
        if found.ahead:
            log.warning("%s: %d records of the backup are newer than the source's", self.service.name, found.ahead)
        changed = found.updates + self.updated_before
        if guard.many_updates(changed, found.backup) and not options.force:
            run.note(f"{changed} of the backup's {found.backup} records changed at once")
        point("before guard")
        verdict = guard.judge(
            self.service.name,
            self.service.guard.limits,
            found,
            allow_deletes=self._deletes_left(),
            force=options.force,
        )
        if verdict.problem is not None:
            run.withheld = found.deletes
            plan.skipped += found.ahead
            if not isinstance(verdict.problem, UpdatesWithheld):
                self._remember()
        if options.dry_run:
            if verdict.writes:
                run.inserted, run.updated = plan.inserts, plan.updates
        elif verdict.writes:
            self._write()
        if not verdict.writes:
            plan.skipped += plan.inserts + plan.updates
        self._check_rejected()
        if verdict.problem is not None:
            raise verdict.problem
        if options.dry_run:
            if self.unfilled:
                run.note(f"{plan.filled} of the updates fill in {', '.join(self.unfilled)}")
            run.updated += found.ahead
            run.deleted = sum(map(len, self.applier.gone(plan.deletes)))
            return
        self.applier.set_back(plan.ahead)
        if self.unfilled:
            self.backup.filled(self.unfilled)
        self._delete()
        if self.known:
            self.backup.journal.keep_state(withheld.STATE, None)

    def _write(self) -> None:
        """The inserts and updates of the plan. Ranges of which fewer records came than the source was seen to hold are
        compared, which finds what is missing; what else differs there is the next run's affair."""
        short = self.applier.changes(self.plan)
        if not short:
            return
        log.info("%s: comparing %d ranges of which fewer records came than there were", self.service.name, len(short))
        with closing(self._finder()) as again:
            for within in short:
                again.compare(within)
            self.applier.changes(again.plan)

    def _findings(self, known: Withheld) -> guard.Findings:
        plan = self.plan
        return guard.Findings(
            source=plan.source_records + self._source_rejected(),
            backup=plan.backup_records,
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
        if found and self.source.empty():
            # Emptied while we were reading it: the comparison saw records that are no longer there to be checked.
            self.result.withheld = found
            self._remember()
            empty = guard.Findings(source=0, backup=self.plan.backup_records, deletes=found)
            limits = self.service.guard.limits
            verdict = guard.judge(self.service.name, limits, empty, allow_deletes=None, force=False)
            assert verdict.problem is not None
            raise verdict.problem
        self.applier.delete(self.plan.deletes)

    def _check_rejected(self) -> None:
        read = self.plan.source_records + self._source_rejected()
        guard.check_rejected(self.service.name, read, self._rejected(), self.service.rejects.limits)

    def _source_rejected(self) -> int:
        return self.source.rejected - self.source_rejected_before

    def _rejected(self) -> int:
        return self.applier.rejected + self._source_rejected()

    def _book(self) -> None:
        """Counts that are known only for the attempt as a whole."""
        run = self.result
        run.rejected = self._rejected()
        # What an earlier attempt wrote looks the same now; it is counted as written, so not as skipped as well.
        run.skipped = max(0, self.plan.skipped - self.written_before)
        usages = (self.source.usage, self.backup.usage)
        run.request_charge = round(sum(usage.request_charge for usage in usages), 2)
        run.throttled = sum(usage.throttled for usage in usages)


def _ranges(cut: Cut, records: int) -> Iterator[Any]:
    """A cut of so many records in all, as ranges of some ``RANGE_RECORDS`` each, as far as pieces can be told.

    One statement over the whole of an operational table would hold its locks (on SQL Server, that of its schema) for as
    long as the load takes.
    """
    pieces = len(cut)
    step = max(1, pieces * find.RANGE_RECORDS // max(records, 1))
    for start in range(0, pieces, step):
        yield cut.select(range(start, min(start + step, pieces)))

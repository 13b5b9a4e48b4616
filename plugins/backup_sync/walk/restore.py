"""Bring records back: from a backup, as it is or as it was at the end of a run, into its source or anywhere else.

A *plan* says what would be written; a person approves it, and only that is written. What the target holds of those records
goes into the *restore log* in the backup first, so that a restore can be undone. In the end the copy takes over what was
restored into its source (it *settles*), so that the next sync finds nothing to do.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import FatalError, PlanChanged
from backup_sync.model.faults import point
from backup_sync.model.result import IN_PROGRESS, PAIRING_CHECKED, SyncResult
from backup_sync.model.wish import CHANGED, EXTRA, MISSING, Planned, Wish
from backup_sync.stores.base import Keep, Store, batches
from backup_sync.walk import pairing, points, seal, unfinished
from backup_sync.walk.planner import Planner, place_of, same_place
from backup_sync.walk.points import RESTORES
from backup_sync.walk.spool import KeySpool, private_file

REMEMBERED = 100
"""Restores that can be undone, at most."""


def plan(
    backup: Store, target: Store, result: SyncResult, wish: Wish, *, stop: threading.Event | None = None
) -> Planned:
    """What a restore would write. Writes nothing, takes no lock.

    Raises ConfigurationError for a state that cannot be rebuilt, and FatalError where the target cannot be written.
    """
    pairing.check_ours(backup)
    result.pairing = PAIRING_CHECKED
    with closing(Planner(backup, target, result, wish, stop)) as work:
        return work.plan()


def restore(
    source: Store,
    backup: Store,
    target: Store,
    result: SyncResult,
    wish: Wish,
    approved: str,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Do what the plan of this id says, and no more; ``result`` is filled in, recorded, and Completed on return.

    ``source``: the service's; where ``target`` is that place, the copy takes over what was restored. A retry carries on where an
    attempt was killed. Counts are those of the target. Raises PlanChanged, and has written nothing, where the plan would be
    another one by now.
    """
    states = pairing.check_ours(backup)
    result.pairing = PAIRING_CHECKED
    with backup.lock.hold(result, backup.service.lock_wait_seconds) as check_lock:
        states = backup.journal.states()
        undone = _sync_id(backup, wish.undo) if wish.undo is not None else ""
        mine = states.get(unfinished.STATE, {}).get("sync_id") == str(result.sync_id)
        unfinished.check(backup.service.name, states, but=str(result.sync_id) if mine else undone)
        if not mine and _was_finished(backup, states, result):
            return
        result.status = IN_PROGRESS
        result.run_number = points.number(backup, result, states)
        seal.void(backup, states, result.run_number)
        backup.journal.begin(result)
        result.mode = _mode(target, wish)
        if same_place(target, source) and source.catalog.exists():
            pairing.check_mask(source, backup, states)
            backup.catalog.check_fit(source.catalog.describe())  # or else the copy could not take it over in the end
        with closing(Planner(backup, target, result, wish, stop)) as planner:
            work = _Writing(planner)
            if not (mine and states[unfinished.STATE]["logged"]):
                work.write_log(approved)
            moved = work.write()
            wrong = work.count_wrong()  # before the copy, which may be what is wanted, takes over what came out
            if same_place(target, source):
                copy = backup.reader(backup.catalog.describe())
                keeping = points.begin(backup, result, states, empty=copy.empty(), force=True)
                settle(source, backup, result, keeping.entries if keeping else None, planner.check)
                point("after settle")
                if keeping:
                    points.end(backup, keeping, empty=copy.empty())
            if check_lock is not None:
                check_lock()
            result.inserted, result.updated, result.deleted = _counted(backup, result.run_number)
        if not (wrong or moved):
            result.complete()
            backup.journal.save(result)
        # Finished either way: it was written and settled, and trying again would come to the same.
        backup.journal.keep_state(unfinished.STATE, None)
        if wrong > moved:
            raise FatalError(
                f"{target.label}: {wrong - moved} restored records are not as they should be: the target changed what was "
                "written, or somebody else did; look at it, and plan again"
            )
        if moved:
            raise FatalError(
                f"{backup.service.name}: {moved} records changed in {target.label} after the plan and were left alone; plan again to "
                "restore them as well"
            )


def logged(backup: Store, number: int) -> Iterator[tuple[str, Key]]:
    """(``I``, ``U`` or ``D``, key) of what a restore does, as its log says; read at once, since a store does one thing at a time."""
    assert backup.log is not None
    with closing(private_file()) as file:
        entries = KeySpool(file, "entries")
        for some in batches(backup.log.entries(number), backup.limits.pending_keys):
            entries.extend((op, *key) for op, key in some)
        for op, *key in entries:
            yield op, tuple(key)


def _was_finished(backup: Store, states: Mapping[str, Any], result: SyncResult) -> bool:
    """Whether an earlier attempt did all of it, and could not say so; then ``result`` says it."""
    for run in backup.journal.newest(1_000):
        if (
            run["SyncId"] == str(result.sync_id)
            and run["Success"]
            and str(run["RunNumber"]) in states.get(RESTORES, {})
        ):
            result.run_number, result.mode = run["RunNumber"], run["Mode"]
            result.inserted, result.updated, result.deleted = _counted(backup, result.run_number)
            result.complete()
            return True
    return False


def _counted(backup: Store, number: int) -> tuple[int, int, int]:
    """Records that a restore inserted, updated and deleted, over all attempts."""
    assert backup.log is not None
    counts = Counter(op for op, _ in backup.log.entries(number))
    return counts["I"], counts["U"], counts["D"]


def _mode(target: Store, wish: Wish) -> str:
    what = f"undid restore {wish.undo}" if wish.undo is not None else "restored"
    when = f" as of {wish.number}" if wish.number is not None else ""
    return f"{what}{when} into {target.label}"


def _sync_id(backup: Store, number: int) -> str:
    """The SyncId of a run; empty where the history does not know it."""
    found = (run["SyncId"] for run in backup.journal.newest(1_000) if run["RunNumber"] == number)
    return str(next(found, ""))


class _Writing:
    """Does what was planned."""

    def __init__(self, plan: Planner) -> None:
        self.plan, self.wish, self.result, self.shape, self.log = plan, plan.wish, plan.result, plan.shape, plan.log
        self.backup, self.target, self.limits = plan.backup, plan.target, plan.backup.limits

    @property
    def _run(self) -> Keep:
        return Keep(self.result.run_number, str(self.result.sync_id))

    def write_log(self, approved: str) -> None:
        """Plan once more, and write down what the target holds of what is to be written. Raises PlanChanged."""
        planned, chosen = self.plan.find()
        if planned.id != approved:
            raise PlanChanged(
                f"{self.plan.service.name}: the plan {approved or '(none)'} is not what would be restored now ({planned.words()}, plan "
                f"{planned.id}); nothing was written. Look at the new plan and approve that"
            )
        self.plan.check_obstacles(planned)
        number = self.result.run_number
        self.log.create()
        self.log.begin(number)
        about = {"sync_id": str(self.result.sync_id), "run_id": self.result.run_id, "number": number}
        known = self.backup.journal.states().get(RESTORES, {})
        this = {"place": place_of(self.target), "left": sorted(self.plan.left)}
        self.backup.journal.keep_state(RESTORES, dict([*known.items(), (str(number), this)][-REMEMBERED:]))
        for rows in chosen.batches(self.limits.asked_keys):
            self.plan.check()
            point("before log")
            kinds = {row[1:]: row[0] for row in rows}
            absent = [key for key, kind in kinds.items() if kind == MISSING]
            self.log.add(self._run, self.shape, absent, [], [])
            there = [key for key, kind in kinds.items() if kind != MISSING]
            for records in self.plan.theirs.records_of(there) if there else ():
                found = [(kinds.get(self.plan.theirs.key_of(record)), record) for record in records]
                replaced, removed = ([record for kind, record in found if kind == one] for one in (CHANGED, EXTRA))
                self.log.add(self._run, self.shape, [], replaced, removed)
        # From here on the target is written, and what is written stands in the log.
        self.backup.journal.keep_state(unfinished.STATE, {**about, "logged": True})
        point("after log")

    def write(self) -> int:
        """Write what the log says; returns how many records were left alone, since somebody changed them meanwhile."""
        if not self.plan.there:
            self.target.catalog.create(self.shape)
            self.plan.there = True
        self._writer = self.target.writer(self.shape)
        moved = 0
        for deletes in (False, True):  # deletes last
            entries = ((op, key) for op, key in logged(self.backup, self.result.run_number) if (op == "D") == deletes)
            for some in batches(entries, self.limits.asked_keys):
                self.plan.check()
                point("before restore")
                moved += self._delete(dict(reversed(one) for one in some)) if deletes else self._put(some)
                point("after restore")
        return moved

    def _delete(self, entries: Mapping[Key, str]) -> int:
        theirs = self.plan.prints(self.plan.theirs, entries)
        before = self.plan.prints(self.log.reader(self.shape, self.result.run_number), entries)
        gone = [key for key in theirs if theirs[key] == before.get(key)]
        if self.wish.undo is None:
            gone = list(self.plan.own(gone))
        if gone:
            self._writer.delete(gone)
        return len(theirs) - len(gone)

    def _put(self, entries: Sequence[tuple[str, Key]]) -> int:
        operations = {key: op for op, key in entries}
        theirs = self.plan.prints(self.plan.theirs, operations)
        before = self.plan.prints(self.log.reader(self.shape, self.result.run_number), operations)
        moved = 0
        for records in self.plan.wanted.records_of(list(operations)):
            chosen = [record for record in records if self.plan.wanted.key_of(record) in operations]
            if self.wish.columns:
                chosen = self._merged(chosen)
            inserts, updates = list[Any](), list[Any]()
            for record in chosen:
                key = self.plan.wanted.key_of(record)
                now = theirs.get(key)
                if now == self.plan.wanted.print_of(record):
                    continue  # an earlier attempt wrote it
                if now != before.get(key):
                    moved += 1
                    continue
                (inserts if now is None else updates).append(record)
            if inserts or updates:
                applied = self._writer.apply(inserts, updates)
                moved += applied.rejected
        return moved

    def _merged(self, records: Sequence[Any]) -> list[Any]:
        wanted = {self.plan.wanted.key_of(record): record for record in records}
        return [
            self.plan.wanted.merged(wanted[key], record, self.wish.columns)
            for page in self.plan.theirs.records_of(list(wanted))
            for record in page
            if (key := self.plan.theirs.key_of(record)) in wanted
        ]

    def count_wrong(self) -> int:
        """How many of the records in the log are not what they should be by now."""
        if self.plan.into_nothing:
            return sum(map(len, self.plan.compared()))  # all of it, so that the databases can digest it
        wrong = 0
        for some in batches((key for _, key in logged(self.backup, self.result.run_number)), self.limits.asked_keys):
            self.plan.check()
            wrong += sum(self.plan.asked_for(kind, names) for _, kind, names, _ in self.plan.differing(some))
        return wrong


def settle(source: Store, backup: Store, result: SyncResult, keep: Keep | None, check: Callable[[], None]) -> None:
    """The copy takes over what was restored into its source, and what that replaces is kept as by any run."""
    assert backup.log is not None
    shape = source.catalog.describe()
    backup.catalog.check_fit(shape)
    reader, copy = source.reader(shape), backup.reader(shape)
    writer = backup.writer(shape, keep=keep, told=False)  # what it counts is what was written to the target
    for keys in batches((key for _, key in logged(backup, result.run_number)), backup.limits.asked_keys):
        check()
        point("before settle")
        there = copy.present(keys)
        found = set[Key]()
        for records in reader.records_of(keys):
            found.update(map(reader.key_of, records))
            new = [record for record in records if reader.key_of(record) not in there]
            old = [record for record in records if reader.key_of(record) in there]
            writer.apply(new, old)
        gone = [key for key in there if key not in found]
        still = reader.present(gone) if gone else set()
        if gone := [key for key in gone if key not in still]:
            writer.delete(gone)

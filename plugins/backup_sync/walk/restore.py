"""Bring records back: from a backup, as it is or as it was at the end of a run, into its source or anywhere else.

A *plan* says what would be written; a person approves it, and only that is written. What the target holds of those records
goes into the *restore log* in the backup first, so that a restore can be undone. In the end the copy takes over what was
restored into its source (it *settles*), so that the next sync finds nothing to do.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError, FatalError, PlanChanged
from backup_sync.model.faults import point
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.keep import Kept
from backup_sync.model.names import parse_table, without_case
from backup_sync.model.result import IN_PROGRESS, PAIRING_CHECKED, SyncResult
from backup_sync.model.verdicts import SAMPLES
from backup_sync.stores.base import Keep, Reader, Store, batches
from backup_sync.walk import pairing, points, seal, unfinished
from backup_sync.walk import stop as stopping
from backup_sync.walk.find import Finder, Found
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool, private_file

log = logging.getLogger(__name__)

MISSING, CHANGED, EXTRA = "missing", "changed", "extra"
"""What sets the target apart from what is to be restored: it lacks a record, has it otherwise, or has one more."""
KINDS = (MISSING, CHANGED, EXTRA)
OPERATION = {MISSING: "I", CHANGED: "U", EXTRA: "D"}

RESTORES = "restores"
"""The state that says where a restore wrote, by its number: whoever undoes it has to name the same place."""
REMEMBERED = 100


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be restored.

    ``number``: the state at the end of this run; None: as the backup is now. ``undo``: in place of that, what the target held
    before the restore of this number. ``keys``: only these, each as a person writes it. ``where``: only records with these
    values. ``columns``: only these columns (or outermost properties) of records that are there. ``only``: one of KINDS.
    ``delete``: remove records that the target has beyond that state. ``accept_obstacles``: write though triggers or foreign
    keys of the target may do more.
    """

    number: int | None = None
    undo: int | None = None
    keys: Sequence[Sequence[Any]] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = ()
    only: str | None = None
    delete: bool = False
    accept_obstacles: bool = False


@dataclass
class Planned:
    """``id``: changes with anything that would be written. ``counts``, ``keys``: of KINDS that would be written. ``staying``: records
    beyond that state that would stay. ``fields``: in how many records each column differs. ``notes``: what cannot be restored,
    and what would be made first."""

    id: str = ""
    number: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[list[Any]]] = field(default_factory=dict)
    staying: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, key: Key, names: Sequence[str]) -> None:
        self.counts[kind] += 1
        keys = self.keys.setdefault(kind, [])
        if len(keys) < SAMPLES:
            keys.append([part.hex() if isinstance(part, bytes) else part for part in key])
        self.fields.update(names)

    def to_value(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {"Plan": self.id, "AsOf": self.number, "Staying": self.staying, "Notes": self.notes}
        for kind in KINDS:
            found[kind.capitalize()] = {"Count": self.counts[kind], "Keys": self.keys.get(kind, [])}
        found["Fields"] = dict(self.fields.most_common())
        return found

    def words(self) -> str:
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        fields = ", ".join(f"{name} {count}" for name, count in self.fields.most_common(10))
        staying = f"; {self.staying} beyond it stay" if self.staying else ""
        return f"{counts}{f' ({fields})' if fields else ''}{staying}"


def plan(
    backup: Store, target: Store, result: SyncResult, wish: Wish, *, stop: threading.Event | None = None
) -> Planned:
    """What a restore would write. Writes nothing, takes no lock.

    Raises ConfigurationError for a state that cannot be rebuilt, and FatalError where the target cannot be written.
    """
    pairing.check_ours(backup)
    result.pairing = PAIRING_CHECKED
    with closing(_Restore(backup, target, result, wish, stop)) as work:
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
        with closing(_Restore(backup, target, result, wish, stop)) as work:
            if not (mine and states[unfinished.STATE]["logged"]):
                work.write_log(approved)
            moved = work.write()
            if same_place(target, source):
                copy = backup.reader(backup.catalog.describe())
                keeping = points.begin(backup, result, states, empty=copy.empty(), force=True)
                settle(source, backup, result, keeping.entries if keeping else None, work.check)
            work.check_written(moved)
            if check_lock is not None:
                check_lock()
            result.inserted, result.updated, result.deleted = _counted(backup, result.run_number)
        if not moved:
            result.complete()
            backup.journal.save(result)
        backup.journal.keep_state(unfinished.STATE, None)
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


class _Restore:
    """One restore. ``notes``: what cannot be restored, and what has to be made first, in words."""

    def __init__(
        self, backup: Store, target: Store, result: SyncResult, wish: Wish, stop: threading.Event | None
    ) -> None:
        assert backup.log is not None
        self.backup, self.target, self.result, self.wish = backup, target, result, wish
        self.service, self.limits, self.log = backup.service, backup.limits, backup.log
        self._stop = stop
        self._file = private_file()
        self._check_place()
        shape, self.notes = target.catalog.meet(backup.catalog.describe(), self._added_later())
        self.shape = shape
        self.there = target.catalog.exists()
        self.wanted = self._open_wanted(shape)
        self.wanted.check_names([*wish.columns, *wish.where])
        self.theirs = target.reader(shape, content=True, stamps=False)
        if not self.there:
            self.notes += target.catalog.create(shape, dry_run=True)

    def close(self) -> None:
        self._file.close()

    def check(self) -> None:
        stopping.check(self._stop, self.service.name)

    def _check_place(self) -> None:
        """Raise ConfigurationError where the target is the copy itself, or a restore is to be undone that wrote elsewhere, or was none."""
        if self.target.kind != self.backup.kind:
            raise ConfigurationError(
                f"{self.target.label} is {self.target.kind} and the backup of {self.service.name} is {self.backup.kind}: a restore "
                "needs two of one kind"
            )
        if same_place(self.target, self.backup):
            raise ConfigurationError(
                f"{self.target.label} leads to the backup of {self.service.name} itself; restore to its source, or to another table"
            )
        if self.wish.undo is None:
            return
        known = self.backup.journal.states().get(RESTORES, {})
        place = known.get(str(self.wish.undo))
        if place is None:
            raise ConfigurationError(f"{self.service.name}: run {self.wish.undo} is no restore that could be undone")
        if place != _place(self.target):
            raise ConfigurationError(
                f"{self.service.name}: restore {self.wish.undo} wrote to {' '.join(place)}; name that target to undo it"
            )

    def _added_later(self) -> set[str]:
        """Columns that the copy did not have yet at that point."""
        states = self.backup.journal.states()
        number = self.wish.number
        if number is None:
            return set()
        kept = Kept.from_value(states[KEPT]) if KEPT in states else None
        if kept is None or not kept.holds(number):
            raise ConfigurationError(
                f"{self.service.name}: the state at the end of run {number} cannot be rebuilt; list the restore points "
                "(backup_restore without a service)"
            )
        return {name for name, last in kept.added.items() if number <= last}

    def _open_wanted(self, shape: Any) -> Reader:
        """Reads the state that is to be restored."""
        if self.wish.undo is not None:
            return self.log.reader(shape, self.wish.undo)
        if self.wish.number is None:
            return self.backup.reader(shape, content=True, stamps=False)
        assert self.backup.undo is not None
        return self.backup.undo.reader(shape, self.wish.number, content=True, stamps=False)

    # finding out

    def plan(self) -> Planned:
        planned, _ = self._plan()
        if self.there and (planned.counts.total()):
            risky = [what for what in self.target.catalog.obstacles() if planned.counts[EXTRA] or "trigger" in what]
            if risky and not self.wish.accept_obstacles:
                raise FatalError(
                    f"{self.target.label}: the target has {' and '.join(risky)}, which may change more than the plan says; remove them, "
                    "or restore with accept_obstacles=true"
                )
            planned.notes += [f"{what} of the target may do more" for what in risky]
        return planned

    def _plan(self) -> tuple[Planned, KeySpool]:
        planned = Planned(number=self.wish.number, notes=list(self.notes))
        chosen = KeySpool(self._file, f"plan{id(planned)}")
        total = 0
        # All of them first: a store does one thing at a time.
        candidates = KeySpool(self._file, f"candidates{id(planned)}")
        for found in self._candidates():
            self.check()
            candidates.extend(found)
        for keys in candidates.batches(self.limits.asked_keys):
            self.check()
            rows = []
            for key, kind, names, mark in self._differing(keys):
                if not self._asked_for(kind, names):
                    continue
                if kind == EXTRA and not (self.wish.delete or self.wish.undo is not None):
                    planned.staying += 1
                    continue
                planned.add(kind, key, [name for name in names if not self.wish.columns or name in self.wish.columns])
                rows.append((kind, *key))
                total += mark
            chosen.extend(rows)
        told = repr((self.service.name, _place(self.target), self.wish, total % 2**256))
        # With a letter in front, so that nobody takes it for a number.
        planned.id = "p" + hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return planned, chosen

    def _asked_for(self, kind: str, names: Sequence[str]) -> bool:
        if self.wish.only and kind != self.wish.only:
            return False
        return not self.wish.columns or (kind == CHANGED and bool(set(names) & set(self.wish.columns)))

    def _candidates(self) -> Iterator[Sequence[Key]]:
        """Keys of records that may differ, in batches."""
        if self.wish.undo is not None:
            yield from batches((key for _, key in self.log.entries(self.wish.undo)), self.limits.pending_keys)
        elif self.wish.keys is not None:
            for some in batches(map(self.wanted.key_from, self.wish.keys), self.limits.asked_keys):
                found = {self.wanted.key_of(record): None for page in self.wanted.records_of(some) for record in page}
                if self.there:
                    found |= {
                        self.theirs.key_of(record): None for page in self.theirs.records_of(some) for record in page
                    }
                yield list(found)
        elif not self.there:
            for bundles in self.wanted.pairs(None):
                yield [self.wanted.codec.split(pair)[0] for pair in self.wanted.codec.open(set(bundles))]
        else:
            yield from self._compared()

    def _compared(self) -> Iterator[Sequence[Key]]:
        finder = Finder(
            self.wanted,
            self.theirs,
            ("different",),
            force=False,
            written=lambda _: frozenset(),
            progress=Progress(self.result),
            check=self.check,
            limits=self.limits,
        )
        cut = self.theirs.readable(self.wanted.readable(self.wanted.cut(None, self.limits.range_records)))
        for found in finder.find(cut):
            for keys in _keys(finder, self.wanted, found):
                yield from batches(keys, self.limits.asked_keys)

    def _differing(self, keys: Sequence[Key]) -> Iterator[tuple[Key, str, list[str], int]]:
        """(key, kind, names of what differs, a number that stands for both sides) of those that differ."""
        ours, theirs = self._prints(self.wanted, keys), self._prints(self.theirs, keys) if self.there else {}
        for key in keys:
            mine, other = ours.get(key), theirs.get(key)
            if mine is None and other is None:
                continue
            kind = EXTRA if mine is None else MISSING if other is None else CHANGED
            one, two = (mine or ({}, False))[0], (other or ({}, False))[0]
            names = [name for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]
            if names and (mine or other or ({}, False))[1]:
                told = repr((kind, key, sorted(one.items()), sorted(two.items()))).encode("utf-8", "backslashreplace")
                yield key, kind, names if kind == CHANGED else [], int.from_bytes(hashlib.sha256(told).digest(), "big")

    def _prints(self, reader: Reader, keys: Iterable[Key]) -> dict[Key, tuple[dict[str, int], bool]]:
        """For each key that there is a record of: (a number for each part of it, whether it is asked for)."""
        asked = list(keys)
        wanted = set(asked)
        return {
            key: (reader.parts_of(record), self._matches(reader, record))
            for records in reader.records_of(asked)
            for record in records
            if (key := reader.key_of(record)) in wanted
        }

    def _matches(self, reader: Reader, record: Any) -> bool:
        return all(_equal(reader.value_of(record, name), value) for name, value in self.wish.where.items())

    # writing

    @property
    def _run(self) -> Keep:
        return Keep(self.result.run_number, str(self.result.sync_id))

    def write_log(self, approved: str) -> None:
        """Plan once more, and write down what the target holds of what is to be written. Raises PlanChanged."""
        planned, chosen = self._plan()
        if planned.id != approved:
            raise PlanChanged(
                f"{self.service.name}: the plan {approved or '(none)'} is not what would be restored now ({planned.words()}, plan "
                f"{planned.id}); nothing was written. Look at the new plan and approve that"
            )
        number = self.result.run_number
        self.log.create()
        self.log.begin(number)
        about = {"sync_id": str(self.result.sync_id), "run_id": self.result.run_id, "number": number}
        known = self.backup.journal.states().get(RESTORES, {})
        places = dict([*known.items(), (str(number), _place(self.target))][-REMEMBERED:])
        self.backup.journal.keep_state(RESTORES, places)
        for rows in chosen.batches(self.limits.asked_keys):
            self.check()
            point("before log")
            kinds = {row[1:]: row[0] for row in rows}
            absent = [key for key, kind in kinds.items() if kind == MISSING]
            self.log.add(self._run, self.shape, absent, [], [])
            there = [key for key, kind in kinds.items() if kind != MISSING]
            for records in self.theirs.records_of(there) if there else ():
                found = [(kinds.get(self.theirs.key_of(record)), record) for record in records]
                replaced, removed = ([record for kind, record in found if kind == one] for one in (CHANGED, EXTRA))
                self.log.add(self._run, self.shape, [], replaced, removed)
        # From here on the target is written, and what is written stands in the log.
        self.backup.journal.keep_state(unfinished.STATE, {**about, "logged": True})
        point("after log")

    def write(self) -> int:
        """Write what the log says; returns how many records were left alone, since somebody changed them meanwhile."""
        if not self.there:
            self.target.catalog.create(self.shape)
            self.there = True
        self._writer = self.target.writer(self.shape)
        moved = 0
        for deletes in (False, True):  # deletes last
            entries = ((op, key) for op, key in logged(self.backup, self.result.run_number) if (op == "D") == deletes)
            for some in batches(entries, self.limits.asked_keys):
                self.check()
                point("before restore")
                moved += self._delete(dict(reversed(one) for one in some)) if deletes else self._put(some)
                point("after restore")
        return moved

    def _delete(self, entries: Mapping[Key, str]) -> int:
        theirs = self._prints(self.theirs, entries)
        before = self._prints(self.log.reader(self.shape, self.result.run_number), entries)
        gone = [key for key in theirs if theirs[key][0] == before[key][0]]
        if gone:
            self._writer.delete(gone)
        return len(theirs) - len(gone)

    def _put(self, entries: Sequence[tuple[str, Key]]) -> int:
        operations = {key: op for op, key in entries}
        theirs = self._prints(self.theirs, operations)
        before = self._prints(self.log.reader(self.shape, self.result.run_number), operations)
        moved = 0
        for records in self.wanted.records_of(list(operations)):
            chosen = [record for record in records if self.wanted.key_of(record) in operations]
            if self.wish.columns:
                chosen = self._merged(chosen)
            inserts, updates = list[Any](), list[Any]()
            for record in chosen:
                key = self.wanted.key_of(record)
                now, then = theirs.get(key, ({}, True))[0], before.get(key, ({}, True))[0]
                if now == self.wanted.parts_of(record):
                    continue  # an earlier attempt wrote it
                if now != then:
                    moved += 1
                    continue
                (updates if now else inserts).append(record)
            if inserts or updates:
                applied = self._writer.apply(inserts, updates)
                moved += applied.rejected
        return moved

    def _merged(self, records: Sequence[Any]) -> list[Any]:
        wanted = {self.wanted.key_of(record): record for record in records}
        return [
            self.wanted.merged(wanted[key], record, self.wish.columns)
            for page in self.theirs.records_of(list(wanted))
            for record in page
            if (key := self.theirs.key_of(record)) in wanted
        ]

    def check_written(self, moved: int) -> None:
        """Compare what was restored with what it should be. Raises FatalError where more differs than was left alone."""
        wrong = 0
        for some in batches((key for _, key in logged(self.backup, self.result.run_number)), self.limits.asked_keys):
            self.check()
            wrong += sum(self._asked_for(kind, names) for _, kind, names, _ in self._differing(some))
        if wrong > moved:
            raise FatalError(
                f"{self.target.label}: {wrong - moved} restored records are not as they should be: the target changed what was "
                "written, or somebody else did; look at it, and plan again"
            )


def settle(source: Store, backup: Store, result: SyncResult, keep: Keep | None, check: Callable[[], None]) -> None:
    """The copy takes over what was restored into its source, and what that replaces is kept as by any run."""
    assert backup.log is not None
    shape = source.catalog.describe()
    backup.catalog.check_fit(shape)
    reader, copy, writer = source.reader(shape), backup.reader(shape), backup.writer(shape, keep=keep)
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


def _keys(finder: Finder, reader: Reader, found: Found) -> Iterator[Sequence[Key]]:
    """The keys of what differs in a range."""
    if found.changes is None:
        yield from finder.keys_of(reader, found.within)
    else:
        changes = found.changes
        yield [*changes.inserts, *changes.updates, *changes.ahead, *changes.deletes]


def _place(target: Store) -> list[str]:
    """Where a target is, as a person names it."""
    return [target.label, str(target.service.table or target.service.container)]


def same_place(one: Store, other: Store) -> bool:
    """Whether two stores of a kind are one table or container."""
    if not one.catalog.is_at(other.catalog):
        return False
    tables = [store.service.table for store in (one, other)]
    if None in tables:
        return True  # a container is told apart by itself, a table by its name
    return without_case(".".join(parse_table(str(tables[0])))) == without_case(".".join(parse_table(str(tables[1]))))


def _equal(value: Any, wanted: Any) -> bool:
    """Whether a record's value is what a person wrote; values that JSON does not have are compared as text."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted or (isinstance(value, int) and value == wanted)
    return bool(value == wanted) or (value is not None and wanted is not None and str(value) == str(wanted))

"""The machine of machine.py, whose backup is also looked back into, verified, restored from and drilled."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from backup_sync.model import faults
from backup_sync.model.errors import ConfigurationError, DriftFound, FatalError
from backup_sync.model.keep import STATE, Kept, Point, parse_keep
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.verdicts import DRIFT, EXTRA, LAG, MISSING
from backup_sync.model.wish import CHANGED, OPERATION, Wish
from backup_sync.stores.base import Store
from backup_sync.walk import points, unfinished
from backup_sync.walk.drill import STATE as DRILL
from backup_sync.walk.drill import drill
from backup_sync.walk.restore import plan as plan_restore
from backup_sync.walk.restore import restore
from backup_sync.walk.sync import Options, sync
from backup_sync.walk.verify import verify
from tests.reliability.machine import Content, CosmosMachine, Crash, Machine, seeds, stamped, tally

RESTORE_BOUNDARIES = ["before log", "after log", "before restore", "after restore", "before settle", "after settle"]
KEEPS = [
    parse_keep(keep)
    for keep in ("2d", "5d", {"all": "3d", "weekly": "3w"}, {"all": "2d", "daily": "4d", "monthly": "2y"})
]
DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)
kills = st.tuples(st.sampled_from([*RESTORE_BOUNDARIES, "never"]), st.sampled_from([0, 0, 1, 2, 3]))
Before = dict[int, tuple[int, str | None] | None]
"""What a restore's target held of each record that was written; None: nothing."""


class Recovery(Machine):
    """SQLite. Columns come and go as well; each of them holds its own name in every row of the source."""

    scratch = "app.Scratch"

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[int, Content]
        self.restores: dict[int, Before] = {}
        self.columns: list[str] = []
        """Of the source, beside those of the model."""

    def teardown(self) -> None:
        self.each_restore_point_is_what_the_backup_was(everything=True)
        super().teardown()

    @contextmanager
    def stores(self) -> Iterator[tuple[Store, Store]]:
        source, backup = self.backend.open(self.service)
        with closing(source), closing(backup):
            yield source, backup

    def _states(self) -> dict[str, Any]:
        with self.stores() as (_, backup):
            return dict(backup.journal.states())

    def _kept(self) -> Kept | None:
        value = self._states().get(STATE)
        return Kept.from_value(value) if value else None

    def _there(self) -> list[int]:
        """The numbers of the states that can be rebuilt."""
        kept = self._kept()
        return [number for number in sorted(self.states) if kept is not None and kept.holds(number)]

    # columns come and go

    def _columns_of_copy(self) -> list[str]:
        with closing(sqlite3.connect(self.backend.backup_path)) as db:  # type: ignore[attr-defined]
            return [row[1] for row in db.execute("PRAGMA table_info(Things)")]

    def unfilled(self) -> Set[int]:
        lacking = set[int]()
        for name in {*self.columns} & {*self._columns_of_copy()}:
            with closing(sqlite3.connect(self.backend.backup_path)) as db:  # type: ignore[attr-defined]
                lacking |= {row[0] for row in db.execute(f"SELECT Id FROM Things WHERE {name} IS NULL")}
        return lacking

    @rule(name=st.sampled_from(["Fax", "Rank", "Mood"]), fill=st.booleans())
    def add_or_drop_a_column(self, name: str, fill: bool) -> None:
        tally["steps"] += 1
        tally["columns"] += 1
        if name in self.columns:
            self.columns.remove(name)
            self.backend.run_source(f"ALTER TABLE Things DROP COLUMN {name}")  # type: ignore[attr-defined]
        else:
            self.columns.append(name)
            self.backend.run_source(f"ALTER TABLE Things ADD COLUMN {name} TEXT DEFAULT '{name}'")  # type: ignore[attr-defined]
        self.backend.initialize(service=self.service)
        if fill:
            self._finish(self._new())

    # restore points grow old, are held, and go

    @rule(seed=seeds)
    def hold_or_release_a_point(self, seed: int) -> None:
        there, dice = self._there(), random.Random(seed)
        if not there:
            return
        tally["steps"] += 1
        held = sorted(map(int, self._states().get(points.HELD, {})))
        with self.stores() as (_, backup):
            run = SyncResult(sync_id("d", f"hold-{next(self.numbers)}", "thing"), "thing")
            if held and dice.random() < 0.4:
                points.release(backup, dice.choice(held), run)
            else:
                points.hold(backup, dice.choice(there), "needed", run)

    @rule(seed=seeds)
    def grow_old(self, seed: int) -> None:
        """One run a day, and what a run removes at its end, which may die in between; the next one finds what is left to do."""
        dice = random.Random(seed)
        kept, there = self._kept(), self._there()
        if kept is None or not there:
            return
        tally["steps"] += 1
        held = set(map(int, self._states().get(points.HELD, {})))
        today = max(self.states) + 1
        known = [Point(number, DAY + timedelta(days=number)) for number in there]
        left = dice.choice(KEEPS).left(kept, known, held, DAY + timedelta(days=today))
        boundary, dies = dice.choice(["before cut", "before thin", "never"]), itertools.count()

        def kill(name: str) -> None:
            if name == boundary and next(dies) == 0:
                tally[f"crash {name}"] += 1
                raise Crash(name)

        with self.stores() as (_, backup):
            with suppress(Crash), faults.installed(kill):
                points.shrink(backup, left)
            points.shrink(backup, Kept.from_value(backup.journal.states()[STATE]))
        assert {number for number in held if kept.holds(number)} <= set(self._there()), "a point that is held has gone"

    @rule()
    def run_without_history(self) -> None:
        service, self.service = self.service, self.service.model_copy(update={"keep_history": None})
        self._finish(self._new())
        self.service = service
        assert self._kept() is None or not self.states

    def each_restore_point_is_what_the_backup_was(self, *, everything: bool) -> None:
        there = self._there()
        if not there:
            return
        with self.stores() as (_, backup):
            assert backup.undo is not None
            shape = backup.catalog.describe()
            for number in there if everything else there[:1]:
                tally["restore points"] += 1
                records = backup.undo.reader(shape, number).records(None)
                assert dict(self.content(record) for page in records for record in page) == self.states[number], number

    @invariant()
    def the_oldest_restore_point_is_what_the_backup_was(self) -> None:
        self.each_restore_point_is_what_the_backup_was(everything=False)

    # verify

    @rule()
    def verify_the_backup(self) -> None:
        tally["steps"] += 1
        tally["verifies"] += 1
        both = self.source.keys() & self.backup.keys()
        lag = {key for key in both if self.source[key][0] != self.backup[key][0]}
        other = {key for key in both - lag if self.source[key][1] != self.backup[key][1]}
        if self.watches_text or self.by_content:
            lag, other = lag | other, set()
        lag |= self.unfilled() & both - other
        expected = {
            LAG: len(lag),
            DRIFT: len(other),
            MISSING: len(self.source.keys() - both),
            EXTRA: len(self.backup.keys() - both),
        }
        service = self.service.model_copy(update={"verify_again_seconds": 0.0})
        source, backup = self.backend.open(service)
        result = SyncResult(sync_id("dag", f"verify-{next(self.numbers)}", "thing"), "thing")
        with closing(source), closing(backup), pytest.raises(DriftFound) if other else nullcontext():
            verify(source, backup, result)
        assert result.verified is not None
        assert {verdict: result.verified[verdict.capitalize()]["Count"] for verdict in expected} == expected

    @rule()
    def mend_what_differs(self) -> None:
        """As a repair does: a run that compares whole records."""
        self._finish(self._new(content=True))

    # restore

    @rule(seed=seeds, at=kills)
    def bring_back(self, seed: int, at: tuple[str, int]) -> None:
        dice = random.Random(seed)
        number = dice.choice([None, *self._there()])
        kept = self._kept()
        if number is not None and not self.backup and kept is not None and not kept.emptied:
            # Nobody knows whether it was a run that died or a person that left it empty.
            with self.stores() as (source, backup), pytest.raises(ConfigurationError, match="the backup is empty"):
                plan_restore(backup, source, SyncResult(sync_id("d", "plan", "thing"), "thing"), Wish(number=number))
            return
        wanted = self.backup if number is None else self.states[number]
        only, delete = dice.choice([None, None, None, "missing", CHANGED, "extra"]), dice.random() < 0.5
        keys = dice.sample(range(1, 61), 15) if dice.random() < 0.3 else list(range(1, 61))
        before: Before = {}
        for key in keys:
            now, then = self.source.get(key), wanted.get(key)
            if now == then or (then is None and not delete):
                continue
            if only in (None, "missing" if now is None else "extra" if then is None else CHANGED):
                before[key] = now
        wish = Wish(
            number=number,
            only=only,
            delete=delete,
            keys=None if len(keys) == 60 else [self.key_as_written(key) for key in keys],
        )
        self._restore(wish, before, {key: wanted.get(key) for key in before}, at, gives_up=dice.random() < 0.4)

    @precondition(lambda self: self.restores)
    @rule(seed=seeds, at=kills)
    def undo_a_restore(self, seed: int, at: tuple[str, int]) -> None:
        known = [number for number in self.restores if str(number) in self._states().get(points.RESTORES, {})]
        if known:
            number = random.Random(seed).choice(known)
            self._undo(number, at)

    @rule(seed=seeds, at=kills)
    def bring_back_and_think_better_of_it(self, seed: int, at: tuple[str, int]) -> None:
        known = {*self.restores}
        self.bring_back(seed, at)
        if new := self.restores.keys() - known:
            self._undo(max(new), at)

    def _undo(self, number: int, at: tuple[str, int]) -> None:
        tally["undone restores"] += 1
        then = {key: value for key, value in self.restores[number].items() if self.source.get(key) != value}
        self._restore(Wish(undo=number), {key: self.source.get(key) for key in then}, then, at, gives_up=False)

    def _restore(self, wish: Wish, before: Before, after: Before, at: tuple[str, int], *, gives_up: bool) -> None:
        """``before``, ``after``: what the source holds of the records that are to be written, and is to hold."""
        tally["steps"] += 1
        tally["restores"] += 1
        run_id = f"restore-{next(self.numbers)}"
        kinds = Counter("I" if before[key] is None else "D" if after[key] is None else "U" for key in before)
        with self.stores() as (source, backup):
            planned = plan_restore(backup, source, SyncResult(sync_id("d", "plan", "thing"), "thing"), wish)
            assert {OPERATION[kind]: count for kind, count in planned.counts.items() if count} == dict(kinds)
        boundary, passed = at
        countdown = itertools.count()

        def kill(name: str) -> None:
            if name == boundary and next(countdown) == passed:
                tally[f"crash {name}"] += 1
                raise Crash(name)

        result = self._attempt_restore(run_id, wish, planned.id, kill)
        if result.success:
            self._restored(result, kinds, before, after)
            return
        tally["crashes in restores"] += 1
        there = self._source_rows()
        assert all(there.get(key) in (before[key], after[key]) for key in before)
        assert {key: value for key, value in there.items() if key not in before} == {
            key: value for key, value in self.source.items() if key not in before
        }
        if unfinished.STATE in self._states():
            with self.stores() as (source, backup), pytest.raises(FatalError, match="was not finished"):
                sync(self.service, source, backup, SyncResult(sync_id("d", "x", "thing"), "thing"), Options())
        if gives_up and unfinished.STATE in self._states():
            self.runs[run_id] = (0, 0, 0)  # the history does not know of what was undone at once
            self.restores[result.run_number] = dict(before)
            self.source, self.backup = there, {key: row[:2] for key, row in stamped(self.backend).items()}
            self._undo(result.run_number, ("never", 0))
            assert all(self.source.get(key) == before[key] for key in before)
        else:
            self._restored(self._attempt_restore(run_id, wish, planned.id, lambda name: None), kinds, before, after)

    def _attempt_restore(self, run_id: str, wish: Wish, approved: str, action: Callable[[str], None]) -> SyncResult:
        was = stamped(self.backend)
        result = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
        with self.stores() as (source, backup), suppress(Crash), faults.installed(action):
            restore(source, backup, source, result, wish, approved)
        now = stamped(self.backend)
        if self.killed is not None and self.tells_when:
            # What the copy takes over looks like written by a run that is tried again later.
            self.killed.done |= {key for key, row in now.items() if was.get(key) != row}
        self.states[result.run_number] = {key: row[:2] for key, row in now.items()}
        return result

    def _restored(self, result: SyncResult, kinds: Counter[str], before: Before, after: Before) -> None:
        counts = (result.inserted, result.updated, result.deleted)
        assert counts == (kinds["I"], kinds["U"], kinds["D"])
        self.runs[result.run_id] = counts
        self.restores[result.run_number] = before
        for side in (self.source, self.backup):
            for key, value in after.items():
                if value is None:
                    side.pop(key, None)
                else:
                    side[key] = value
        assert self._source_rows() == self.source
        for name in self.columns:
            # What the backup did not have at that point is no reason to empty it.
            assert not [row for row in self.backend.source_rows() if row[name] is None]

    def _source_rows(self) -> Content:
        return {row["Id"]: (row["Version"], row["Te xt"]) for row in self.backend.source_rows()}

    def key_as_written(self, number: int) -> list[Any]:
        return [number]

    # drill

    @rule(dies=st.booleans())
    def practise(self, dies: bool) -> None:
        tally["steps"] += 1
        tally["drills"] += 1
        with self.stores() as (_, backup), closing(self.backend.beside(self.service, self.scratch)) as scratch:
            result = SyncResult(sync_id("dag", f"drill-{next(self.numbers)}", "thing"), "thing")

            def kill(name: str) -> None:
                if name == "after drill" and dies:
                    raise Crash(name)

            with suppress(Crash), faults.installed(kill):
                drill(backup, scratch, result)
            assert not scratch.catalog.exists()
            assert result.success is not dies
            if not dies:
                number = backup.journal.states()[DRILL]["number"]
                expected = self.backup if number is None else self.states[number]
                assert f"restored {len(expected)} records" in str(result.notice)


class TextRecovery(Recovery):
    """With a field beside the version that makes a change whenever it differs."""

    watches_text = True


class ContentRecovery(Recovery):
    """No field tells when a record changed."""

    by_content = True


class CosmosRecovery(CosmosMachine, Recovery):
    """Documents have no columns."""

    scratch = "scratch"

    def unfilled(self) -> Set[int]:
        return frozenset()

    @rule()
    def add_or_drop_a_column(self) -> None:
        """Nothing to do."""

    def _source_rows(self) -> Content:
        return {int(row["id"][6:]): (row["version"], row["text"]) for row in self.backend.source_rows()}

    def key_as_written(self, number: int) -> list[Any]:
        return [f"thing-{number}", f"group-{number % 7}"]

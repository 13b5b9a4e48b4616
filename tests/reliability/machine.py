"""A model of source and backup, and a machine that runs, crashes and retries the product against it.

The model knows nothing of cuts, digests, batches or drivers: it says in a few lines what a run has to leave behind.
What the backup really holds is read through the bare driver, before and after each attempt.
"""

from __future__ import annotations

import itertools
import random
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import backup_sync.walk
from backup_sync.model import faults
from backup_sync.model.errors import BackupSyncError, LockHeld, PairingRefused
from backup_sync.model.limits import Limits, Pieces
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.cosmos.documents import key_text
from backup_sync.walk.record import record_history
from backup_sync.walk.sync import Options, sync
from backup_sync.walk.withheld import Withheld, sketch
from tests.conformance.backends import Backend, CosmosBackend, SqliteBackend
from tests.reliability.model import GUARD, NOTHING_HELD, Content, Held, Plan, plan

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""What is tried here is order and not the disk, whose every fsync would be waited for."""
Counts = tuple[int, int, int]
tally: Counter[str] = Counter()
"""What has been done so far, for those who report it."""


class Crash(BaseException):
    """The process dies here. No Exception, so that nothing in the product may handle it."""


SMALL = Limits(
    range_records=12,
    held_pairs=8,
    pending_keys=4,
    asked_keys=2,
    pieces=Pieces(few=16, keys=4, parts=512),
    packed_keys=3,
    digests=4,
    posted_keys=3,
    pull_rows=8,
    batch=5,
    page=5,
)
"""So small that a few dozen records pass all of the product's boundaries many times."""


def stamped(backend: Backend) -> dict[int, tuple[int, str | None, str]]:
    """The backup by key, each record with a mark that changes whenever it is written."""
    if isinstance(backend, SqliteBackend):
        with closing(sqlite3.connect(backend.backup_path)) as db:
            rows = db.execute('SELECT Id, Version, "Te xt", SyncedAt FROM Things')
            return {key: (version, text, mark) for key, version, text, mark in rows}
    assert isinstance(backend, CosmosBackend)
    container = backend.clients[1].get_database_client(backend.backup_database).get_container_client(backend.container)
    found = container.query_items("SELECT * FROM c", enable_cross_partition_query=True)
    return {int(row["id"][6:]): (row["version"], row["text"], row["_etag"]) for row in found}


def written(before: dict[int, Any], after: dict[int, Any]) -> Counts:
    """Inserts, updates and deletes between two looks at the backup."""
    both = before.keys() & after.keys()
    return (
        len(after.keys() - before.keys()),
        sum(before[key] != after[key] for key in both),
        len(before.keys() - after.keys()),
    )


@dataclass
class Attempts:
    """A run that was killed and may be tried again."""

    run_id: str
    options: dict[str, Any]
    written: Counts = (0, 0, 0)
    done: set[int] = field(default_factory=set)
    tried: int = 0
    result: SyncResult | None = field(default=None, repr=False)


keys = st.integers(1, 60)
some = st.sets(keys, min_size=1, max_size=20)
BOUNDARIES = sorted(
    {
        name
        for path in Path(backup_sync.walk.__file__).parent.glob("*.py")
        if path.stem not in ("points", "restore", "drill")  # few runs pass these, if any; they have tests of their own
        for name in re.findall(r'point\("(.+?)"\)', path.read_text())
    }
)
moments = st.tuples(st.sampled_from(BOUNDARIES), st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4]))
"""Which boundary, and how often it is passed before: seldom, since few runs pass one often."""
often = st.tuples(
    st.sampled_from(["after cut", "before guard", "before apply", "after write"]), st.sampled_from([0, 0, 1])
)
"""One that a run with something to do mostly passes."""
seeds = st.integers(0, 2**16)
allowances = st.sampled_from([None, None, None, 0, 2, 10, 60])


class Machine(RuleBasedStateMachine):
    """SQLite. Subclasses bring another backend."""

    watches_text = False
    """Whether another text is a change as well, by the rule ``different``."""
    by_content = False
    """Whether whole records are compared, and nothing else."""
    tells_when = True
    """Whether a record of the backup tells when it was written."""

    def __init__(self) -> None:
        super().__init__()
        tally["examples"] += 1
        self.held = ExitStack()
        self.backend = self.make()
        self.backend.limits = SMALL
        changes: dict[str, Any] = {"changed": {"Version": "higher", "Te xt": "different"}} if self.watches_text else {}
        changes |= {"changed": "content"} if self.by_content else {}
        self.service = self.backend.service(guard=GUARD, lock_wait_seconds=0, keep_history="1y", **changes)
        self.backend.initialize(service=self.service)
        self.source: Content = {}
        self.backup: Content = {}
        self.withheld = NOTHING_HELD
        self.numbers = itertools.count(1)
        self.runs: dict[str, Counts] = {}
        self.killed: Attempts | None = None
        self.states: dict[int, Content] = {}
        """What the backup held at the end of each run, by its number; for a run that was killed, where it was killed."""

    def make(self) -> Backend:
        return SqliteBackend(Path(self.held.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY))))

    def teardown(self) -> None:
        self.backend.close()
        self.held.close()

    # the source changes

    def _put(self, changes: Content) -> None:
        tally["steps"] += 1
        if changes:
            self.backend.put(*((key, version, text) for key, (version, text) in changes.items()))
            self.source.update(changes)

    @rule(keys=some)
    def insert(self, keys: set[int]) -> None:
        self._put({key: (5, f"new {next(self.numbers)}") for key in keys - self.source.keys()})

    @rule(keys=some)
    def update(self, keys: set[int]) -> None:
        self._put({k: (self.source[k][0] + 1, f"change {next(self.numbers)}") for k in keys & self.source.keys()})

    @rule(keys=some)
    def update_silently(self, keys: set[int]) -> None:
        self._put({k: (self.source[k][0], f"silent {next(self.numbers)}") for k in keys & self.source.keys()})

    @rule(key=keys)
    def delete_and_recreate_lower(self, key: int) -> None:
        if key in self.source:
            self.delete({key})
            self._put({key: (max(0, self.source.get(key, (5, ""))[0] - 3), f"again {next(self.numbers)}")})

    @rule(keys=some)
    def restore_an_old_copy(self, keys: set[int]) -> None:
        self._put({k: (max(0, self.source[k][0] - 3), f"old {next(self.numbers)}") for k in keys & self.source.keys()})

    @rule(keys=some)
    def delete(self, keys: set[int]) -> None:
        tally["steps"] += 1
        there = keys & self.source.keys()
        if there:
            self.backend.remove(*there)
            for key in there:
                del self.source[key]

    @rule(seed=seeds)
    def change_a_lot(self, seed: int) -> None:
        """Hypothesis prefers small changes, and a run that has little to do has few boundaries to be stopped at."""
        dice = random.Random(seed)
        chosen = set(dice.sample(range(1, 61), 30))
        gone = set(
            dice.sample(
                sorted(chosen & self.source.keys()), min(len(self.source.keys() & chosen), dice.choice([0, 2, 5]))
            )
        )
        self.delete(gone)
        chosen -= gone
        self.update(chosen)
        self.insert(chosen)

    @rule(keys=st.sets(keys, min_size=1, max_size=3))
    def delete_few(self, keys: set[int]) -> None:
        self.delete(keys)

    # the product runs

    def _attempt(self, run: Attempts, action: Any = lambda name: None) -> BaseException | None:
        """One attempt of a run, as the DAG does it: sync, then its history also if that failed."""
        tally["attempts"] += 1
        run.tried += 1
        before = stamped(self.backend)
        result = run.result = SyncResult(sync_id("dag", run.run_id, "thing"), "thing", run_id=run.run_id)
        source, backup = self.backend.open(self.service)
        problem: BaseException | None = None
        with closing(source), closing(backup), faults.installed(action):
            try:
                try:
                    sync(self.service, source, backup, result, Options(**run.options))
                except BackupSyncError as error:
                    problem = error
                    result.fail(str(error))
                if not result.dry_run:
                    record_history(backup, result)
            except Crash as crash:
                problem = crash
        after = stamped(self.backend)
        now = written(before, after)
        if self.tells_when:
            for began in (run, self.killed):
                if began is not None:
                    began.done |= {key for key, row in after.items() if before.get(key) != row}
        run.written = tuple(map(sum, zip(run.written, now, strict=True)))  # type: ignore[assignment]
        if run.options.get("dry_run"):
            assert now == (0, 0, 0), "a dry run wrote"
        else:
            self.runs[run.run_id] = run.written
        if result.run_number:
            self.states[result.run_number] = {key: row[:2] for key, row in after.items()}
        return problem

    def _plan(self, run: Attempts) -> Plan:
        allow = run.options.get("allow_deletes")
        return plan(
            self.source,
            self.backup,
            held=self.withheld,
            force=run.options.get("force", False),
            # A retry has no more than its first attempt left over.
            allow=None if allow is None else max(0, allow - run.written[2]),
            done=run.done,
            watches_text=self.watches_text or self.by_content,
            whole=self.by_content or bool(run.options.get("content")),
            by_content=self.by_content,
            unfilled=self.unfilled(),
        )

    def _finish(self, run: Attempts, action: Any = lambda name: None) -> None:
        """An attempt that nothing stops, and what it has to have done."""
        made = self._plan(run)
        problem = self._attempt(run, action)
        result = run.result
        assert result is not None
        assert type(problem) is (made.problem or type(None)), problem
        assert (result.withheld, result.ahead) == (made.withheld, made.ahead)
        counts = (result.inserted, result.updated, result.deleted)
        if run.options.get("dry_run"):
            assert counts == (made.inserted, made.updated, made.deleted)
            return
        assert counts == run.written, "the result does not say what was written"
        self.backup, self.withheld = made.after, made.held
        if run.tried == 1:
            assert counts == (made.inserted, made.updated, made.deleted)
            assert result.skipped == made.skipped
            assert result.inserted + result.updated + result.skipped == len(self.source)

    def _new(self, **options: Any) -> Attempts:
        tally["steps"] += 1
        return Attempts(f"run-{next(self.numbers)}", options)

    @rule(force=st.sampled_from([False, False, False, True]), allow=allowances)
    def run(self, force: bool, allow: int | None) -> None:
        self._finish(self._new(force=force, allow_deletes=allow))

    @rule()
    def run_twice(self) -> None:
        first = self._new()
        self._finish(first)
        before = stamped(self.backend)
        self._finish(self._new())
        assert stamped(self.backend) == before, "a run after a finished run wrote something"

    @rule()
    def allow_what_was_withheld(self) -> None:
        """As the message of the run says that withheld it."""
        first = self._new()
        self._finish(first)
        if first.result and first.result.withheld and self.source:
            self._finish(self._new(allow_deletes=first.result.withheld))

    @rule(allow=allowances, force=st.booleans())
    def dry_run(self, allow: int | None, force: bool) -> None:
        self._finish(self._new(dry_run=True, allow_deletes=allow, force=force))

    @precondition(lambda self: self.source)  # what is empty could be a copy's place
    @rule(force=st.booleans())
    def run_with_another_source(self, force: bool) -> None:
        """Nothing is written: neither to the copy nor to its history."""
        tally["other sources"] += 1
        before, history = stamped(self.backend), self.backend.history_rows()
        with self.elsewhere():
            with pytest.raises(PairingRefused):
                self.backend.initialize(service=self.service)
            with pytest.raises(PairingRefused):
                self.backend.sync(service=self.service, force=force)
        assert (stamped(self.backend), self.backend.history_rows()) == (before, history)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The source's connection leads to another place with the same table in it."""
        assert isinstance(self.backend, SqliteBackend)
        here = self.backend.source_path
        self.backend.source_path = here.with_name("staging.sqlite")
        shutil.copy(here, self.backend.source_path)
        try:
            yield
        finally:
            self.backend.source_path = here

    @rule(at=moments, force=st.sampled_from([False, False, True]), allow=allowances, seed=seeds)
    def crash(self, at: tuple[str, int], force: bool, allow: int | None, seed: int) -> None:
        self.change_a_lot(seed)
        self._crash(self._new(force=force, allow_deletes=allow), at)

    @rule(at=moments, force=st.sampled_from([False, False, True]), allow=allowances, seed=seeds)
    def crash_and_retry(self, at: tuple[str, int], force: bool, allow: int | None, seed: int) -> None:
        self.crash(at, force, allow, seed)
        if self.killed:
            self.retry()

    def _crash(self, run: Attempts, at: tuple[str, int]) -> None:
        boundary, passed = at
        countdown = itertools.count()

        def kill(name: str) -> None:
            if name == boundary and next(countdown) == passed:
                tally[f"crash {name}"] += 1
                raise Crash(name)

        made = self._plan(run)
        problem = self._attempt(run, kill)
        if not isinstance(problem, Crash):  # it was through before that
            assert type(problem) is (made.problem or type(None)), problem
            self.backup, self.withheld, self.killed = made.after, made.held, None
            return
        tally["crashes"] += 1
        # Each record is as it was or as it should become, and nothing else.
        left = {key: row[:2] for key, row in stamped(self.backend).items()}
        for key in left.keys() | self.backup.keys() | made.after.keys():
            assert left.get(key) in (self.backup.get(key), made.after.get(key))
        self.backup, self.killed = left, run
        remembered = self._remembered()
        (self.withheld,) = {held for held in (self.withheld, made.held) if self._hashed(held) == remembered}

    def _remembered(self) -> tuple[Set[str], Set[str]]:
        source, backup = self.backend.open(self.service)
        with closing(source), closing(backup):
            found = Withheld.from_value(backup.journal.states().get("withheld"))
        return found.deletes, found.ahead

    def _hashed(self, held: Held) -> tuple[Set[str], Set[str]]:
        return sketch(map(self.key, held.deletes)), sketch(map(self.key, held.ahead))

    def unfilled(self) -> Set[int]:
        """Keys of copies that lack what a new column of the source holds."""
        return frozenset()

    def key(self, number: int) -> tuple[Any, ...]:
        """A record's key as the store knows it."""
        return (number,)

    @precondition(lambda self: self.killed)
    @rule()
    def retry(self) -> None:
        tally["steps"] += 1
        run, self.killed = self.killed, None
        assert run is not None
        self._finish(run)

    @precondition(lambda self: self.killed)
    @rule(at=moments)
    def retry_and_crash_again(self, at: tuple[str, int]) -> None:
        tally["steps"] += 1
        assert self.killed is not None
        self._crash(self.killed, at)

    @rule(at=often, seed=seeds)
    def run_beside_another(self, at: tuple[str, int], seed: int) -> None:
        """A second writer starts while the first is somewhere in the middle."""
        self.change_a_lot(seed)
        first, second = self._new(), self._new()
        boundary, passed = at
        countdown = itertools.count()

        def start(name: str) -> None:
            if name == boundary != "before history" and next(countdown) == passed:
                tally["second writers"] += 1
                problem = self._attempt(second)
                assert isinstance(problem, LockHeld), problem
                assert first.run_id in str(problem)

        self._finish(first, start)

    def check(self) -> None:
        """The invariants, for tests that take steps of their own."""
        self.the_backup_is_what_the_model_says()
        self.each_run_has_one_record_with_what_it_really_wrote()

    @rule()
    def lose_a_small_source(self) -> None:
        """So few that both limits of the guard let their deletes through: what withholds them is that nothing is left."""
        self.delete(set(sorted(self.source)[2:]))
        self._finish(self._new(allow_deletes=60))
        self.delete(set(self.source))
        self._finish(self._new())

    def content(self, record: Any) -> tuple[int, tuple[int, str | None]]:
        """(key, what the model knows of it) of a record."""
        return record[0], (record[1], record[2])

    # what always holds

    @invariant()
    def the_backup_is_what_the_model_says(self) -> None:
        assert {key: row[:2] for key, row in stamped(self.backend).items()} == self.backup

    @invariant()
    def each_run_has_one_record_with_what_it_really_wrote(self) -> None:
        names = ("RunId", "InsertedCount", "UpdatedCount", "DeletedCount")
        if isinstance(self.backend, CosmosBackend):
            names = ("runId", "insertedCount", "updatedCount", "deletedCount")
        found = [tuple(row[name] for name in names) for row in self.backend.history_rows() if names[0] in row]
        assert sorted(found) == sorted((run_id, *counts) for run_id, counts in self.runs.items())


class TextMachine(Machine):
    """With a field beside the version that makes a change whenever it differs."""

    watches_text = True


class CosmosMachine(Machine):
    """Two embedded Cosmos servers, which :attr:`ends` names; containers of its own for each example."""

    ends: list[tuple[str, str]]
    tells_when = False

    def make(self) -> Backend:
        return CosmosBackend("own", self.ends[0], self.ends[1])

    def content(self, record: Any) -> tuple[int, tuple[int, str | None]]:
        return int(record["id"][6:]), (record["version"], record["text"])

    def key(self, number: int) -> tuple[Any, ...]:
        return f"thing-{number}", key_text([f"group-{number % 7}"])

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The connections are swapped."""
        assert isinstance(self.backend, CosmosBackend)
        found = self.backend
        names = found.source_database, found.backup_database
        found.endpoints, found.source_database, found.backup_database = found.endpoints[::-1], *names[::-1]
        try:
            yield
        finally:
            found.endpoints, found.source_database, found.backup_database = found.endpoints[::-1], *names

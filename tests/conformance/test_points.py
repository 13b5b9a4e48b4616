"""The history of records: the state at the end of each run can be rebuilt, whatever the runs did and how they ended."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from backup_sync.model import keep, moments, result
from backup_sync.model.errors import ConfigurationError, DeletesWithheld
from backup_sync.model.faults import installed
from backup_sync.model.keep import STATE, Kept
from backup_sync.model.moments import utc_now
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.walk import points
from backup_sync.walk.record import record_history
from tests.conformance.backends import Backend


class Killed(BaseException):
    """The process is gone."""


def killed(boundary: str, at: int) -> Callable[[str], None]:
    """Ends a run the ``at``-th time that it comes to a boundary; 0: never."""
    left = [at]

    def action(name: str) -> None:
        if name == boundary:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    return action


KEEP = {"keep_history": "30d", "guard": {"count": 1_000_000}}


def as_of(backend: Backend, *numbers: int) -> dict[int, list[Any]]:
    """The records at the end of each of these runs, as the store rebuilds them."""
    states = {}
    source, backup = backend.open(backend.service(**KEEP))
    with closing(source), closing(backup):
        assert backup.undo is not None
        shape = backup.catalog.describe()
        for number in numbers:
            reader = backup.undo.reader(shape, number)
            found = [record for page in reader.records(None) for record in page]
            assert reader.count() == len(found)
            assert reader.empty() is (not found)
            states[number] = sorted(found, key=repr)
    return states


def now(backend: Backend) -> list[Any]:
    """The records of the copy, read in the same way."""
    source, backup = backend.open(backend.service(**KEEP))
    with closing(source), closing(backup):
        reader = backup.reader(backup.catalog.describe())
        return sorted((record for page in reader.records(None) for record in page), key=repr)


def kept(backend: Backend) -> Kept | None:
    source, backup = backend.open(backend.service(**KEEP))
    with closing(source), closing(backup):
        value = backup.journal.states().get(STATE)
    return Kept.from_value(value) if value else None


@pytest.fixture
def keeping(backend: Backend) -> Backend:
    backend.put(*((number, 1, f"text {number}") for number in range(1, 31)))
    backend.initialize(service=backend.service(**KEEP))
    backend.sync(service=backend.service(**KEEP))
    return backend


def test_a_first_load_keeps_nothing_and_is_the_first_restore_point(keeping: Backend) -> None:
    assert kept(keeping) == Kept(1)
    assert keeping.undo_rows() == []
    assert as_of(keeping, 1) == {1: now(keeping)}


def test_what_each_run_replaced_can_be_rebuilt(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    states = {1: now(keeping)}
    keeping.put((1, 2, "new"), (2, 2, None), (31, 1, "31"))
    keeping.remove(3)
    keeping.sync(service=service)
    states[2] = now(keeping)
    keeping.put((1, 3, "newer"), (3, 1, "back"))
    keeping.remove(31, 2)
    keeping.sync(service=service)
    states[3] = now(keeping)
    assert states[1] != states[2] != states[3]
    assert as_of(keeping, *states) == states


def test_a_run_that_changes_no_byte_keeps_nothing(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    assert keeping.sync(service=service, force=True).updated == 30
    assert keeping.undo_rows() == []
    keeping.put((1, 2, "new"))
    assert keeping.sync(service=service, force=True).updated == 30
    assert len(keeping.undo_rows()) == 1


@pytest.mark.parametrize("seed", range(6))
def test_every_state_of_a_random_history_can_be_rebuilt(keeping: Backend, seed: int) -> None:
    """Runs, forced ones, ones that die at any point, and their retries, in any order."""
    chance = random.Random(seed)
    service = keeping.service(**KEEP)
    boundaries = ["before apply", "after write", "before delete", "before guard", "after cut"]
    states, versions = {1: now(keeping)}, dict.fromkeys(range(40), 1)
    there = set(range(1, 31))
    open_run = ""
    for step in range(12):
        for key in chance.sample(range(40), chance.randrange(8)):
            if key in there and chance.random() < 0.4:
                keeping.remove(key)
                there.remove(key)
            else:
                there.add(key)
                versions[key] += 1
                keeping.put((key, versions[key], chance.choice(["a", "b", "", "A ", None])))
        run_id = open_run if open_run and chance.random() < 0.5 else f"{seed}-{step}"
        open_run = ""
        action = killed(chance.choice(boundaries), chance.choice([0, 1, 1, 2]))
        try:
            with installed(action):
                number = keeping.sync(run_id, service=service, force=chance.random() < 0.2).run_number
        except Killed:
            open_run = run_id
            continue
        states[number] = now(keeping)
    assert len(states) > 3
    assert as_of(keeping, *states) == states


def test_a_retry_keeps_its_number_unless_another_run_has_begun(keeping: Backend) -> None:
    service = keeping.service(**KEEP)

    def die(run_id: str) -> None:
        keeping.put((1, versions.pop(), "x"))
        with pytest.raises(Killed), installed(killed("after write", 1)):
            keeping.sync(run_id, service=service)

    versions = [4, 3, 2]
    die("a")
    assert keeping.sync("a", service=service).run_number == 2
    die("b")
    assert keeping.sync("c", service=service).run_number == 4
    assert keeping.sync("b", service=service).run_number == 5


def test_a_run_that_was_killed_and_recorded_has_its_number_and_ends_no_points(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    before = now(keeping)
    keeping.put((1, 2, "x"))
    with pytest.raises(Killed), installed(killed("after write", 1)):
        keeping.sync("killed", service=service)
    # As the task behind it does, which knows nothing of what the killed one had found out.
    source, backup = keeping.open(service)
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "killed", "thing"), "thing", run_id="killed")
        run.fail("killed")
        record_history(backup, run)
        assert backup.journal.newest(1)[0]["RunNumber"] == 2
        assert backup.journal.points().unnumbered is None
    found = keeping.sync(service=service)
    assert found.run_number == 3
    assert found.notice is None
    assert as_of(keeping, 1) == {1: before}


def test_a_run_without_history_invalidates_older_restore_points(keeping: Backend) -> None:
    keeping.put((1, 2, "x"))
    keeping.sync(service=keeping.service(**KEEP))
    keeping.put((1, 3, "y"))
    keeping.sync(service=keeping.service(keep_history=None))
    assert kept(keeping) is None
    keeping.put((1, 4, "z"))
    before = now(keeping)
    keeping.sync(service=keeping.service(**KEEP))
    assert kept(keeping) == Kept(3)
    assert as_of(keeping, 3, 4) == {3: before, 4: now(keeping)}


def test_a_run_by_an_earlier_version_invalidates_older_restore_points(keeping: Backend) -> None:
    keeping.put((2, 2, "x"))
    run = keeping.sync(service=keeping.service(**KEEP))
    run.sync_id = sync_id("dag", "old", "thing")
    run.started_at, run.run_number = run.started_at + timedelta(seconds=1), 0
    source, backup = keeping.open(keeping.service())
    with closing(source), closing(backup):
        backup.journal.save(run)
    found = keeping.sync(service=keeping.service(**KEEP))
    assert "a run of an earlier version wrote to the backup" in (found.notice or "")
    assert kept(keeping) == Kept(found.run_number - 1)


def test_restore_points_start_over_when_the_copy_is_recreated(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    keeping.put((1, 2, "x"))
    keeping.sync(service=service)
    keeping.drop_copy()
    keeping.initialize(service=service)
    number = keeping.sync(service=service).run_number
    assert kept(keeping) == Kept(number)
    keeping.put((1, 3, "y"))
    before = now(keeping)
    keeping.sync(service=service)
    assert as_of(keeping, number) == {number: before}


def test_restore_points_start_over_when_somebody_empties_the_copy(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    keeping.put((1, 2, "x"))
    keeping.sync(service=service)
    source, backup = keeping.open(keeping.service())
    with closing(source), closing(backup):
        shape = backup.catalog.describe()
        run = SyncResult(sync_id("dag", "by hand", "thing"), "thing", run_id="by hand")
        backup.journal.begin(run)
        reader = backup.reader(shape)
        keys = [reader.key_of(record) for page in reader.records(None) for record in page]
        backup.writer(shape).delete(keys)
        backup.journal.save(replace(run, deleted=0))
    found = keeping.sync(service=service)
    assert kept(keeping) == Kept(found.run_number)
    assert "the backup was empty" in (found.notice or "")
    assert as_of(keeping, found.run_number) == {found.run_number: now(keeping)}


def test_old_entries_are_removed_and_what_is_promised_stays(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    states = {1: now(keeping)}
    for version in range(2, 8):
        keeping.put((1, version, str(version)), (100 + version, 1, "new"))
        if version > 3:
            keeping.remove(100 + version - 2)
        number = keeping.sync(service=service).run_number
        states[number] = now(keeping)
    source, backup = keeping.open(service)
    before = len(keeping.undo_rows())
    with closing(source), closing(backup):
        assert backup.undo is not None
        assert backup.undo.cut(2) > 0
        assert as_of(keeping, *range(2, 8)) == {number: states[number] for number in range(2, 8)}
        assert backup.undo.thin(2, 5) > 0
        assert backup.undo.thin(2, 5) == 0
        assert backup.undo.cut(2) == 0
        assert backup.undo.highest() == 7
    assert len(keeping.undo_rows()) < before
    assert as_of(keeping, 2, 5, 6, 7) == {number: states[number] for number in (2, 5, 6, 7)}


def test_a_run_removes_what_is_older_than_it_has_to_be(keeping: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on a day from run to run."""
    clock = [utc_now()]
    for module in (points, moments, result):
        monkeypatch.setattr(module, "utc_now", lambda: clock[0])
    service = keeping.service(**{**KEEP, "keep_history": "3d"})
    states = {}
    for version in range(2, 10):
        clock[0] += timedelta(days=1)
        keeping.put((1, version, str(version)))
        number = keeping.sync(service=service).run_number
        states[number] = now(keeping)
    assert kept(keeping) == Kept(6)
    assert len(keeping.undo_rows()) == 3
    assert as_of(keeping, 6, 7, 8, 9) == {number: states[number] for number in (6, 7, 8, 9)}


@pytest.mark.parametrize("boundary", ["before cut", "before thin"])
def test_a_run_that_dies_while_it_removes_old_entries_loses_nothing_that_is_promised(
    keeping: Backend, monkeypatch: pytest.MonkeyPatch, boundary: str
) -> None:
    clock = [utc_now()]
    for module in (points, moments, result):
        monkeypatch.setattr(module, "utc_now", lambda: clock[0])
    service = keeping.service(**{**KEEP, "keep_history": {"all": "2d", "weekly": "60d"}})
    states, deaths = {1: now(keeping)}, 0
    for version in range(2, 14):
        clock[0] += timedelta(days=1)
        keeping.put((1, version, str(version)), (50 + version, 1, "new"))
        try:
            with installed(killed(boundary, 1)):
                number = keeping.sync(f"night {version}", service=service).run_number
        except Killed:
            deaths += 1
            number = keeping.sync(f"night {version}", service=service).run_number
        states[number] = now(keeping)
    found = kept(keeping)
    assert deaths
    assert found is not None
    assert found.gaps
    assert not found.due
    there = [number for number in states if found.holds(number)]
    assert 3 < len(there) < len(states)
    assert as_of(keeping, *there) == {number: states[number] for number in there}


def test_a_run_that_failed_removes_nothing(keeping: Backend) -> None:
    service = keeping.service(**{**KEEP, "guard": {"count": 0, "share": 0.0}, "keep_history": "1h"})
    keeping.remove(*range(1, 20))
    keeping.put((30, 2, "x"))
    with pytest.raises(DeletesWithheld):
        keeping.sync(service=service)
    assert kept(keeping) == Kept(1)


def run_by_hand() -> SyncResult:
    return SyncResult(uuid4(), "thing", run_id="by hand", started_by="command line by anna")


def test_points_are_listed_and_one_that_is_held_outlives_the_others(
    keeping: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [utc_now()]
    for module in (points, moments, result):
        monkeypatch.setattr(module, "utc_now", lambda: clock[0])
    service = keeping.service(**{**KEEP, "keep_history": "2d"})
    states = {1: now(keeping)}

    def night(version: int) -> None:
        clock[0] += timedelta(days=1)
        keeping.put((1, version, str(version)), (50 + version, 1, "new"))
        number = keeping.sync(service=service).run_number
        states[number] = now(keeping)

    night(2)
    source, backup = keeping.open(service)
    with closing(source), closing(backup):
        with pytest.raises(ConfigurationError, match="there is no restore point 9; list them first"):
            points.hold(backup, 9, "why not", run_by_hand())
        points.hold(backup, 2, "before the release", run_by_hand())
    for version in range(3, 9):
        night(version)
    source, backup = keeping.open(service)
    with closing(source), closing(backup):
        found = points.listed(backup)
        assert [(point.number, point.held, point.whole) for point in found] == [
            (8, None, True),
            (7, None, True),
            (6, None, True),
            (2, "before the release", True),
        ]
        assert (found[-1].inserted, found[-1].updated, found[-1].deleted) == (1, 1, 0)
        assert as_of(keeping, 2, 6, 7, 8) == {number: states[number] for number in (2, 6, 7, 8)}
        points.release(backup, 2, run_by_hand())
        with pytest.raises(ConfigurationError, match="restore point 2 is not held"):
            points.release(backup, 2, run_by_hand())
    night(9)
    assert kept(keeping) == Kept(7)


def test_a_record_can_be_forgotten_and_that_is_recorded_without_its_key(keeping: Backend) -> None:
    service = keeping.service(**KEEP)
    for version in (2, 3):
        keeping.put((7, version, f"secret {version}"), (8, version, "x"))
        keeping.sync(service=service)
    keeping.remove(7)
    keeping.sync(service=service)
    assert "secret" in str(keeping.undo_rows())
    source, backup = keeping.open(service)
    with closing(source), closing(backup):
        shape = source.catalog.describe()
        reader = backup.undo.reader(shape, 3) if backup.undo else None
        assert reader is not None
        (key,) = (
            key
            for page in reader.records(None)
            for record in page
            if "secret" in str(record)
            for key in [reader.key_of(record)]
        )
        # As a person writes it: a document's id, and then the values of its partition key.
        values = [key[0], *json.loads(str(key[1]))] if len(key) > 1 else list(key)
        assert points.forget(backup, values, run_by_hand()) == 3
        assert points.forget(backup, values, run_by_hand()) == 0
        with pytest.raises(ConfigurationError):
            points.forget(backup, [*values, 1], run_by_hand())
        recorded = backup.journal.newest(3)[0]
    assert "secret" not in str(keeping.undo_rows())
    assert recorded["Success"]
    assert recorded["Mode"] == "forgot one key"
    assert recorded["StartedBy"] == "command line by anna"
    assert recorded["Notice"].endswith("entries of one key from the history of records")
    assert not [record for record in as_of(keeping, 2)[2] if "secret" in str(record)]
    assert keeping.sync(service=service).notice is None


def test_a_column_that_the_copy_got_later_is_noted(sql: Any) -> None:
    service = sql.service(**KEEP)
    sql.put((1, 1, "a"), (2, 1, "b"))
    sql.initialize(service=service)
    sql.sync(service=service)
    before = now(sql)
    name = service.table if sql.name == "mssql" else "Things"
    sql.run_source(f"ALTER TABLE {name} ADD Fax INT")
    sql.run_source(f"UPDATE {name} SET Fax = 5 WHERE Id = 1")
    assert "column Fax" in " ".join(sql.initialize(service=service))
    sql.sync(service=service)
    source, backup = sql.open(service)
    with closing(source), closing(backup):
        assert [keep.lacking(backup.journal.states(), number) for number in (1, 2, None)] == [{"fax"}, set(), set()]
    assert as_of(sql, 1) == {1: [(*row, None) for row in before]}
    assert as_of(sql, 2) == {2: now(sql)}

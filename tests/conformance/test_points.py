"""The history of records: the state at the end of each run can be rebuilt, whatever the runs did and how they ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.faults import installed
from backup_sync.model.keep import STATE, Kept
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
    points = ["before apply", "after write", "before delete", "before guard", "after cut"]
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
        action = killed(chance.choice(points), chance.choice([0, 1, 1, 2]))
        try:
            with installed(action):
                number = keeping.sync(run_id, service=service, force=chance.random() < 0.2).run_number
        except Killed:
            open_run = run_id
            continue
        states[number] = now(keeping)
    assert len(states) > 3
    assert as_of(keeping, *states) == states

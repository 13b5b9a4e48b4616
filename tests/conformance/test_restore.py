"""Records are brought back exactly, into any target, and what was there before can be brought back as well."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError, FatalError, PairingRefused, PlanChanged
from backup_sync.model.faults import installed
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import Service
from backup_sync.model.wish import Planned, Wish
from backup_sync.stores.base import Store
from backup_sync.walk.restore import plan, restore
from tests.conformance.backends import Backend, CosmosBackend, MssqlBackend

MANY = 120
SETTINGS = {"keep_history": "30d", "guard": {"count": 1_000_000}, "verify_again_seconds": 0}


class Killed(BaseException):
    """The process is gone."""


class World:
    """A service that was backed up by run 1; then its source was damaged, and run 2 copied that."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.service = backend.service(**SETTINGS)
        backend.put(*((key, 1, f"text {key}") for key in range(1, MANY + 1)))
        backend.initialize(service=self.service)
        backend.sync(service=self.service)
        self.good = backend.source_rows()
        backend.remove(*range(10, 20))
        backend.put(*((key, 2, "bad") for key in range(30, 35)), (900, 1, "new"))
        backend.sync(service=self.service)
        self.bad = backend.source_rows()

    def planned(self, wish: Wish) -> Planned:
        source, backup = self.backend.open(self.service)
        with closing(source), closing(backup):
            return plan(backup, source, SyncResult(sync_id("d", "p", "thing"), "thing"), wish)

    def restore(
        self,
        wish: Wish,
        run_id: str = "restore",
        approved: str | None = None,
        target: Callable[..., Store] | None = None,
    ) -> SyncResult:
        """A restore, of whose plan somebody says yes."""
        source, backup = self.backend.open(self.service)
        place = target(self.service) if target else source
        with closing(source), closing(backup), closing(place):
            run = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
            restore(source, backup, place, run, wish, approved or plan(backup, place, run, wish).id)
        return run


@pytest.fixture
def world(backend: Backend) -> World:
    return World(backend)


def counts(run: SyncResult) -> tuple[int, int, int]:
    return run.inserted, run.updated, run.deleted


def plain(rows: list[dict[str, Any]]) -> list[str]:
    """Rows whatever the order of their properties."""
    return sorted(repr(sorted(row.items())) for row in rows)


def test_a_source_is_as_it_was_the_copy_settles_and_the_next_run_does_nothing(world: World) -> None:
    found = world.planned(Wish(number=1, delete=True))
    assert dict(found.counts) == {"missing": 10, "changed": 5, "extra": 1}
    assert counts(world.restore(Wish(number=1, delete=True))) == (10, 5, 1)
    assert world.backend.source_rows() == world.backend.backup_rows() == world.good
    assert world.backend.counts(service=world.service) == (0, 0, 0, MANY)
    assert world.backend.verify(world.service).success


def test_what_came_after_that_point_stays_unless_it_is_to_be_deleted(world: World) -> None:
    assert world.planned(Wish(number=1)).staying == 1
    assert counts(world.restore(Wish(number=1))) == (10, 5, 0)
    assert len(world.backend.source_rows()) == MANY + 1


def test_a_restore_is_undone_and_that_too(world: World) -> None:
    first = world.restore(Wish(number=1, delete=True), "first")
    second = world.restore(Wish(undo=first.run_number), "second")
    assert counts(second) == (1, 5, 10)
    assert plain(world.backend.source_rows()) == plain(world.backend.backup_rows()) == plain(world.bad)
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 0)
    world.restore(Wish(undo=second.run_number), "third")
    assert plain(world.backend.source_rows()) == plain(world.good)


def test_a_restore_of_what_is_there_already_writes_nothing(world: World) -> None:
    assert counts(world.restore(Wish())) == (0, 0, 0)
    assert world.backend.source_rows() == world.bad


def test_the_backup_as_it_is_repairs_a_source_that_lost_records_since(world: World) -> None:
    world.backend.remove(1, 2, 3)
    assert counts(world.restore(Wish())) == (3, 0, 0)
    assert world.backend.source_rows() == world.bad


def test_only_some_kinds_keys_and_values_are_restored(world: World) -> None:
    text = "text" if world.backend.name.startswith("cosmos") else "Te xt"
    assert counts(world.restore(Wish(number=1, only="changed"), "1")) == (0, 5, 0)
    assert counts(world.restore(Wish(number=1, where={text: "text 12"}), "2")) == (1, 0, 0)
    key = [f"thing-{13}", "group-6"] if world.backend.name == "cosmos-npm" else None
    if not world.backend.name.startswith("cosmos"):
        key = [13]
    if key:
        assert counts(world.restore(Wish(number=1, keys=[key]), "3")) == (1, 0, 0)
    assert counts(world.restore(Wish(number=1, only="extra", delete=True), "4")) == (0, 0, 1)


def test_only_some_columns_are_restored(world: World) -> None:
    text = "text" if world.backend.name.startswith("cosmos") else "Te xt"
    version = "version" if world.backend.name.startswith("cosmos") else "Version"
    assert counts(world.restore(Wish(number=1, columns=[text]))) == (0, 5, 0)
    row = next(row for row in world.backend.source_rows() if row[text] == "text 30")
    assert row[version] == 2
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 0)


def test_an_approval_covers_what_the_plan_showed_and_no_more(world: World) -> None:
    approved = world.planned(Wish(number=1)).id
    world.backend.remove(50)
    before = world.backend.source_rows()
    with pytest.raises(PlanChanged, match="nothing was written"):
        world.restore(Wish(number=1), approved=approved)
    assert world.backend.source_rows() == before
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 1)


def test_what_somebody_changes_after_the_plan_was_checked_is_left_alone(world: World) -> None:
    def meddle(name: str) -> None:
        if name == "after log":
            world.backend.put((30, 7, "theirs"), (12, 1, "theirs"))

    with installed(meddle), pytest.raises(FatalError, match="2 records changed"):
        world.restore(Wish(number=1, delete=True))
    text = "text" if world.backend.name.startswith("cosmos") else "Te xt"
    assert [row[text] for row in world.backend.source_rows() if row[text] == "theirs"] == ["theirs"] * 2
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 0)


BOUNDARIES = ["before log", "after log", "before restore", "after restore", "before settle"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_restore_that_is_killed_is_finished_by_its_retry_with_exact_counts(world: World, boundary: str) -> None:
    world.backend.small(asked_keys=3)
    wish = Wish(number=1, delete=True)
    approved = world.planned(wish).id
    for passed in range(3):
        left = [passed]

        def kill(name: str, left: list[int] = left) -> None:
            if name == boundary:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed

        with installed(kill):
            try:
                world.restore(wish, approved=approved)
            except Killed:
                pass
    if boundary not in ("before log", "after log"):
        # Until it is finished no other run writes.
        with pytest.raises(FatalError, match="was not finished"):
            world.backend.sync(service=world.service)
    for _ in range(2):  # clearing one that is finished changes nothing
        assert counts(world.restore(wish, approved=approved)) == (10, 5, 1)
    assert world.backend.source_rows() == world.backend.backup_rows() == world.good
    assert world.backend.counts(service=world.service) == (0, 0, 0, MANY)


def test_a_restore_that_was_not_finished_can_be_undone(world: World) -> None:
    world.backend.small(asked_keys=3)

    def kill(name: str) -> None:
        if name == "after restore":
            raise Killed

    with installed(kill), pytest.raises(Killed):
        world.restore(Wish(number=1), "first")
    with pytest.raises(FatalError, match="was not finished"):
        world.restore(Wish(number=1), "other")
    world.restore(Wish(undo=3), "undo")
    assert plain(world.backend.source_rows()) == plain(world.bad)
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 0)


def test_random_histories_are_restored_as_they_were_at_any_point(backend: Backend) -> None:
    dice = random.Random(11)
    service = backend.service(**SETTINGS)
    backend.put(*((key, 1, f"text {key}") for key in range(40)))
    backend.initialize(service=service)
    world = World.__new__(World)
    world.backend, world.service = backend, service
    states: dict[int, list[str]] = {}
    version = dict.fromkeys(range(40), 1)
    for _ in range(6):
        for key in dice.sample(range(50), 12):
            if key in version and dice.random() < 0.3:
                backend.remove(key)
                del version[key]
            else:
                version[key] = max(version.values(), default=0) + 1
                backend.put((key, version[key], dice.choice(["a", "b", None])))
        states[backend.sync(service=service).run_number] = plain(backend.source_rows())
    for number, expected in sorted(states.items(), key=lambda _: dice.random()):
        run = world.restore(Wish(number=number, delete=True), f"to {number}")
        assert plain(backend.source_rows()) == plain(backend.backup_rows()) == expected
        world.restore(Wish(undo=run.run_number), f"from {number}")


# other targets


def beside(world: World, name: str) -> Callable[[Service], Store]:
    return lambda service: world.backend.beside(service, name)


def test_a_target_that_is_not_there_is_made_and_neither_source_nor_copy_are_touched(world: World) -> None:
    place = world.backend.settings.get("table", world.backend.settings.get("container"))
    target = beside(world, f"{place}Restored" if "." in place else f"{place}-restored-{id(world)}")
    before = (world.backend.source_rows(), world.backend.backup_rows())
    run = world.restore(Wish(number=1), target=target)
    assert counts(run) == (MANY, 0, 0)
    assert (world.backend.source_rows(), world.backend.backup_rows()) == before
    store = target(world.service)
    with closing(store):
        reader = store.reader(store.catalog.describe())
        assert reader.count() == MANY
    assert world.backend.counts(service=world.service)[:3] == (0, 0, 0)
    assert counts(world.restore(Wish(undo=run.run_number), "undo", target=target)) == (0, 0, MANY)


def test_a_restore_is_undone_only_where_it_wrote(world: World) -> None:
    run = world.restore(Wish(number=1))
    place = world.backend.settings.get("table", world.backend.settings.get("container"))
    with pytest.raises(ConfigurationError, match="name that target"):
        world.restore(Wish(undo=run.run_number), "undo", target=beside(world, f"{place}Elsewhere"))
    with pytest.raises(ConfigurationError, match="is no restore"):
        world.planned(Wish(undo=1))


def test_the_copy_itself_is_no_target(world: World) -> None:
    source, backup = world.backend.open(world.service)
    other, again = world.backend.open(world.service)
    run = SyncResult(sync_id("d", "p", "thing"), "thing")
    with closing(source), closing(backup), closing(other), closing(again), pytest.raises(ConfigurationError) as refused:
        plan(backup, again, run, Wish())
    assert "leads to the backup" in str(refused.value)


def test_a_state_that_is_not_kept_cannot_be_restored(world: World) -> None:
    world.restore(Wish(number=1))
    source, backup = world.backend.open(world.service)
    with closing(source), closing(backup):
        value = backup.journal.states()["undo"]
        backup.journal.keep_state("undo", {**value, "since": 2})
    with pytest.raises(ConfigurationError, match="cannot be rebuilt"):
        world.planned(Wish(number=1))


def test_a_backup_that_was_rightly_empty_keeps_its_restore_points(backend: Backend) -> None:
    world = World.__new__(World)
    world.backend, world.service = backend, backend.service(**SETTINGS)
    backend.initialize(service=world.service)
    backend.sync(service=world.service)  # of a source that holds nothing yet
    backend.put(*((key, 1, f"text {key}") for key in range(30)))
    backend.sync(service=world.service)
    full = plain(backend.source_rows())
    emptied = world.restore(Wish(number=1, delete=True), "to nothing")
    assert counts(emptied) == (0, 0, 30)
    assert backend.backup_rows() == []
    assert backend.sync(service=world.service).notice is None
    backend.put((7, 3, "new"))
    assert backend.sync(service=world.service).notice is None
    world.restore(Wish(number=2), "as of 2")
    world.restore(Wish(number=2, delete=True), "as of 2 and no more")
    assert plain(backend.source_rows()) == plain(backend.backup_rows()) == full


def test_a_backup_that_somebody_emptied_is_not_taken_for_its_earlier_states(world: World) -> None:
    world.backend.remove_from_backup(*range(1, 10), *range(20, MANY + 1), 900)
    assert world.backend.backup_rows() == []
    with pytest.raises(ConfigurationError, match="the backup is empty, and no run that ended left it so"):
        world.planned(Wish(number=1))


def test_a_restore_that_was_undone_before_it_was_finished_has_counted_nothing(world: World) -> None:
    world.backend.small(asked_keys=3)
    settled = []

    def kill(name: str) -> None:
        settled.append(name)
        if name == "before settle" and settled.count(name) == 3:
            raise Killed

    with installed(kill), pytest.raises(Killed):
        world.restore(Wish(number=1, delete=True), "killed")
    world.restore(Wish(undo=3), "undo")
    names = ["runId", "insertedCount", "updatedCount", "deletedCount"]
    if not world.backend.name.startswith("cosmos"):
        names = [name[0].upper() + name[1:] for name in names]
    told = {row[names[0]]: [row[name] for name in names[1:]] for row in world.backend.history_rows()}
    assert told["killed"] == [0, 0, 0]
    assert told["undo"] == [1, 5, 10]


def test_a_source_whose_table_is_gone_is_made_again_and_filled(world: World) -> None:
    backend = world.backend
    if isinstance(backend, CosmosBackend):
        backend.database.delete_container(backend.container)
    else:
        backend.run_source(f"DROP TABLE {backend.table if isinstance(backend, MssqlBackend) else 'Things'}")  # type: ignore[attr-defined]
    run = world.restore(Wish(number=1))
    assert counts(run) == (MANY, 0, 0)
    assert plain(backend.source_rows()) == plain(world.good)
    if isinstance(backend, CosmosBackend):
        with pytest.raises(PairingRefused):  # the container is another one, which a person has to accept
            backend.sync(service=world.service)
    else:
        assert backend.counts(service=world.service) == (0, 0, 1, MANY), (
            "what came after that point went with the table"
        )


@pytest.mark.parametrize("gives_up", [False, True])
def test_a_restore_to_nothing_that_died_at_its_end_is_finished_or_undone_and_loses_no_points(
    backend: Backend, gives_up: bool
) -> None:
    world = World.__new__(World)
    world.backend, world.service = backend, backend.service(**SETTINGS)
    backend.initialize(service=world.service)
    backend.sync(service=world.service)
    backend.put(*((key, 1, f"text {key}") for key in range(8)))
    backend.sync(service=world.service)
    full = plain(backend.source_rows())
    wish = Wish(number=1, delete=True)
    approved = world.planned(wish).id

    def kill(name: str) -> None:
        if name == "after settle":
            raise Killed

    with installed(kill), pytest.raises(Killed):
        world.restore(wish, "killed", approved)
    if gives_up:
        world.restore(Wish(undo=3), "undo")
        assert plain(backend.source_rows()) == full
    else:
        assert counts(world.restore(wish, "killed", approved)) == (0, 0, 8)
        assert backend.sync(service=world.service).notice is None
    assert world.planned(Wish(number=2)).counts["missing"] == (0 if gives_up else 8)

"""Runs, crashes and retries in any order, against a model of what they have to leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from backup_sync.model import faults
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import SqliteBackend
from tests.reliability import soak
from tests.reliability.machine import BOUNDARIES, tally
from tests.reliability.recovery import ContentRecovery, CosmosRecovery, Recovery, TextRecovery

QUICK = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_in_whatever_order_the_backup_and_its_counts_are_those_of_the_model() -> None:
    tally.clear()
    run_state_machine_as_test(Recovery, settings=QUICK)
    # A machine that hardly ever crashes would prove little.
    assert tally["steps"] > 300
    assert tally["crashes"] > 5
    assert tally["other sources"] > 0
    assert tally["restore points"] > 500
    assert min(tally[what] for what in ("restores", "undone restores", "verifies", "drills", "columns")) > 3


def test_the_same_holds_where_another_field_makes_a_change_whenever_it_differs() -> None:
    tally.clear()
    run_state_machine_as_test(TextRecovery, settings=settings(QUICK, max_examples=15))
    assert tally["crashes"] > 5


def test_the_same_holds_where_whole_records_are_compared() -> None:
    tally.clear()
    run_state_machine_as_test(ContentRecovery, settings=settings(QUICK, max_examples=15))
    assert tally["steps"] > 100


@pytest.fixture
def ends(servers: list[EmbeddedCosmos]) -> list[tuple[str, str]]:
    return [(server.endpoint, server.key) for server in servers]


def test_the_same_holds_for_cosmos(ends: list[tuple[str, str]]) -> None:
    tally.clear()
    machine = type("Cosmos", (CosmosRecovery,), {"ends": ends})
    run_state_machine_as_test(machine, settings=settings(QUICK, max_examples=4, stateful_step_count=10))
    assert tally["steps"] > 30


@pytest.mark.parametrize(
    "boundary, kind",
    # Cosmos DB has no digests.
    [
        (name, kind)
        for name in BOUNDARIES
        for kind in ("sqlite", "cosmos")
        if (name, kind) != ("after digest", "cosmos")
    ],
)
def test_a_run_that_dies_at_any_boundary_is_finished_by_its_retry_and_counts_what_it_wrote(
    boundary: str, kind: str, request: pytest.FixtureRequest
) -> None:
    machine = Recovery()
    if kind == "cosmos":
        machine.teardown()
        machine = type("Cosmos", (CosmosRecovery,), {"ends": request.getfixturevalue("ends")})()
    if boundary == "after verify":
        # Not always on: what the machine makes of a source may drift, which is for a verify to find and not for a run.
        machine.service = machine.service.model_copy(update={"verify": "all", "verify_again_seconds": 0})
    crashes = 0
    try:
        machine.insert(set(range(1, 61, 2)))
        machine.run(force=False, allow=None)
        for passed in range(3):
            for again in (False, True) if kind == "sqlite" else (True,):
                machine.crash((boundary, passed), force=False, allow=60, seed=7 + passed)
                machine.check()
                if machine.killed is None:
                    continue
                crashes += 1
                if again:
                    machine.change_a_lot(70 + passed)
                    machine.retry_and_crash_again((boundary, 0))
                    machine.check()
                if machine.killed:
                    machine.retry()
                    machine.check()
        assert crashes, f"no run passed the boundary '{boundary}'"
    finally:
        machine.teardown()


def test_a_first_load_reports_what_it_wrote_before_its_history_does(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    backend.put(*((key, 1, "x") for key in range(300)))
    backend.initialize()
    assert backend.sync(record=False).inserted == 300


def test_a_soak_ends_when_its_time_is_up_and_not_at_the_end_of_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    tally.clear()
    monkeypatch.setenv("SOAK_SECONDS", "0.2")
    assert soak.main() == 0
    assert 0 < tally["examples"] < soak.SETTINGS.max_examples


def test_nothing_is_installed_at_the_boundaries_of_a_run() -> None:
    assert faults._installed is None

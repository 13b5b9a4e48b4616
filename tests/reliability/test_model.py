"""Runs, crashes and retries in any order, against a model of what they have to leave behind."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from backup_sync.core import faults
from tests.conformance.backends import SqliteBackend
from tests.reliability.machine import Machine

QUICK = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_in_whatever_order_the_backup_and_its_counts_are_those_of_the_model() -> None:
    run_state_machine_as_test(Machine, settings=QUICK)


def test_a_first_load_reports_what_it_wrote_before_its_history_does(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    backend.put(*((key, 1, "x") for key in range(300)))
    backend.initialize()
    assert backend.sync(record=False).inserted == 300


def test_nothing_is_installed_at_the_boundaries_of_a_run() -> None:
    assert faults._installed is None

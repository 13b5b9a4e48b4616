"""Airflow's own metrics get counters of runs and records, and no gauge."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.observability import stats

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators.counters import count


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, dict[str, str]]]:
    """(name, by how much, tags) of what was counted."""
    found: list[tuple[str, int, dict[str, str]]] = []

    def incr(stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
        found.append((stat, count, tags))

    monkeypatch.setattr(stats, "incr", incr)
    return found


def result(**values: Any) -> dict[str, Any]:
    made = SyncResult(sync_id("d", "r", "customer"), "customer", **values)
    made.complete()
    return made.to_dict()


def test_a_run_counts_itself_and_its_records(sent: list[Any]) -> None:
    count([result(inserted=3, deleted=2)], "sync")
    assert sent == [
        ("backup_sync.customer.sync.completed", 1, {"service": "customer"}),
        ("backup_sync.customer.inserted", 3, {"service": "customer", "operation": "inserted"}),
        ("backup_sync.customer.deleted", 2, {"service": "customer", "operation": "deleted"}),
    ]


def test_a_dry_run_counts_nothing(sent: list[Any]) -> None:
    count([result(inserted=3, dry_run=True)], "sync")
    assert sent == []

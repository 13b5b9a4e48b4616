"""People are told of a backup that is stale, once, and again the next day."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from tests.dags.conftest import World
from tests.test_notify import Told

pytestmark = pytest.mark.airflow


@pytest.fixture
def watched(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    spec = {"notifier": "tests.test_notify.Told", "to": "{subject}", "text": "{message}"}
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", json.dumps(spec))
    Told.seen.clear()
    return world


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Moves the time that the watch goes by."""
    from backup_sync.model import moments
    from backup_sync.operators import watch

    def forward(time: timedelta) -> None:
        monkeypatch.setattr(watch, "utc_now", lambda: moments.utc_now() + time)

    return forward


def test_there_is_no_watch_unless_somebody_is_to_be_told(world: World) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from tests.dags.conftest import DAGS

    assert "backup_watch" not in DagBag(str(DAGS)).dags


def test_a_fresh_backup_is_quiet_and_a_stale_one_is_told_of_once_a_day(watched: World, clock: Any) -> None:
    assert watched.run().state == "success"
    assert watched.run("backup_watch").state == "success"
    assert Told.seen == []

    clock(timedelta(hours=27))
    outcome = watched.run("backup_watch")
    assert outcome.state == "failed"
    assert "customer: the last success is 27 h old, and 26 h is promised" in outcome.said
    ((subject, message),) = Told.seen
    assert subject == "backup_sync: customer, order are stale"
    assert message.splitlines()[-1] == "What to do: docs/runbook.md#a-backup-is-stale"

    clock(timedelta(hours=28))
    assert watched.run("backup_watch").state == "failed"
    assert len(Told.seen) == 1

    clock(timedelta(hours=52))
    assert watched.run("backup_watch").state == "failed"
    assert len(Told.seen) == 2


def test_one_that_was_fresh_again_meanwhile_is_told_of_anew(watched: World, clock: Any) -> None:
    watched.run()
    clock(timedelta(hours=27))
    watched.run("backup_watch")
    clock(timedelta(0))
    watched.run()
    assert watched.run("backup_watch").state == "success"
    clock(timedelta(hours=27))
    watched.run("backup_watch")
    assert len(Told.seen) == 2


def test_each_service_has_its_own_promise(watched: World, clock: Any, tmp_path: Any) -> None:
    watched.services(tmp_path, order={"fresh_within": "2h"})
    watched.run()
    clock(timedelta(hours=3))
    outcome = watched.run("backup_watch")
    assert "order: the last success is 3 h old, and 2 h is promised" in outcome.said
    assert "customer: the last" not in outcome.said
    assert [subject for subject, _ in Told.seen] == ["backup_sync: order is stale"]


def watch(logical_date: datetime | None, told: Any = None) -> dict[str, Any]:
    """A watch of a backup that was never made; what it remembers. ``told``: what an earlier one remembered."""
    from airflow.sdk.exceptions import AirflowFailException

    from backup_sync.operators import WatchOperator
    from backup_sync.operators.assets import alias

    class Nothing(list[Any]):
        def ascending(self, _: bool) -> Nothing:
            return self

        def limit(self, _: int) -> Nothing:
            return self

    kept: dict[str, Any] = {}
    ti = SimpleNamespace(xcom_pull=lambda **_: told, xcom_push=lambda key, value: kept.update({key: value}))
    context: Any = {
        "ti": ti,
        "dag_run": SimpleNamespace(logical_date=logical_date),
        "inlet_events": {alias("customer"): Nothing()},
    }
    with pytest.raises(AirflowFailException, match="1 of 1 backups are stale"):
        WatchOperator(task_id="watch", promises={"customer": 60.0}).execute(context)
    return kept


MIDNIGHT = datetime(2026, 3, 1, tzinfo=timezone.utc)


def test_whoever_could_not_be_told_is_told_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Told.seen.clear()
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", "tests.test_notify.Broken")
    kept = watch(MIDNIGHT)
    assert kept == {"told": {}}
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", "tests.test_notify.Told")
    kept = watch(MIDNIGHT, kept["told"])
    assert len(Told.seen) == 1
    assert watch(MIDNIGHT, kept["told"]) == kept
    assert len(Told.seen) == 1


def test_a_watch_by_hand_tells_and_leaves_nothing_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no logical date, and PostgreSQL sorts that as the newest: every later watch would go by what this one knew."""
    Told.seen.clear()
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", "tests.test_notify.Told")
    assert watch(None) == {}
    assert len(Told.seen) == 1

"""Nothing is called good that is not; of runs as Airflow leaves them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import Browser
from tests.console.past import NOW, Past, declare, result, store_dags
from tests.console.test_access import runs
from tests.console.test_pages import night, plain

pytestmark = pytest.mark.airflow
HOUR = timedelta(hours=1)


def service(browser: Browser, name: str) -> dict[str, Any]:
    """What /backup/health says of a service."""
    told = browser.call("/backup/health", "GET").json()["Services"]
    return dict(next(one for one in told if one["ServiceName"] == name))


@pytest.mark.parametrize("states", ["success skipped skipped", "skipped"])
def test_a_run_that_timed_out_is_no_success(past: Past, admin: Browser, states: str) -> None:
    """Airflow skips what is left of it."""
    night(past, NOW - 5 * HOUR)
    past.run("backup_sync", NOW - HOUR, [("customer", None, states), ("order", None, states)], state="failed")
    past.write()
    told = service(admin, "order")
    assert told["Status"] == "failed"
    assert "ended before it was done" in told["Message"]


def test_a_run_for_another_service_that_fails_says_nothing_of_one_that_it_skipped(past: Past, admin: Browser) -> None:
    night(past, NOW - 5 * HOUR)
    bad = result("customer", NOW - HOUR, error="it broke")
    results = [("customer", bad, "failed"), ("order", None, "skipped")]
    past.run("backup_sync", NOW - HOUR, results, state="failed", conf={"service": "customer"})
    past.write()
    assert service(admin, "order")["Status"] == "good"


def test_tasks_that_were_removed_from_a_run_say_nothing(past: Past, admin: Browser) -> None:
    night(past, NOW - 6 * HOUR)
    night(past, NOW - 5 * HOUR, order=result("order", NOW - 5 * HOUR, error="it broke"))
    results = [("customer", result("customer", NOW - HOUR), "success"), ("order", None, "removed")]
    past.run("backup_sync", NOW - HOUR, results)
    past.write()
    assert "it broke" in service(admin, "order")["Message"]


def test_a_failure_that_somebody_marked_as_a_success_is_still_one(past: Past, admin: Browser) -> None:
    night(past, NOW - 5 * HOUR)
    bad = result("order", NOW - HOUR, error="withheld 12 deletes", withheld=12)
    past.run("backup_sync", NOW - HOUR, [("order", bad, "success")])
    past.write()
    assert service(admin, "order")["Status"] == "withheld"


def test_backfills_of_long_ago_do_not_hide_a_failure_of_tonight(past: Past, admin: Browser) -> None:
    """Their runs are newer, and run_after is the day that they are for."""
    night(past, NOW - 6 * HOUR)
    night(past, NOW - 5 * HOUR, order=result("order", NOW - 5 * HOUR, error="it broke"))
    for day in range(1, 9):
        at = datetime(2024, 2, day, tzinfo=timezone.utc)
        results = [("customer", result("customer", at), "success"), ("order", None, "skipped")]
        past.run("backup_sync", at, results, kind="backfill", conf={"service": "customer"})
    past.write()
    assert "it broke" in service(admin, "order")["Message"]


def test_drift_is_not_hidden_by_any_number_of_verifies_of_other_services(past: Past, admin: Browser) -> None:
    night(past, NOW - 2 * HOUR)
    bad = result("order", NOW - 50 * HOUR, error="3 records differ", mode="verified")
    past.run("backup_verify", NOW - 50 * HOUR, [("order", bad, "failed")], tasks=[""], state="failed")
    for minutes in range(300):
        at = NOW - 40 * HOUR + timedelta(minutes=minutes)
        results = [("customer", result("customer", at, mode="verified"), "success"), ("order", None, "skipped")]
        past.run("backup_verify", at, results, tasks=[""], conf={"service": "customer"}, kind="manual")
    past.write()
    assert service(admin, "order")["Status"] == "drifted"


def test_a_whole_seal_does_not_take_back_what_a_comparison_found(past: Past, admin: Browser) -> None:
    night(past, NOW - HOUR)
    found = {"Drift": {"Count": 3}}
    bad = result("order", NOW - 9 * HOUR, error="3 records differ", mode="verified", verified=found)
    past.run("backup_verify", NOW - 9 * HOUR, [("order", bad, "failed")], tasks=[""], state="failed")
    sealed = result("order", NOW - 8 * HOUR, mode="verified by its seal", verified={"Sealed": 7, "Touched": 0})
    past.run("backup_verify", NOW - 8 * HOUR, [("order", sealed, "success")], tasks=[""])
    past.write()
    assert service(admin, "order")["Status"] == "drifted"
    good = result("order", NOW - 7 * HOUR, mode="verified", verified={"Drift": {"Count": 0}})
    past.run("backup_verify", NOW - 7 * HOUR, [("order", good, "success")], tasks=[""])
    past.write()
    assert service(admin, "order")["Status"] == "good"


def test_comparing_others_does_not_take_back_what_drifted(past: Past, admin: Browser) -> None:
    night(past, NOW - 9 * HOUR)
    share = result("order", NOW - HOUR, mode="verified 1/7", verified={"Drift": {"Count": 0}, "Left": 3})
    past.run("backup_verify", NOW - HOUR, [("order", share, "success")], tasks=[""])
    past.write()
    told = service(admin, "order")
    assert told["Status"] == "drifted"
    assert "3 records drifted" in told["Message"]


def test_a_service_whose_entry_cannot_be_read_is_not_left_out(
    past: Past, admin: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__RETRIES", "many")
    declare(tmp_path / "services.yaml", {"customer": {}, "order": {"airflow": {"schedule": "often"}}})
    store_dags()
    at = NOW - HOUR
    bad = result("order", at, error="airflow.schedule has to be five cron fields")
    past.run("backup_sync", at, [("customer", result("customer", at), "success")], state="failed")
    past.write()
    assert admin.call("/backup/health", "GET").status_code == 503
    assert "1 of 2 needs you" in plain(admin.get("/backup/"))
    past.run("backup_sync", NOW, [("order", bad, "failed")], state="failed", tasks=["refused"], kind="manual")
    past.write()
    assert "airflow.schedule has to be" in service(admin, "order")["Message"]


def test_an_asset_of_somebody_else_does_not_make_a_backup_fresh(past: Past, admin: Browser) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    night(past, NOW - 50 * HOUR)
    past.write()
    with create_session() as session:
        asset = AssetModel(name="backup_sync.order", uri="x-other://order", group="theirs", extra={})
        session.add(asset)
        session.flush()
        event = AssetEvent(id=10**6, asset_id=asset.id, extra={}, timestamp=NOW)
        session.add(event)
        session.flush()
    try:
        assert service(admin, "order")["Fresh"] is False
    finally:
        with create_session() as session:
            session.delete(session.merge(event))
            session.delete(session.merge(asset))


def test_who_waits_keeps_no_connection_of_airflows_database(
    past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import settings

    from backup_sync.console.actions import Airflow

    held = []

    async def wait(*_: Any) -> str | None:
        held.append(settings.engine.pool.checkedout())
        return None

    monkeypatch.setattr(Airflow, "wait", wait)
    assert admin.call("/backup/sync?wait=true").status_code == 202
    assert held == [0]


def test_a_sync_of_all_starts_nothing_where_one_of_its_dags_may_not_be_started(
    past: Past, admin: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    declare(tmp_path / "services.yaml", {"customer": {}, "order": {"airflow": {"schedule": "@hourly"}}})
    store_dags()
    may = get_auth_manager().is_authorized_dag

    def is_authorized_dag(*, details: Any = None, **kwargs: Any) -> bool:
        denied = kwargs["method"] == "POST" and details is not None and details.id == "backup_sync_hourly"
        return not denied and bool(may(details=details, **kwargs))

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", is_authorized_dag)
    answer = admin.call("/backup/sync")
    assert answer.status_code == 403
    assert "backup_sync_hourly" in answer.json()["Message"]
    assert runs() == []

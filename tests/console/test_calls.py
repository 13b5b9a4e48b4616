"""The routes for programs: what they answer, and what they start."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.console.conftest import Browser
from tests.console.past import NOW, Past, result
from tests.console.test_access import runs

pytestmark = pytest.mark.airflow
HOUR = timedelta(hours=1)
TOKEN = "a-token-for-what-watches"


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__WATCH_TOKEN", TOKEN)
    return {"Authorization": f"Bearer {TOKEN}"}


def night(past: Past, at: Any, **order: Any) -> None:
    told = result("order", at, **order)
    results = [
        ("customer", result("customer", at), "success"),
        ("order", told, "success" if told.success else "failed"),
    ]
    past.run("backup_sync", at, results, state="success" if told.success else "failed")
    past.write()


def metrics(browser: Browser, **headers: Any) -> dict[tuple[str, str, str], float]:
    """(name, service, the other label's value) → value."""
    answer = browser.client.get(
        "/backup/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0", **headers}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            other = "".join(value for name, value in sample.labels.items() if name != "service")
            found[sample.name, sample.labels["service"], other] = sample.value
    return found


@pytest.mark.parametrize(
    ("body", "conf"),
    [
        (None, {"force": False}),
        ({}, {"force": False}),
        ({"service": "all"}, {"force": False}),
        ({"service": "customer", "forceFullSync": True}, {"force": True, "service": "customer"}),
        ({"service": "customer", "force": True}, {"force": True, "service": "customer"}),
    ],
)
def test_sync_takes_what_the_http_service_took(past: Past, admin: Browser, body: Any, conf: Any) -> None:
    answer = admin.call("/backup/sync", json=body) if body is not None else admin.call("/backup/sync")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["Success"], told["Message"], told["Results"]) == (True, "started 1 run", [])
    assert told["Runs"][0]["DagId"] == "backup_sync"
    assert runs() == [("backup_sync", conf, "an ADMIN")]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/backup/sync", {"servcie": "customer"}, 400, "unknown setting servcie"),
        ("/backup/sync", {"service": ["customer"]}, 400, "the body has to be like"),
        ("/backup/sync", {"service": "customer", "force": "yes"}, 400, "the body has to be like"),
        ("/backup/sync", {"service": "nobody"}, 404, "unknown service nobody"),
        ("/backup/sync/nobody", None, 404, "unknown service nobody"),
        ("/backup/sync/customer?force=perhaps", None, 422, "force"),
        ("/backup/sync?wait=true&seconds=1e9", None, 422, "seconds"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_starts_nothing(
    past: Past, admin: Browser, path: str, body: Any, status: int, said: str
) -> None:
    answer = admin.call(path, json=body) if body else admin.call(path)
    assert answer.status_code == status
    assert said in answer.json()["Message"]
    assert answer.json()["Success"] is False
    assert runs() == []


def test_a_body_that_is_no_json_is_not_repeated(past: Past, admin: Browser) -> None:
    answer = admin.call("/backup/sync", content=b"password=hunter2", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


def ended(monkeypatch: pytest.MonkeyPatch, state: str | None, summary: Any) -> None:
    """Let every run end so, without one."""
    from backup_sync.console.actions import Airflow

    async def wait(*_: Any) -> str | None:
        await asyncio.sleep(0)
        return state

    async def returned(*_: Any) -> Any:
        return summary

    monkeypatch.setattr(Airflow, "wait", wait)
    monkeypatch.setattr(Airflow, "returned", returned)


def test_who_waits_gets_the_summary(past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    good = result("customer", NOW, inserted=3).to_dict()
    ended(monkeypatch, "success", {"Success": True, "Message": "", "Results": [good]})
    answer = admin.call("/backup/sync/customer?wait=true")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["Success"], told["Message"]) == (True, "1 of 1 services completed")
    assert told["Results"][0]["InsertedCount"] == 3


def test_who_waits_for_a_run_that_fails_gets_no_200(
    past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = result("customer", NOW, error="no").to_dict()
    ended(monkeypatch, "failed", {"Success": False, "Message": "", "Results": [bad]})
    answer = admin.call("/backup/sync?wait=true")
    assert answer.status_code == 500
    assert answer.json()["Message"] == "1 of 1 services failed: customer"
    ended(monkeypatch, "failed", None)
    answer = admin.call("/backup/sync?wait=true")
    assert answer.status_code == 500
    assert answer.json()["Success"] is False
    assert "without a summary" in answer.json()["Message"]


def test_waiting_ends_before_the_run_does_where_it_was_told_to(past: Past, admin: Browser) -> None:
    answer = admin.call("/backup/sync?wait=true&seconds=0")
    assert answer.status_code == 202
    assert (answer.json()["Success"], answer.json()["Message"]) == (False, "still running after 0 s")


def test_initialize_says_whether_everything_is_in_place(
    past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert admin.call("/backup/initialize").status_code == 202
    assert runs() == [("backup_initialize", {}, "an ADMIN")]
    ended(monkeypatch, "success", None)
    assert admin.call("/backup/initialize?wait=true").json()["Message"] == "everything is in place"
    ended(monkeypatch, "failed", None)
    assert admin.call("/backup/initialize?wait=true").status_code == 500


def test_health_is_good_as_long_as_every_service_is_fresh(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    night(past, NOW - HOUR)
    answer = nobody.client.get("/backup/health", headers=token)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["Status"], told["Message"]) == ("Healthy", "2 services are fresh")
    assert told["Services"][0]["LastSuccess"] is not None


def test_health_names_what_is_stale_and_forgives_one_failure_within_the_promise(
    past: Past, nobody: Browser, token: dict[str, str]
) -> None:
    night(past, NOW - 25 * HOUR)
    night(past, NOW - HOUR, error="no")
    assert nobody.client.get("/backup/health", headers=token).status_code == 200
    past = Past.empty()
    night(past, NOW - 30 * HOUR)
    night(past, NOW - HOUR, error="no")
    answer = nobody.client.get("/backup/health", headers=token)
    assert answer.status_code == 503
    assert answer.json()["Message"] == "1 of 2 services are stale: order"


def test_health_is_not_good_where_nothing_ever_ran(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    answer = nobody.client.get("/backup/health", headers=token)
    assert (answer.status_code, answer.json()["Message"]) == (503, "2 of 2 services are stale: customer, order")


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
def test_only_the_token_itself_opens_health_and_metrics(
    past: Past, nobody: Browser, token: dict[str, str], given: str
) -> None:
    for path in ("/backup/health", "/backup/metrics"):
        answer = nobody.client.get(path, headers={"Authorization": given} if given else {})
        assert answer.status_code in (401, 403)


def test_the_token_opens_nothing_else(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    for path in ("/backup/", "/backup/service/customer"):
        assert nobody.client.get(path, headers=token).status_code in (401, 403)
    assert nobody.client.post("/backup/sync", headers=token).status_code in (401, 403)


@pytest.mark.parametrize("weak", ["", "short", "with a space in it, but long enough"])
def test_a_token_that_is_none_opens_nothing(
    past: Past, nobody: Browser, weak: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__WATCH_TOKEN", weak)
    assert nobody.client.get("/backup/health", headers={"Authorization": f"Bearer {weak}"}).status_code in (401, 403)


def test_metrics_say_how_each_service_is(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    night(past, NOW - 30 * HOUR)
    told = {
        "inserted": 1,
        "updated": 2,
        "deleted": 3,
        "skipped": 4,
        "withheld": 5,
        "ahead": 6,
        "rejected": 7,
        "request_charge": 8.5,
    }
    content = {"verified_share": 0.25, "verified": {"Drift": {"Count": 1}, "Lag": {"Count": 2}}}
    window = {"restorable_since": NOW - 90 * HOUR, "undo_entries": 11}
    night(past, NOW - HOUR, **told, **content, **window)
    found = metrics(nobody, **token)
    for name, value in {
        "last_success_timestamp_seconds": (NOW - HOUR).timestamp() + 60,
        "last_attempt_timestamp_seconds": (NOW - HOUR).timestamp(),
        "last_attempt_success": 1,
        "last_duration_seconds": 60,
        "fresh_within_seconds": 26 * 3_600,
        "fresh": 1,
        "running": 0,
        "paused": 0,
        "withheld_records": 5,
        "ahead_records": 6,
        "rejected_records": 7,
        "verified_share": 0.25,
        "oldest_restore_point_timestamp_seconds": (NOW - 90 * HOUR).timestamp(),
        "undo_entries": 11,
        "request_charge_units": 8.5,
    }.items():
        assert found[f"backup_sync_{name}", "order", ""] == value, name
    for number, name in enumerate(("inserted", "updated", "deleted", "skipped"), 1):
        assert found["backup_sync_records", "order", name] == number
    assert found["backup_sync_differences", "order", "drift"] == 1
    assert found["backup_sync_differences", "order", "lag"] == 2
    assert found["backup_sync_behind_seconds", "order", ""] == pytest.approx(3_600, abs=120)


def test_a_failed_run_changes_the_attempt_and_not_the_success(
    past: Past, nobody: Browser, token: dict[str, str]
) -> None:
    night(past, NOW - 2 * HOUR, inserted=9)
    night(past, NOW - HOUR, error="no", withheld=3)
    found = metrics(nobody, **token)
    assert found["backup_sync_last_attempt_success", "order", ""] == 0
    assert found["backup_sync_last_success_timestamp_seconds", "order", ""] == (NOW - 2 * HOUR).timestamp() + 60
    assert found["backup_sync_withheld_records", "order", ""] == 3
    assert found["backup_sync_fresh", "order", ""] == 1


def test_what_is_not_known_is_left_out_and_not_called_zero(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    found = metrics(nobody, **token)
    assert found["backup_sync_fresh", "order", ""] == 0
    for name in ("last_success_timestamp_seconds", "behind_seconds", "last_drill_timestamp_seconds", "undo_entries"):
        assert (f"backup_sync_{name}", "order", "") not in found


def test_prometheus_of_old_gets_its_own_text(past: Past, nobody: Browser, token: dict[str, str]) -> None:
    answer = nobody.client.get("/backup/metrics", headers=token)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'backup_sync_fresh{service="order"} 0.0' in answer.text

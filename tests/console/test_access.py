"""Who sees what and who may start what; and what somebody may try who may not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import Browser
from tests.console.past import NOW, Past, declare, result, store_dags

pytestmark = pytest.mark.airflow

PAGES = (
    "/backup/",
    "/backup/service/customer",
    "/backup/service/customer/order/sync",
    "/backup/run?dag_id=backup_sync&run_id=x&service=customer",
    "/backup/health",
    "/backup/metrics",
)
CALLS = ("/backup/sync", "/backup/sync/customer", "/backup/initialize")
ORDER = "/backup/service/customer/order/sync"


def runs() -> list[tuple[str, dict[str, Any], str]]:
    """(DAG, conf, who triggered it) of all runs."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.execute(select(DagRun.dag_id, DagRun.conf, DagRun.triggering_user_name).order_by(DagRun.id))
        return [(row[0], dict(row[1] or {}), row[2]) for row in rows]


def token(page: Any) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PAGES)
def test_who_is_not_logged_in_sees_nothing(past: Past, nobody: Browser, path: str) -> None:
    answer = nobody.get(path)
    assert answer.status_code == 401
    assert "customer" not in answer.text.replace("service/customer", "")


@pytest.mark.parametrize("path", CALLS)
def test_who_is_not_logged_in_starts_nothing(past: Past, nobody: Browser, path: str) -> None:
    assert nobody.call(path).status_code == 401
    assert runs() == []


def test_every_route_asks_who_it_is(past: Past, nobody: Browser) -> None:
    from backup_sync.console.app import make

    tried = 0
    for route in make().routes:
        for method in getattr(route, "methods", None) or ():
            path = "/backup" + re.sub(r"{\w+}", "customer", route.path)
            assert nobody.call(path, method, data={"form_token": "x"}).status_code == 401, path
            tried += 1
    assert tried == len(PAGES) + len(CALLS) + 1


def test_a_wrong_token_is_no_token(past: Past, airflow_app: Any) -> None:
    stranger = Browser(airflow_app, None)
    stranger.token = "x.y.z"
    assert stranger.get("/backup/").status_code in (401, 403)
    assert stranger.call("/backup/sync").status_code in (401, 403)


def test_a_viewer_sees_and_cannot_press(past: Past, viewer: Browser, admin: Browser) -> None:
    page = viewer.get("/backup/service/customer")
    assert page.status_code == 200
    assert "/order/" not in page.text
    assert viewer.get(ORDER).status_code == 403
    for path in CALLS:
        assert viewer.call(path).status_code == 403
    # Not even with a form of somebody who may, or with one that is a viewer's own.
    from backup_sync.console.access import form_token
    from tests.console.conftest import user

    assert viewer.send(ORDER, {"form_token": token(admin.get(ORDER))}).status_code == 403
    assert viewer.send(ORDER, {"form_token": form_token(user("VIEWER"))}).status_code == 403
    assert runs() == []


def test_a_form_starts_the_run_as_the_one_who_sent_it(past: Past, admin: Browser) -> None:
    answer = admin.send(ORDER, {"form_token": token(admin.get(ORDER)), "allow_deletes": "5"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/backup/run?dag_id=backup_sync&run_id=manual__")
    assert runs() == [("backup_sync", {"service": "customer", "allow_deletes": 5}, "an ADMIN")]


def test_a_form_of_somebody_else_starts_nothing(past: Past, admin: Browser) -> None:
    good = token(admin.get(ORDER))
    assert admin.send(ORDER, {}).status_code == 422
    assert admin.send(ORDER, {"form_token": "made-up"}).status_code == 403
    assert admin.send(ORDER, {"form_token": good + "x"}).status_code == 403
    assert admin.send(ORDER, {"form_token": good}, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert admin.send(ORDER, {"form_token": good}, **{"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert runs() == []


def test_a_form_that_is_too_old_starts_nothing(past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.console import access

    good = token(admin.get(ORDER))
    monkeypatch.setattr(access, "FORM_SECONDS", -1)
    assert admin.send(ORDER, {"form_token": good}).status_code == 403
    assert runs() == []


@pytest.mark.parametrize("path", CALLS)
def test_a_cookie_alone_starts_nothing(past: Past, admin: Browser, path: str) -> None:
    """Any page can make a browser send a cookie here."""
    answer = admin.client.post(path, headers={"Cookie": f"_token={admin.token}"})
    assert answer.status_code == 403
    assert runs() == []


def test_a_parameter_that_cannot_be_is_said_in_the_form_and_starts_nothing(past: Past, admin: Browser) -> None:
    answer = admin.send(ORDER, {"form_token": token(admin.get(ORDER)), "allow_deletes": "many"})
    assert answer.status_code == 400
    assert "Allow deletes has to be a whole number" in answer.text
    assert runs() == []


def test_what_airflow_refuses_is_said_in_the_form(past: Past, admin: Browser) -> None:
    path = "/backup/service/customer/order/verify"
    answer = admin.send(path, {"form_token": token(admin.get(path)), "share": "most of it", "against": "source"})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert runs() == []


HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


def test_texts_of_errors_and_names_of_runs_are_shown_and_not_obeyed(past: Past, viewer: Browser) -> None:
    run_id = past.run(
        "backup_sync",
        NOW,
        [
            (
                "customer",
                result("customer", NOW, error=HOSTILE, notice=HOSTILE, mode=HOSTILE, started_by=HOSTILE),
                "failed",
            )
        ],
        state="failed",
        kind=f"manual{HOSTILE}",
    )
    past.write()
    where = {"dag_id": "backup_sync", "run_id": run_id, "service": "customer"}
    for page in (
        viewer.get("/backup/"),
        viewer.get("/backup/service/customer"),
        viewer.get("/backup/run", params=where),
    ):
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "49" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/backup/service/..%2f..%2fetc",
        "/backup/service/%00",
        "/backup/service/" + "x" * 5_000,
        "/backup/service/'%20OR%201=1--",
        "/backup/static/..%2fapp.py",
        "/backup/static/%2e%2e/app.py",
        "/backup/static/../templates/base.html",
        "/backup/run?dag_id=../etc&run_id=x&service=customer",
        "/backup/run?dag_id=somebody_elses&run_id=x&service=customer",
        "/backup/service/customer/order/../../x",
        "/backup/service/customer/order/drop",
    ],
)
def test_a_path_that_is_none_leads_nowhere(past: Past, admin: Browser, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code in (403, 404)
    assert "import" not in answer.text


def test_no_other_site_may_frame_the_pages_or_guess_at_their_types(past: Past, admin: Browser, nobody: Browser) -> None:
    for page in (admin.get("/backup/"), nobody.get("/backup/"), admin.get("/backup/static/console.js")):
        assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "SAMEORIGIN"
        assert page.headers["x-content-type-options"] == "nosniff"


def test_pages_need_nothing_that_their_own_policy_forbids(past: Past, admin: Browser) -> None:
    for path in PAGES[:3]:
        text = admin.get(path).text
        assert not re.search(r"\son\w+=|style=|javascript:|<style|target=", text)
        assert re.findall(r"<script[^>]*>", text) == ['<script src="/backup/static/console.js">']


def test_who_may_not_read_the_dags_sees_no_service(past: Past, admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    monkeypatch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda **_: {"backup_verify"})
    assert "customer" not in admin.get("/backup/").text
    assert admin.get("/backup/service/customer").status_code == 404
    assert admin.call("/backup/sync/customer").status_code == 404
    assert runs() == []


def test_a_service_with_its_own_schedule_is_started_in_its_own_dag(past: Past, admin: Browser, tmp_path: Path) -> None:
    declare(tmp_path / "services.yaml", {"customer": {}, "order": {"airflow": {"schedule": "@hourly"}}})
    store_dags()
    assert admin.call("/backup/sync").status_code == 202
    assert admin.call("/backup/sync/order?force=true").status_code == 202
    assert [(dag, conf) for dag, conf, _ in runs()] == [
        ("backup_sync", {"force": False}),
        ("backup_sync_hourly", {"force": False}),
        ("backup_sync_hourly", {"force": True, "service": "order"}),
    ]

"""What Airflow is given by the plugin, and what that costs the processes that have no use for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.console.conftest import Browser
from tests.console.past import Past

pytestmark = pytest.mark.airflow


def test_airflow_shows_the_page_in_its_menu(past: Past, admin: Browser) -> None:
    answer = admin.call("/api/v2/plugins", "GET")
    assert answer.status_code == 200
    (found,) = [one for one in answer.json()["plugins"] if one["name"] == "backup_sync"]
    (view,) = found["external_views"]
    assert (view["href"], view["url_route"], view["destination"]) == ("/backup/", "backups", "nav")
    assert found["operator_extra_links"]


def test_airflow_loads_the_plugin_and_no_other_module_of_the_folder(past: Past, admin: Browser) -> None:
    answer = admin.call("/api/v2/plugins", "GET")
    assert [one["name"] for one in answer.json()["plugins"] if "backup" in one["source"]] == ["backup_sync"]
    errors = admin.call("/api/v2/plugins/importErrors", "GET")
    assert errors.json()["import_errors"] == []


def test_a_process_that_shows_no_page_does_not_pay_for_it() -> None:
    code = (
        "import sys, json; import backup_sync.plugin;"
        "print(json.dumps([n for n in sys.modules if n.startswith(('backup_sync', 'fastapi', 'jinja2', 'prometheus'))]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {name for name in loaded if name.startswith("backup_sync.")} == {"backup_sync.links", "backup_sync.plugin"}
    assert not {name for name in loaded if name.startswith("prometheus")}


def test_the_link_of_a_task_leads_to_the_page_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from backup_sync.links import ConsoleLink

    key = SimpleNamespace(dag_id="backup_sync", run_id="manual__2026-01-01T00:00:00+00:00")
    operator = SimpleNamespace(service="customer")
    link = ConsoleLink().get_link(operator, ti_key=key)
    assert link == "/backup/run?dag_id=backup_sync&run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00&service=customer"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/data/")
    assert ConsoleLink().get_link(operator, ti_key=key).startswith("/data/backup/run?")

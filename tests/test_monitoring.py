"""The alerts and the dashboard ask for metrics that there are, and the alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backup_sync.console import metrics
from backup_sync.console.board import Attempt, Event, Known
from local.environment import ROOT

FOLDER = ROOT / "docs" / "monitoring"
RULES = yaml.safe_load((FOLDER / "backup_sync.rules.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def offered() -> dict[str, set[str]]:
    """Metric → its labels, of a service of which everything is known."""
    told = {
        "UndoEntries": 1,
        "RequestCharge": 1.0,
        "RestorableSince": "2026-01-01T00:00:00Z",
        "Verified": {"Records": 1},
    }
    event = Event(NOW, {"Seconds": 1.0}, "backup_sync", "run")
    attempt = Attempt("customer", "backup_sync", "run", "succeeded", NOW, NOW, told)
    known = Known("customer", "backup_sync", timedelta(hours=26), False, event, attempt, None, None, event)
    body, _ = metrics.text([known], NOW, "")
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bbackup_sync_\w+", expression))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_there_are_and_says_what_is_wrong(rule: dict) -> None:
    assert asked(rule["expr"])
    assert asked(rule["expr"]) <= set(offered())
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_and_labels_that_there_are(panel: dict) -> None:
    known = offered()
    for target in panel["targets"]:
        names = asked(target["expr"])
        assert names
        assert names <= set(known)
        labels = {label for name in names for label in known[name]}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)\"", target["expr"])) <= labels


def test_panels_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_page_lists_every_metric_and_no_other() -> None:
    page = (ROOT / "docs" / "operate.md").read_text()
    rows = re.findall(r"^\| (`backup_sync_.*?) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(offered())


@pytest.mark.parametrize(
    "command",
    [["check", "rules", "backup_sync.rules.yml"], ["test", "rules", "backup_sync.rules.test.yml"]],
    ids=" ".join,
)
def test_prometheus_itself_takes_the_alerts_and_fires_them_as_their_tests_say(command: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, which comes with Prometheus")
    done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load((FOLDER / "backup_sync.rules.test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    calm = {one["alertname"] for test in tests for one in test["alert_rule_test"] if not one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in RULES}
    assert calm >= fired - {"BackupDeletesWithheld", "BackupRecordsRejected"}


def test_the_example_takes_its_token_from_a_file_and_finds_the_rules() -> None:
    example = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (job,) = example["scrape_configs"]
    assert job["metrics_path"] == "/backup/metrics"
    assert set(job["authorization"]) == {"credentials_file"}
    assert all((FOLDER / Path(name)).is_file() for name in example["rule_files"])

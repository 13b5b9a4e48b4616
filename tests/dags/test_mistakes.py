"""What is wrong with the services file, the settings or Airflow's own: a task that fails, and never a DAG that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dags.conftest import DAGS, World

pytestmark = pytest.mark.airflow

ALL_DAGS = [
    "backup_drill",
    "backup_hold",
    "backup_initialize",
    "backup_plan",
    "backup_restore",
    "backup_sync",
    "backup_verify",
]


def add_to_services(world: World, tmp_path: Path, more: str) -> None:
    path = tmp_path / "services.yaml"
    path.write_text((DAGS / "backup_sync.yaml").read_text() + more)
    world.monkeypatch.setenv("BACKUP_SYNC_CONFIG", str(path))


def test_a_service_that_cannot_be_one_fails_with_the_sentence_and_the_others_run(world: World, tmp_path):
    add_to_services(world, tmp_path, "\n  neue kunden: {source: a}\n  summary: {}\n")
    outcome = world.run()
    assert outcome.state == "failed"
    assert outcome.counts("customer") == outcome.counts("order") == (20, 0, 0, 0)
    assert outcome.summary["Message"] == "2 of 4 services failed: neue kunden, summary"
    assert "service 'neue kunden' may hold only ASCII letters" in outcome.said
    assert outcome.tasks["neue_kunden.refused"] == "failed"
    assert world.run("backup_plan").tasks["summary.refused"] == "failed"
    assert world.run(conf={"service": "order"}).state == "success"


def test_a_service_that_is_declared_twice_fails_and_is_not_backed_up_as_either(world: World, tmp_path):
    path = tmp_path / "services.yaml"
    text = (DAGS / "backup_sync.yaml").read_text()
    path.write_text(text + text[text.index("  customer:") : text.index("  order:")].replace("Customers", "Others"))
    world.monkeypatch.setenv("BACKUP_SYNC_CONFIG", str(path))
    outcome = world.run()
    assert outcome.state == "failed"
    assert "service 'customer' is declared in line" in outcome.said
    assert not world.places.customer_backup.exists()
    assert outcome.counts("order") == (20, 0, 0, 0)


@pytest.mark.parametrize("data", [b"services: [", b"services: {a: \xe9}", None])
def test_a_file_that_cannot_be_read_fails_every_dag_and_takes_none_away(world: World, tmp_path, data):
    path = tmp_path / "services.yaml"
    if data is not None:
        path.write_bytes(data)
    world.monkeypatch.setenv("BACKUP_SYNC_CONFIG", str(path))
    for dag_id in ("backup_initialize", "backup_plan", "backup_sync"):
        outcome = world.run(dag_id)
        assert outcome.state == "failed"
        assert str(path) in outcome.reasons["services_file.refused"]


def test_an_option_that_cannot_be_read_fails_its_own_task_and_its_default_stands_in(world: World):
    world.monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__SCHEDULE", "every night")
    world.monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__RETRIES", "-1")
    outcome = world.run()
    assert outcome.state == "failed"
    assert outcome.counts("customer") == (20, 0, 0, 0)
    assert outcome.tasks["schedule.refused"] == outcome.tasks["retries.refused"] == "failed"
    assert "[backup_sync] retries has to be a whole number, 0 or more; until then it counts as 2" in outcome.log
    assert "See docs/configure.md" in outcome.log


@pytest.mark.parametrize("conf", [{"dry_run": True}, {"service": "order"}, {"allow_deletes": 3}, {"force": True}])
def test_where_airflow_passes_no_conf_on_nothing_is_done(world: World, conf):
    world.run()
    world.customers.delete([1])
    world.customers.change([2])
    world.monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    rows = world.rows(world.places.customer_backup, "SELECT * FROM Customers")
    outcome = world.run(conf=conf)
    assert outcome.state == "failed"
    assert "dag_run_conf_overrides_params" in outcome.log
    assert world.rows(world.places.customer_backup, "SELECT * FROM Customers") == rows
    if "dry_run" in conf:
        assert len(world.customer_history()) == 1


def test_the_dags_are_there_though_their_folder_comes_first_on_the_import_path():
    """A file of it that is called as the package would be imported in the package's place."""
    code = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({str(DAGS)!r})\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "print(*sorted(bag.dags))\n"
    )
    path = os.pathsep.join([str(DAGS), str(DAGS.parent / "plugins")])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-len(ALL_DAGS) :] == ALL_DAGS

"""One services file makes one DAG for each schedule, and each service is run as its entry says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

from backup_sync.dags import drill, hold, initialize, plan, sync, verify
from backup_sync.operators import ServiceOperator
from tests.dags.conftest import DAGS

SERVICES = """
services:
  customer: {source: a, backup: b, table: app.A, changed: {Version: higher}, airflow: {owner: crm, tags: [crm], pool: sql}}
  invoice: {source: a, backup: b, table: app.B, changed: {Version: higher}, airflow: {schedule: "0 0 * * *", retries: 7}}
  order:
    {source: a, backup: b, table: app.C, changed: {Version: higher}, drill: scratch,
     airflow: {schedule: "@hourly", dagrun_timeout: 1800, priority_weight: 9, execution_timeout: 600}}
  cart: {source: a, backup: b, table: app.D, changed: {Version: higher}, airflow: {schedule: "0 * * * *"}}
  wrong: {source: a, backup: b, table: app.E, changed: {Version: higher}, airflow: {schedule: often}}
"""


@pytest.fixture
def dag_file(tmp_path: Path) -> str:
    (tmp_path / "backup_sync.yaml").write_text(SERVICES)
    return str(tmp_path / "backup_sync_dag.py")


def services(dag: DAG) -> list[str]:
    return list(dag.params.get_param("service").schema["enum"][1:])


def test_services_of_one_schedule_share_a_dag_and_the_usual_one_keeps_its_name(dag_file: str) -> None:
    dags = sync.build(dag_file)
    assert {name: services(dag) for name, dag in dags.items()} == {
        "backup_sync": ["customer", "invoice"],
        "backup_sync_hourly": ["order", "cart"],
    }
    assert (dags["backup_sync"].schedule, dags["backup_sync_hourly"].schedule) == ("@daily", "@hourly")
    assert dags["backup_sync_hourly"].get_task("order.sync").schedule == "0 * * * *"
    assert dags["backup_sync_hourly"].get_task("summary").schedule == "0 * * * *"


def test_each_service_is_run_as_it_says_and_otherwise_as_the_settings_do(dag_file: str) -> None:
    dags = sync.build(dag_file)
    customer, invoice = (dags["backup_sync"].get_task(f"{name}.sync") for name in ("customer", "invoice"))
    order = dags["backup_sync_hourly"].get_task("order.sync")
    assert (customer.owner, customer.pool, customer.retries) == ("crm", "sql", 2)
    assert (invoice.owner, invoice.pool, invoice.retries) == ("airflow", "default_pool", 7)
    assert (order.priority_weight, order.execution_timeout) == (9, timedelta(minutes=10))
    assert dags["backup_sync_hourly"].dagrun_timeout == timedelta(minutes=30)
    assert dags["backup_sync"].dagrun_timeout is None
    assert dags["backup_sync"].tags == {"backup", "customer", "invoice", "crm"}


def test_each_service_knows_the_dag_that_a_person_has_to_trigger(dag_file: str) -> None:
    found = {
        task.service: task.sync_dag
        for builder in (sync, verify, plan)
        for dag in builder.build(dag_file).values()
        for task in dag.tasks
        if isinstance(task, ServiceOperator)
    }
    assert found == {
        "customer": "backup_sync",
        "invoice": "backup_sync",
        "order": "backup_sync_hourly",
        "cart": "backup_sync_hourly",
    }


def test_a_mistake_is_a_task_that_fails_in_one_dag_only(dag_file: str) -> None:
    refused = {name: [task for task in dag.task_ids if "refused" in task] for name, dag in sync.build(dag_file).items()}
    assert refused == {"backup_sync": ["wrong.refused"], "backup_sync_hourly": []}


def test_switched_off_nothing_is_scheduled(dag_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ENABLED", "False")
    dags = sync.build(dag_file) | drill.build(dag_file)
    assert {name: dag.schedule for name, dag in dags.items()} == {
        "backup_sync": None,
        "backup_sync_hourly": None,
        "backup_drill": None,
    }


def test_another_usual_schedule_moves_services_to_the_usual_dag(dag_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__SCHEDULE", "@hourly")
    assert {name: services(dag) for name, dag in sync.build(dag_file).items()} == {
        "backup_sync": ["customer", "order", "cart"],
        "backup_sync_daily": ["invoice"],
    }


def test_each_task_says_what_it_does_and_for_whom(dag_file: str) -> None:
    builders = (sync, drill, plan, verify, hold, initialize)
    dags = [dag for builder in builders for dag in builder.build(dag_file).values()]
    tasks = [task for dag in dags for task in dag.tasks if isinstance(task, ServiceOperator)]
    assert len({type(task) for task in tasks}) == 7
    assert not [task.task_id for task in tasks if not task.doc_md]
    assert {task.task_display_name for task in tasks if task.service == "order"} == {
        f"{verb} order" for verb in ("initialize", "sync", "record", "drill", "plan", "verify", "hold")
    }


def test_a_deadline_is_set_only_where_somebody_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.dags.sync import build

    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__DEADLINE", "60")
    assert not build(str(DAGS / "backup_sync_dag.py"))["backup_sync"].deadline
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", "tests.test_notify.Told")
    (found,) = build(str(DAGS / "backup_sync_dag.py"))["backup_sync"].deadline
    assert found.interval == timedelta(seconds=60)
    assert found.callback.path == "backup_sync.operators.notify.late"
    assert not found.callback.kwargs  # they are kept with the DAG, where no token may be

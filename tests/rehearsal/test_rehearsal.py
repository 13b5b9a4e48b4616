"""The compose stack is brought up as its file says, seeded, unpaused and triggered at once, and a log is read back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from local.airflow_processes import Api
from tests.conformance.backends import MssqlBackend
from tests.rehearsal.stack import SQL_SERVERS, Stack, missing

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(not os.environ.get("BACKUP_SYNC_REHEARSAL"), reason="takes minutes: make rehearsal"),
    pytest.mark.skipif(bool(missing()), reason=f"a rehearsal needs {missing()}"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("stack"))
    try:
        with found.servers():
            yield found
    finally:
        for variable, name in zip(SQL_SERVERS.values(), (found.database, f"{found.database}_Backup"), strict=True):
            with closing(MssqlBackend.connect(os.environ[variable], "master")) as server, server.cursor() as cursor:
                cursor.execute(f"IF DB_ID('{name}') IS NOT NULL DROP DATABASE [{name}]")


def ended(api: Api, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 240
    while True:
        run: dict[str, Any] = api.get(f"dags/backup_sync/dagRuns/{run_id}")
        if run["state"] in ("success", "failed"):
            return run
        assert time.monotonic() < deadline, run
        time.sleep(1)


def results(api: Api, run_id: str) -> dict[str, dict[str, Any]]:
    """The results in a run's summary, by service."""
    path = f"dags/backup_sync/dagRuns/{run_id}/taskInstances/summary/xcomEntries/return_value"
    value = api.get(path, deserialize=True)["value"]
    return {result["ServiceName"]: result for result in value["Results"]}


def test_the_stack_comes_up_is_seeded_and_makes_its_first_backups(stack: Stack) -> None:
    # Each `up` runs the one-shots again.
    for _ in range(2):
        stack.run("airflow-init")
    assert "100 customers" in stack.run("seed")
    assert "_source: " not in stack.run("seed")

    stack.start_airflow()
    api = Api(stack.ports["airflow-apiserver"], "admin", stack.values["AIRFLOW_ADMIN_PASSWORD"])
    with closing(api):
        # Two first runs at once: the one that somebody triggers, and the one that unpausing starts.
        manual = api.post("dags/backup_sync/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
        api.patch("dags/backup_sync", {"is_paused": False})
        assert ended(api, manual)["state"] == "success", stack.log("airflow-scheduler")
        runs = {run["dag_run_id"] for run in api.get("dags/backup_sync/dagRuns")["dag_runs"]}
        assert len(runs) == 2
        assert {ended(api, run)["state"] for run in runs} == {"success"}
        written = {
            service: sum(results(api, run)[service]["InsertedCount"] for run in runs)
            for service in ("customer", "order")
        }
        assert written == {"customer": 100, "order": 100}
        assert read_log(stack, manual, "summary"), "no log in Azurite"
        assert "customer" in told(api, manual, "summary")


def told(api: Api, run_id: str, task: str) -> str:
    """The log of a task as the UI shows it."""
    path = f"dags/backup_sync/dagRuns/{run_id}/taskInstances/{task}/logs/1"
    return json.dumps(api.get(path))


def read_log(stack: Stack, run_id: str, task: str) -> str:
    """The log of a task as it lies in the blob storage."""
    from azure.storage.blob import ContainerClient

    connection = json.loads(stack.environment("airflow-scheduler")["AIRFLOW_CONN_AZURE_LOGS"])
    name = stack.services["airflow-scheduler"]["environment"][
        "AIRFLOW__AZURE_REMOTE_LOGGING__REMOTE_WASB_LOG_CONTAINER"
    ]
    with ContainerClient.from_connection_string(connection["extra"]["connection_string"], name) as container:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for blob in container.list_blobs():
                if f"run_id={run_id}/task_id={task}/" in blob.name:
                    return container.download_blob(blob.name).readall().decode()
            time.sleep(1)
    return ""

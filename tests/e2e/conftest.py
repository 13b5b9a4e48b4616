"""One Airflow for the whole session: real processes on fresh local data, spoken to over the REST API alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import yaml
from azure.cosmos import ContainerProxy, CosmosClient

from local.airflow_processes import AirflowProcesses, Api, free_port, passwords, server_environment, tail
from local.cosmos import EmbeddedCosmos
from local.environment import ROOT, Places, airflow_environment, connections, cosmos_servers

CUSTOMERS = ORDERS = 30
SYNC, INITIALIZE, RESTORE = "backup_sync", "backup_initialize", "backup_restore"
USERS = {"admin": "admin", "viewer": "viewer"}
LOCK_WAIT_SECONDS = 5
START_SECONDS, RUN_SECONDS = 180.0, 180.0
SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts")


class Stage:
    """The running installation and what tests ask of it."""

    def __init__(
        self,
        places: Places,
        airflow: AirflowProcesses,
        servers: tuple[EmbeddedCosmos, EmbeddedCosmos],
        clients: tuple[CosmosClient, CosmosClient],
        users: tuple[Api, Api],
    ) -> None:
        self.places, self.airflow = places, airflow
        self.source, self.backup = servers
        self._clients = clients
        self.api, self.viewer = users

    # runs

    def trigger(self, conf: dict[str, Any] | None = None, dag: str = SYNC) -> str:
        """Trigger a run as the admin; its run id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.api.post(f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def run(self, conf: dict[str, Any] | None = None, dag: str = SYNC, ends_as: str = "success") -> str:
        """Trigger a run and see it end as it should; its run id."""
        run_id = self.trigger(conf, dag)
        self.finish(run_id, dag, ends_as)
        return run_id

    def finish(self, run_id: str, dag: str = SYNC, ends_as: str = "success") -> None:
        """Wait for the end of a run; fails the test, with the logs, unless it is the expected one."""

        def ended() -> bool:
            return self.state(run_id, dag) in ("success", "failed")

        self.wait(ended, f"run {run_id} to end", run_id, dag)
        state = self.state(run_id, dag)
        if state != ends_as:
            pytest.fail(f"run {run_id} ended as {state} and not as {ends_as}\n{self.explain(run_id, dag)}")

    def wait(self, condition: Callable[[], bool], what: str, run_id: str, dag: str = SYNC) -> None:
        deadline = time.monotonic() + RUN_SECONDS
        while not condition():
            self.airflow.check()
            if time.monotonic() > deadline:
                pytest.fail(f"waited {RUN_SECONDS:.0f} s for {what}\n{self.explain(run_id, dag)}")
            time.sleep(0.4)

    def clear(self, run_id: str, only_failed: bool) -> int:
        """Clear the tasks of a run, so that they run again; how many."""
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": only_failed}
        return int(self.api.post(f"dags/{SYNC}/clearTaskInstances", body)["total_entries"])

    def state(self, run_id: str, dag: str = SYNC) -> str:
        return str(self.api.get(_run(dag, run_id))["state"])

    def task(self, run_id: str, task_id: str, dag: str = SYNC) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"{_run(dag, run_id)}/taskInstances/{task_id}")
        return found

    def states(self, run_id: str, dag: str = SYNC) -> dict[str, str]:
        """State by task id."""
        found = self.api.get(f"{_run(dag, run_id)}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def tries(self, run_id: str, task_id: str) -> list[str]:
        """The states of a task's attempts, in order."""
        found = self.api.get(f"{_run(SYNC, run_id)}/taskInstances/{task_id}/tries")["task_instances"]
        return [task["state"] for task in sorted(found, key=lambda task: task["try_number"])]

    def xcom(self, run_id: str, task_id: str = "summary", dag: str = SYNC) -> Any:
        """What a task returned."""
        path = f"{_run(dag, run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.api.get(path, deserialize=True)["value"]

    def results(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The results in a run's summary, by service."""
        return {result["ServiceName"]: result for result in self.xcom(run_id)["Results"]}

    def log(self, run_id: str, task_id: str, attempt: int, dag: str = SYNC) -> str:
        """A task's log as the API shows it."""
        path = f"{_run(dag, run_id)}/taskInstances/{task_id}/logs/{attempt}"
        return self.api.send("GET", path, full_content=True).text

    def explain(self, run_id: str, dag: str = SYNC) -> str:
        """States of the tasks, the ends of the logs of those that did not go well, and of the scheduler's."""
        states = self.states(run_id, dag)
        parts = [f"{task}: {state}" for task, state in states.items()]
        for task, state in states.items():
            if state not in ("success", "skipped", "upstream_failed"):
                folder = self.places.airflow / "logs" / f"dag_id={dag}" / f"run_id={run_id}" / f"task_id={task}"
                parts += [f"{task}\n{tail(log)}" for log in sorted(folder.glob("*.log"))]
        return "\n".join([*parts, self.airflow.tail("scheduler")])

    # what the databases hold, read without the code under test

    def customers(self, path: Path) -> list[tuple[Any, ...]]:
        """All customers of a database, in the columns of the source."""
        names = ", ".join(row[1] for row in self.query(self.places.customer_source, "PRAGMA table_info(Customers)"))
        return self.query(path, f"SELECT {names} FROM Customers ORDER BY Id")

    def query(self, path: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            return db.execute(sql, params).fetchall()

    def orders(self, role: str) -> list[dict[str, Any]]:
        """All orders of the ``source`` or the ``backup``, without what Cosmos adds to them."""
        documents = self.container(role).read_all_items()
        return sorted(
            (
                {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}
                for document in documents
            ),
            key=lambda document: str(document["id"]),
        )

    def container(self, role: str, name: str = "orders") -> ContainerProxy:
        number, database = {"source": (0, "orderdb"), "backup": (1, "orderdb-backup")}[role]
        return self._clients[number].get_database_client(database).get_container_client(name)

    def history(self, run_id: str) -> dict[str, list[dict[str, Any]]]:
        """A run's records in the history of both backups, by service, in the names of the table's columns."""
        names = [row[1] for row in self.query(self.places.customer_backup, "PRAGMA table_info(SyncHistory)")]
        rows = self.query(self.places.customer_backup, "SELECT * FROM SyncHistory WHERE RunId = ?", run_id)
        documents = self.container("backup", "sync-history").query_items(
            "SELECT * FROM c WHERE c.runId = @run",
            parameters=[{"name": "@run", "value": run_id}],
            enable_cross_partition_query=True,
        )
        fields = {"id": "SyncId"}
        return {
            "customer": [dict(zip(names, row, strict=True)) for row in rows],
            "order": [
                {fields.get(name, name[0].upper() + name[1:]): value for name, value in found.items()}
                for found in documents
            ],
        }

    def backups(self) -> tuple[Any, ...]:
        """Everything that is in the two backups, with the moments of the last writes."""
        return (
            self.query(self.places.customer_backup, "SELECT * FROM Customers ORDER BY Id"),
            self.query(self.places.customer_backup, "SELECT * FROM SyncHistory ORDER BY SyncId"),
            sorted(map(str, self.container("backup").read_all_items())),
            sorted(map(str, self.container("backup", "sync-history").read_all_items())),
        )

    def hold_lease(self) -> None:
        """Lock the backup of ``order`` as another run would."""
        now = datetime.now(timezone.utc)
        lease = {"id": "lease", "serviceName": "lease:orders", "holder": "another-run", "token": "of another run"}
        moments = {"since": now.isoformat(), "until": (now + timedelta(hours=1)).isoformat(), "seconds": 3600}
        self.container("backup", "sync-history").create_item(lease | moments)

    def give_back_lease(self) -> None:
        self.container("backup", "sync-history").delete_item("lease", partition_key="lease:orders")

    def console(self, method: str, path: str, **query: Any) -> Any:
        """What the console answers an admin's program."""
        return self.api.client.request(method, f"/backup{path}", params=query)


def _run(dag: str, run_id: str) -> str:
    return f"dags/{dag}/dagRuns/{quote(run_id, safe='')}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Airflow on sample data in a folder of its own. Checks in the end that nothing keeps running."""
    places = Places(tmp_path_factory.mktemp("local"))
    others = set(psutil.Process().children(recursive=True))
    with ExitStack() as stack:
        servers = stack.enter_context(cosmos_servers(places, ports=(0, 0)))
        environment = _environment(places, servers)
        _prepare(places, environment)
        airflow = stack.enter_context(AirflowProcesses(environment, places.airflow / "output"))
        airflow.wait_until_healthy(START_SECONDS)
        clients = [stack.enter_context(CosmosClient(server.endpoint, server.key)) for server in servers]
        users = [Api(airflow.port, user, password) for user, password in passwords(places, USERS).items()]
        for user in users:
            stack.callback(user.close)
        found = Stage(places, airflow, servers, (clients[0], clients[1]), (users[0], users[1]))
        _wait_for_dags(found)
        yield found
        started = set(psutil.Process().children(recursive=True)) - others
        assert len(started) > len(airflow.sessions)
    orphans = [process for process in started if _alive(process)]
    assert not orphans, f"still running after the end: {orphans}"


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _environment(places: Places, servers: tuple[EmbeddedCosmos, EmbeddedCosmos]) -> dict[str, str]:
    """What Airflow's processes see: nothing that this machine or another test may have set for Airflow."""
    config = places.base / "backup_sync.yaml"
    declared = yaml.safe_load((ROOT / "dags" / "backup_sync.yaml").read_text(encoding="utf-8"))
    declared["services"]["order"]["lock_wait_seconds"] = LOCK_WAIT_SECONDS
    config.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BACKUP_SYNC"))}
    return {
        **inherited,
        **airflow_environment(places),
        **connections(places, servers[0].endpoint, servers[1].endpoint, servers[0].key),
        **server_environment(places, free_port(), USERS),
        "AIRFLOW__BACKUP_SYNC__RETRIES": "2",
        "AIRFLOW__BACKUP_SYNC__RETRY_DELAY": "1",
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",  # the DAG files do not change meanwhile
        "BACKUP_SYNC_CONFIG": str(config),
    }


def _prepare(places: Places, environment: dict[str, str]) -> None:
    """Create Airflow's metadata database and seed the sources, side by side."""
    commands = {
        "migrate": ["airflow", "db", "migrate"],
        "seed": ["local.seed", "--customers", str(CUSTOMERS), "--orders", str(ORDERS)],
    }
    running = {}
    for name, command in commands.items():
        with (places.base / f"{name}.log").open("wb") as out:
            running[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=out, stderr=out, cwd=ROOT, env=environment
            )
    try:
        for name, process in running.items():
            code = process.wait(START_SECONDS)
            assert code == 0, f"{name} ended with {code}\n{tail(places.base / f'{name}.log')}"
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _wait_for_dags(stage: Stage) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not all(stage.api.send("GET", f"dags/{dag}").is_success for dag in (SYNC, INITIALIZE)):
        stage.airflow.check()
        errors = stage.api.get("importErrors")["import_errors"]
        if errors or time.monotonic() > deadline:
            texts = [error["stack_trace"] for error in errors]
            pytest.fail("\n".join(["the DAGs did not appear", *texts, stage.airflow.tail("dag-processor")]))
        time.sleep(0.5)


@pytest.fixture(scope="module")
def initialized(stage: Stage) -> str:
    """The first run of backup_initialize."""
    stage.api.patch(f"dags/{INITIALIZE}", {"is_paused": False})
    return stage.run(dag=INITIALIZE)


@pytest.fixture(scope="module")
def night(stage: Stage, initialized: str) -> str:
    """The first run of backup_sync: the scheduled one of last midnight, which starts when the DAG is switched on."""
    stage.api.patch(f"dags/{SYNC}", {"is_paused": False})
    deadline = time.monotonic() + RUN_SECONDS
    while not (runs := stage.api.get(f"dags/{SYNC}/dagRuns", run_type="scheduled")["dag_runs"]):
        stage.airflow.check()
        if time.monotonic() > deadline:
            pytest.fail(f"no scheduled run came\n{stage.airflow.tail('scheduler')}")
        time.sleep(0.5)
    run_id = str(runs[0]["dag_run_id"])
    stage.finish(run_id)
    return run_id

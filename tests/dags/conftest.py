"""The real DAGs run in this process, on SQLite files and two embedded Cosmos servers."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from local.environment import Places, connections, cosmos_servers

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="session")
def metadata() -> None:
    """Airflow's own tables, in the throw-away home of tests/conftest.py."""
    from airflow.utils.db import initdb

    initdb()


@dataclass
class Outcome:
    """What a run came to: its state, the tasks' states, what the tasks returned, the reason of those that did not succeed,
    and what they logged."""

    state: str
    tasks: dict[str, str]
    returned: dict[str, Any]
    reasons: dict[str, str]
    log: str

    @property
    def said(self) -> str:
        """The log in one line, for sentences are broken where the length of a path in them wants it."""
        return " ".join(self.log.split())

    @property
    def summary(self) -> dict[str, Any]:
        return dict(self.returned["summary"])

    def counts(self, service: str) -> tuple[int, int, int, int]:
        result = next(r for r in self.summary["Results"] if r["ServiceName"] == service)
        return tuple(result[f"{name}Count"] for name in ("Inserted", "Updated", "Deleted", "Skipped"))  # type: ignore[return-value]


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class World:
    """Sources and backups, seeded with twenty of each, and a way to run a DAG on them."""

    places: Places
    cosmos: tuple[Any, Any]
    monkeypatch: pytest.MonkeyPatch
    config: Path | None = None
    customers: Any = field(init=False)
    orders: Any = field(init=False)

    def seed(self, count: int = 20) -> None:
        from local.seed import Customers, Orders

        self.customers, self.orders = Customers(), Orders()
        self.customers.create()
        self.customers.insert(range(1, count + 1))
        self.orders.create()
        self.orders.insert(range(1, count + 1), count)

    def run(self, dag_id: str = "backup_sync", conf: dict[str, Any] | None = None) -> Outcome:
        from airflow.dag_processing.dagbag import DagBag
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        from backup_sync.operators import FAILURE

        bag = DagBag(str(DAGS))
        assert not bag.import_errors
        collector = _Collector()
        logging.getLogger().addHandler(collector)
        try:
            run = bag.dags[dag_id].test(logical_date=datetime.now(timezone.utc), run_conf=conf or {})
        finally:
            logging.getLogger().removeHandler(collector)
        with create_session() as session:
            found = session.scalars(XComModel.get_many(run_id=run.run_id, dag_ids=dag_id)).all()
            returned = {row.task_id: XComModel.deserialize_value(row) for row in found if row.key == "return_value"}
            reasons = {
                row.task_id: left["ErrorMessage"] or left["Notice"]
                for row in found
                if row.key == FAILURE
                for left in [XComModel.deserialize_value(row)]
            }
            tasks = {ti.task_id: str(ti.state) for ti in run.get_task_instances(session=session)}
        return Outcome(str(run.state), tasks, returned, reasons, "\n".join(collector.lines))

    def rows(self, path: Path, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as db:
            return list(db.execute(sql))

    def customer_history(self) -> list[tuple[Any, ...]]:
        return self.rows(
            self.places.customer_backup,
            "SELECT Success, ErrorMessage, InsertedCount, RunId FROM SyncHistory ORDER BY StartedAt",
        )

    def order_history(self) -> list[dict[str, Any]]:
        from azure.cosmos import CosmosClient

        with CosmosClient(self.cosmos[1].endpoint, self.cosmos[1].key) as client:
            database = client.get_database_client("orderdb-backup")
            found = database.get_container_client("sync-history").read_all_items()
            return [item for item in found if item["serviceName"] == "order"]

    def services(self, tmp_path: Path, **changes: dict[str, Any]) -> None:
        """Use a configuration like the shipped one, with some settings of a service changed."""
        import yaml

        services = yaml.safe_load((DAGS / "backup_sync.yaml").read_text())["services"]
        for name, settings in changes.items():
            services[name] = {**services.get(name, {}), **settings}
        path = tmp_path / "services.yaml"
        path.write_text(yaml.safe_dump({"services": services}))
        self.monkeypatch.setenv("BACKUP_SYNC_CONFIG", str(path))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with cosmos_servers(Places(tmp_path_factory.mktemp("servers")), ports=(0, 0)) as pair:
        yield pair


@pytest.fixture
def world(metadata: None, servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    places = Places(tmp_path)
    for name, value in connections(places, servers[0].endpoint, servers[1].endpoint, servers[0].key).items():
        monkeypatch.setenv(name, value)
    found = World(places, servers, monkeypatch)
    found.seed()
    yield found
    servers[0].reset_faults()
    from azure.cosmos import CosmosClient
    from azure.cosmos.exceptions import CosmosResourceNotFoundError

    with CosmosClient(servers[1].endpoint, servers[1].key) as client:
        try:
            client.delete_database("orderdb-backup")
        except CosmosResourceNotFoundError:
            pass


def connection(name: str, **changes: Any) -> str:
    """A connection of the environment as JSON, with some fields changed."""
    return json.dumps({**json.loads(os.environ[f"AIRFLOW_CONN_{name.upper()}"]), **changes})

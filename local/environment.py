"""Everything local in one place: paths below ``.local/``, ports, and the environment that Airflow reads.

Airflow reads its environment on import, so :func:`apply` has to run before anything imports airflow.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.cosmos import EmbeddedCosmos

ROOT = Path(__file__).resolve().parents[1]
SOURCE_PORT, BACKUP_PORT = 8081, 8082


@dataclass(frozen=True)
class Places:
    """Where the local installation keeps its things. ``base``: ``.local/`` unless a test wants another."""

    base: Path = ROOT / ".local"

    @property
    def airflow(self) -> Path:
        return self.base / "airflow"

    @property
    def customer_source(self) -> Path:
        return self.base / "customer.sqlite"

    @property
    def customer_backup(self) -> Path:
        return self.base / "customer_backup.sqlite"

    @property
    def order_source(self) -> Path:
        return self.base / "cosmos" / "order.sqlite"

    @property
    def order_backup(self) -> Path:
        return self.base / "cosmos" / "order_backup.sqlite"


def airflow_environment(places: Places) -> dict[str, str]:
    """What Airflow needs to run on ``places``: home, folders, SQLite metadata, quiet logs."""
    return {
        "AIRFLOW_HOME": str(places.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{places.airflow}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }


def connections(places: Places, source_endpoint: str, backup_endpoint: str, key: str) -> dict[str, str]:
    """The four connections as ``AIRFLOW_CONN_…`` variables."""

    def cosmos(endpoint: str, database: str) -> str:
        extra = {"database_name": database, "collection_name": "orders"}
        return json.dumps({"conn_type": "azure_cosmos", "login": endpoint, "password": key, "extra": extra})

    def sqlite(path: Path) -> str:
        return json.dumps({"conn_type": "sqlite", "host": str(path)})

    return {
        "AIRFLOW_CONN_CUSTOMER_SOURCE": sqlite(places.customer_source),
        "AIRFLOW_CONN_CUSTOMER_BACKUP": sqlite(places.customer_backup),
        "AIRFLOW_CONN_ORDER_SOURCE": cosmos(source_endpoint, "orderdb"),
        "AIRFLOW_CONN_ORDER_BACKUP": cosmos(backup_endpoint, "orderdb-backup"),
    }


def apply(environment: dict[str, str]) -> None:
    """Put the settings into this process's environment, for airflow to find when it is imported."""
    os.environ.update(environment)


@contextlib.contextmanager
def sole_use(places: Places) -> Iterator[None]:
    """Refuse to use the local data twice: neither Airflow's SQLite nor the Cosmos files are made for that."""
    places.base.mkdir(parents=True, exist_ok=True)
    with (places.base / "serving.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("the local data is in use by another make demo, make ui or make cosmos; end that first")
        yield


@contextlib.contextmanager
def cosmos_servers(
    places: Places, ports: tuple[int, int] = (SOURCE_PORT, BACKUP_PORT)
) -> Iterator[tuple[EmbeddedCosmos, EmbeddedCosmos]]:
    """The two embedded Cosmos servers, on these ports or, where those are taken or 0, on free ones."""
    from local.cosmos import EmbeddedCosmos

    source = EmbeddedCosmos(places.order_source, port=_free(ports[0]))
    backup = EmbeddedCosmos(places.order_backup, port=_free(ports[1]))
    with contextlib.ExitStack() as stack:
        for server in (source, backup):
            stack.callback(server.stop)
        # Each takes half a second to start, and neither needs the other for it.
        with ThreadPoolExecutor() as pool:
            list(pool.map(EmbeddedCosmos.start, (source, backup)))
        yield source, backup


def _free(port: int) -> int:
    """The port itself if nobody listens on it, else 0 (any free one)."""
    with socket.socket() as probe:
        return 0 if port and probe.connect_ex(("127.0.0.1", port)) == 0 else port

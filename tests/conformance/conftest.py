"""Every store at hand: SQLite and the embedded Cosmos server always, the others where they are."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import Backend, CosmosBackend, MssqlBackend, OddKeyBackend, SqliteBackend
from tests.pairs import Pairs

MSSQL = ("BACKUP_SYNC_TEST_MSSQL_SOURCE", "BACKUP_SYNC_TEST_MSSQL_BACKUP")
COSMOS = ("BACKUP_SYNC_TEST_COSMOS_SOURCE", "BACKUP_SYNC_TEST_COSMOS_BACKUP")
SQL_KINDS = ["sqlite", "mssql"]
COSMOS_KINDS = ["cosmos-embedded", "cosmos-npm", "cosmos-account"]


def named(variables: tuple[str, str]) -> list[str]:
    """The values of two environment variables; skips the test where they are not set."""
    values = [os.environ.get(name, "") for name in variables]
    if not all(values):
        pytest.skip(f"needs {' and '.join(variables)}")
    return values


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    """Two embedded Cosmos servers with different numbers of physical partitions, which nobody tells to fail."""
    with closing(Pairs(tmp_path_factory.mktemp("cosmos"))) as found:
        yield [(server.endpoint, server.key) for server in found.lend()]


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    """Two of the independent in-memory servers of the npm package @vercel/cosmosdb-server, where node is present."""
    if not shutil.which("npm"):
        pytest.skip("needs node and npm")
    folder = Path(__file__).resolve().parents[2] / ".local" / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "node_modules" / ".bin" / "cosmosdb-server"
    with (folder / "install.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of this run want it, too
        if not command.exists():
            wanted = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
            done = subprocess.run([*wanted, "@vercel/cosmosdb-server@1.0.1"], capture_output=True, timeout=300)
            if done.returncode:
                pytest.skip("npm cannot install @vercel/cosmosdb-server here")
    key = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
    processes, endpoints = [], []
    try:
        for _ in range(2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            processes.append(
                subprocess.Popen(
                    [str(command), "-p", str(port), "--no-ssl"],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            endpoints.append((f"http://localhost:{port}/", key))
        for endpoint, _ in endpoints:
            _wait(endpoint)
        yield endpoints
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(endpoint: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(endpoint, timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{endpoint} does not answer")


def make(
    kind: str, request: pytest.FixtureRequest, folder: Path, cosmos: type[CosmosBackend] = CosmosBackend
) -> Backend:
    """``cosmos``: what stands for Cosmos DB, where its server knows hierarchical keys."""
    if kind == "sqlite":
        return SqliteBackend(folder)
    if kind == "mssql":
        return MssqlBackend(*named(MSSQL))
    if kind == "cosmos-account":
        accounts = [re.findall(r"AccountEndpoint=([^;]+);AccountKey=([^;]+)", text)[0] for text in named(COSMOS)]
        return cosmos(kind, *accounts, many=500)
    if kind == "cosmos-npm":
        # It names itself by https, which it does not speak here, and answers every batch with 500.
        found = CosmosBackend(kind, *request.getfixturevalue("npm"), many=500, enable_endpoint_discovery=False)
        found.small(batch_from=101)
        return found
    return cosmos(kind, *request.getfixturevalue("embedded"), many=10_000)


@pytest.fixture(params=[*SQL_KINDS, *COSMOS_KINDS])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each kind of store in turn."""
    found = make(request.param, request, tmp_path, OddKeyBackend)
    yield found
    found.close()


@pytest.fixture(params=SQL_KINDS)
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    found = make(request.param, request, tmp_path)
    yield found
    found.close()


@pytest.fixture(params=COSMOS_KINDS)
def cosmos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    found = make(request.param, request, tmp_path)
    yield found
    found.close()


@pytest.fixture
def mssql() -> Iterator[MssqlBackend]:
    found = MssqlBackend(*named(MSSQL))
    yield found
    found.close()


@pytest.fixture(scope="module")
def servers(pairs: Pairs) -> list[EmbeddedCosmos]:
    """Two servers of a module's own. Who tells them to fail resets them."""
    return pairs.lend()


@pytest.fixture
def pair(servers: list[EmbeddedCosmos]) -> Iterator[list[EmbeddedCosmos]]:
    """The module's two servers, to be told to fail; they do as they should again for the next test."""
    for server in servers:
        server.reset_faults()
        server.reset_stats()
    yield servers
    for server in servers:
        server.reset_faults()


@pytest.fixture
def own(pair: list[EmbeddedCosmos]) -> Iterator[CosmosBackend]:
    found = CosmosBackend("own", *[(server.endpoint, server.key) for server in pair])
    yield found
    found.close()

"""Backends whose stores go through proxies, so that their network can be spoiled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pymssql
import pytest

from backup_sync.model.errors import RetriableError
from backup_sync.model.service import Service
from backup_sync.stores.base import Store
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import Backend, CosmosBackend, MssqlBackend
from tests.conformance.conftest import MSSQL
from tests.pairs import Pairs
from tests.reliability.proxy import Proxy

RECORDS = 300


class Case:
    """A backend whose stores go through proxies, while what is looked at goes by the straight way."""

    def __init__(self, backend: Backend, proxies: list[Proxy]) -> None:
        self.backend, self.proxies = backend, proxies

    def prepare(self) -> None:
        """A backup in step, and then inserts, updates and deletes to be done."""
        self.backend.put(*((key, 1, f"text {key}" * 20) for key in range(RECORDS)))
        self.backend.initialize()
        self.backend.sync()
        self.backend.remove(*range(20))
        self.backend.put(*((key, 2, "changed") for key in range(20, 100)))
        self.backend.put(*((key, 1, "new") for key in range(RECORDS, RECORDS + 100)))

    def service(self) -> Service:
        changes = {"lock_wait_seconds": 30, "guard": {"share": 0.2, "count": 10}}
        return self.backend.service(**changes, **({"retry_seconds": 1} if "container" in self.backend.settings else {}))

    def try_through_it(self, run_id: str, seed: int) -> bool:
        """Either a success that is one, or one clear sentence; and never a delete that the source does not ask for.

        Returns whether it succeeded.
        """
        kept = {repr(row.get("Id", row.get("id"))) for row in self.backend.source_rows()}
        service = self.service()
        try:
            self.backend.sync(run_id=run_id, service=service)
            done = True
        except RetriableError as error:
            done = False
            said = str(error)
            assert said.startswith(("source: ", "backup: "))
            assert "\n" not in said
            assert "text 1" not in said
        there = {repr(row.get("Id", row.get("id"))) for row in self.backend.backup_rows()}
        if done:
            assert self.backend.backup_rows() == self.backend.source_rows(), f"a false success, seed {seed}"
        first = {repr(row.get("Id", row.get("id"))) for row in self.before}
        assert first & kept <= there, f"a record was deleted that the source has, seed {seed}"
        return done

    def weather(self, number: int, connections: int, size: int) -> None:
        """Bad on the way to the source, to the backup, or to both; and then it clears up."""
        self.prepare()
        self.before = self.backend.backup_rows()
        for end, proxy in enumerate(self.proxies):
            proxy.cut()
            if number % 3 in (end, 2):
                proxy.ill(number, connections, size)
        for _ in range(40):
            if self.try_through_it("stormy", number):
                break
            if not any(proxy.faults for proxy in self.proxies):
                break
        for proxy in self.proxies:
            proxy.faults.clear()
            proxy.cut()
        assert sum(proxy.struck for proxy in self.proxies), "nothing was cut at all"
        self.backend.sync(run_id="stormy", service=self.service())
        assert self.backend.backup_rows() == self.backend.source_rows()
        names = [row.get("RunId", row.get("runId")) for row in self.backend.history_rows()]
        assert names.count("stormy") == 1


@pytest.fixture
def cosmos_network(servers: list[EmbeddedCosmos]) -> Iterator[Case]:
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy("127.0.0.1", server.port)) for server in servers]
        # The server names itself by its own address, by which the SDK would go round the proxy.
        straight = CosmosBackend("own", *[(server.endpoint, server.key) for server in servers])
        straight.options = {"enable_endpoint_discovery": False}
        straight.endpoints = tuple(  # type: ignore[assignment]
            (f"http://127.0.0.1:{proxy.port}/", server.key) for proxy, server in zip(proxies, servers, strict=True)
        )
        stack.callback(straight.close)
        yield Case(straight, proxies)


class ThroughProxies(MssqlBackend):
    source_database, backup_database = "BackupSyncReliability", "BackupSyncReliability_Backup"
    ports: dict[str, int]

    def open(self, service: Service):  # type: ignore[no-untyped-def]
        from backup_sync.stores.mssql.store import mssql_store

        def store(uri: str, label: str, own: str) -> Store:
            parts = urlsplit(uri)

            def connect(database: str | None) -> object:
                return pymssql.connect(
                    server="127.0.0.1",
                    port=str(self.ports[label]),
                    user=unquote(parts.username or ""),
                    password=unquote(parts.password or ""),
                    database=database or own,
                    login_timeout=3,  # a login that is cut may be waited for until then
                    timeout=20,
                )

            return mssql_store(service, connect, label, own, copy=label == "backup", limits=self.limits)

        return (
            store(self.source_uri, "source", self.source_database),
            store(self.backup_uri, "backup", self.backup_database),
        )


@pytest.fixture
def mssql_network() -> Iterator[Case]:
    uris = [os.environ.get(name, "") for name in MSSQL]
    if not all(uris):
        pytest.skip(f"needs {' and '.join(MSSQL)}")
    with ExitStack() as stack:
        proxies = []
        for uri in uris:
            parts = urlsplit(uri)
            proxies.append(stack.enter_context(Proxy(parts.hostname or "", parts.port or 1433)))
        backend = ThroughProxies(*uris)
        backend.ports = {"source": proxies[0].port, "backup": proxies[1].port}
        stack.callback(backend.close)
        yield Case(backend, proxies)


@pytest.fixture
def servers(pairs: Pairs) -> Iterator[list[EmbeddedCosmos]]:
    """Source and backup, to be told to fail."""
    found = pairs.lend()
    yield found
    for server in found:
        server.reset_faults()


@pytest.fixture
def cosmos(servers: list[EmbeddedCosmos]) -> Iterator[CosmosBackend]:
    """In step, and then with five updates, five deletes and, two to a partition key, 14 inserts to be done."""
    found = CosmosBackend("own", *[(server.endpoint, server.key) for server in servers])
    found.put(*((key, 1, "old") for key in range(40)))
    found.initialize()
    found.sync()
    found.put(*((key, 2, "changed") for key in range(5)), *((key, 1, "new") for key in range(40, 54)))
    found.remove(*range(10, 15))
    yield found
    found.close()

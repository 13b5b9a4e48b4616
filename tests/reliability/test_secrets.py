"""Neither a secret of a connection nor a value of a record gets out, whatever goes wrong.

Every value of every row is marked, keys included (but for the ids of documents, by which rejected ones are named), and
so is every secret. What is searched: all logs at the level
DEBUG, what Airflow prints of an exception, what the tasks leave for each other, and the history.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pymssql
import pytest
import yaml
from azure.cosmos import CosmosClient
from structlog.tracebacks import ExceptionDictTransformer

from backup_sync.model import faults
from backup_sync.operators import InitializeBackupOperator, RecordHistoryOperator, SyncOperator
from backup_sync.stores.mssql.writer import MssqlWriter
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import MssqlBackend
from tests.conformance.conftest import MSSQL, named
from tests.outlets import Outlets
from tests.reliability.proxy import Fault, Proxy
from tests.test_operators import Task

ROW = f"rowvalue{secrets.token_hex(6)}"
WRONG = f"wrongsecret{secrets.token_hex(6)}"
ROWS = 30


@dataclass
class Scene:
    """Two ends, a run of the operators over them, and all that could be seen of it."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    caplog: pytest.LogCaptureFixture
    settings: dict[str, Any]
    connections: dict[str, dict[str, Any]]
    secrets: list[str]
    history: Callable[[], str]
    seen: list[str] = field(default_factory=list)

    def connect(self, end: str, **changes: Any) -> None:
        value = {**self.connections[end], **changes}
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{end.upper()}", json.dumps(value))

    def run(self, fails: bool = True) -> str:
        """The three tasks of a chain, each whether or not the one before it failed; what the first failure said."""
        config = self.folder / "services.yaml"
        entry = {"source": "source", "backup": "backup", "lock_wait_seconds": 0, **self.settings}
        config.write_text(yaml.safe_dump({"services": {"thing": entry}}))
        task, said = Task(), []
        context: Any = {
            "ti": task,
            "outlet_events": Outlets(),
            "dag_run": SimpleNamespace(run_id="tonight", conf={}),
            "dag": SimpleNamespace(params={}),
        }
        for operator, more in (
            (InitializeBackupOperator, {}),
            (SyncOperator, {}),
            (RecordHistoryOperator, {"after": ["sync"]}),
        ):
            made = operator(task_id="it", service="thing", config=config, **more)
            self.seen += [repr({name: getattr(made, name) for name in made.template_fields})]
            try:
                self.seen.append(repr(made.execute(context)))
            except Exception as error:
                said.append(str(error))
                self.seen += traceback.format_exception(error)
                # As Airflow's log has it.
                self.seen.append(
                    repr(ExceptionDictTransformer(show_locals=False)((type(error), error, error.__traceback__)))
                )
        self.seen.append(repr(task.pushed))
        with contextlib.suppress(Exception):  # the fault may be that there is nothing to be read
            self.seen.append(self.history())
        failed = [text for text in said if not text.startswith("recorded: the task sync")]
        assert bool(failed) == fails, said
        return failed[0] if failed else ""

    def check(self) -> None:
        shown = "\n".join([*self.seen, self.caplog.text])
        for secret in [ROW, WRONG, *self.secrets]:
            at = shown.find(secret)
            assert at < 0, f"told: {shown[max(0, at - 300) : at + 60]}"


@pytest.fixture
def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*arguments: Any) -> Scene:
        made.append(Scene(tmp_path, monkeypatch, caplog, *arguments))
        for end in made[0].connections:
            made[0].connect(end)
        made[0].run(fails=False)
        return made[0]

    with caplog.at_level(logging.DEBUG):
        for name in ("azure", "aiohttp", "asyncio", "urllib3", "airflow", "sqlalchemy"):
            monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        yield make
    for scene in made:  # none, where the test was skipped
        scene.check()


# SQL Server


@pytest.fixture
def mssql(scene: Callable[..., Scene]) -> Iterator[tuple[Scene, MssqlBackend, list[Proxy]]]:
    backend = MssqlBackend(*named(MSSQL))
    backend.run_source(f"DROP TABLE {backend.table}")
    backend.run_source(
        f"CREATE TABLE {backend.table} (Code NVARCHAR(60) NOT NULL PRIMARY KEY, Version INT NOT NULL, Note NVARCHAR(99))"
    )
    rows = [(f"{ROW} {number}", 1, f"{ROW} note") for number in range(ROWS)]
    backend.run_source(f"INSERT INTO {backend.table} (Code, Version, Note) VALUES (%s, %s, %s)", rows)
    with contextlib.ExitStack() as stack:
        stack.callback(backend.close)
        proxies, connections = [], {}
        ends = (
            ("source", backend.source_uri, backend.source_database),
            ("backup", backend.backup_uri, backend.backup_database),
        )
        for end, uri, database in ends:
            parts = urlsplit(uri)
            proxies.append(stack.enter_context(Proxy(parts.hostname or "", parts.port or 1433)))
            login = {"login": unquote(parts.username or ""), "password": unquote(parts.password or "")}
            connections[end] = {"conn_type": "mssql", "host": "127.0.0.1", "port": proxies[-1].port, "schema": database}
            connections[end] |= login | {"extra": {"login_timeout": 2, "timeout": 20}}
        found = scene(
            backend.settings,
            connections,
            [c["password"] for c in connections.values()],
            lambda: repr(backend.history_rows()),
        )
        backend.run_source(f"UPDATE {backend.table} SET Version = 2, Note = N'{ROW} changed'")
        yield found, backend, proxies


def cut_at(proxy: Proxy, boundary: str) -> Callable[[str], None]:
    return lambda name: proxy.cut() if name == boundary else None


@pytest.mark.parametrize("end", [0, 1], ids=["source", "backup"])
def test_nothing_is_told_when_sql_server_refuses_keeps_silent_or_hangs_up(mssql: Any, end: int) -> None:
    scene, _, proxies = mssql
    name = ("source", "backup")[end]
    for change, sentence in (
        ({"password": WRONG}, "refused the login"),
        ({"login": WRONG}, "refused the login"),
        ({"port": 1}, "cannot reach SQL Server"),
        ({"extra": {"timeout": WRONG}}, "has to be a whole number of seconds"),
        ({"extra": {"login_timeout": 1, "encryption": WRONG}}, "has to be one of require, request, off, default"),
    ):
        scene.connect(name, **change)
        assert sentence in scene.run()
    scene.connect(name)
    for fault in (Fault(refuse=True), Fault(silent=True), Fault(answers=100), Fault(answers=1_200)):
        proxies[end].faults = [fault] * 20
        scene.run()
        proxies[end].faults = []
    with faults.installed(cut_at(proxies[end], ("after digest", "before apply")[end])):
        scene.run()


def test_nothing_is_told_when_the_backup_refuses_a_row(mssql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, backend, _ = mssql
    backend.run_backup(f"ALTER TABLE {backend.table} ADD CONSTRAINT low{secrets.token_hex(4)} CHECK (Version < 2)")
    assert "constraint" in scene.run()
    for number in (2627, 2628, 8152, 245, 1205, 9002, 99999):

        def refuse(number: int = number) -> int:
            raise pymssql.IntegrityError(number, f"The duplicate key value is ({ROW}).".encode())

        monkeypatch.setattr(
            MssqlWriter, "_update", lambda writer, _, refuse=refuse: writer.session.connection.call(refuse)
        )
        assert f"error {number}" in scene.run()


# SQLite


@pytest.fixture
def sqlite(scene: Callable[..., Scene], tmp_path: Path) -> tuple[Scene, Path, Path]:
    source, backup = tmp_path / "source.sqlite", tmp_path / "backup.sqlite"
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("CREATE TABLE Things (Code TEXT NOT NULL PRIMARY KEY, Version INT NOT NULL, Note)")
        db.executemany("INSERT INTO Things VALUES (?, 1, ?)", [(f"{ROW} {n}", f"{ROW} note") for n in range(ROWS)])

    def history() -> str:
        with closing(sqlite3.connect(backup)) as db:
            return repr(list(db.execute("SELECT * FROM SyncHistory")))

    connections = {
        end: {"conn_type": "sqlite", "host": str(path), "login": "u", "password": WRONG}
        for end, path in (("source", source), ("backup", backup))
    }
    found = scene({"table": "app.Things", "changed": {"Version": "higher"}}, connections, [], history)
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("UPDATE Things SET Version = 2")
    return found, source, backup


@pytest.mark.parametrize(
    ("end", "sql"),
    [
        ("backup", "CREATE UNIQUE INDEX once ON Things (Note) WHERE Version > 1"),
        ("backup", f"CREATE TRIGGER no BEFORE UPDATE ON Things BEGIN SELECT RAISE(ABORT, '{ROW}'); END"),
        ("source", f"UPDATE Things SET Note = CAST(x'ff' || '{ROW}' AS TEXT)"),
        ("source", f"UPDATE Things SET Version = '{ROW}' WHERE Code LIKE '% 1'"),
        ("source", f"ALTER TABLE Things ADD COLUMN Extra TEXT DEFAULT '{ROW}'"),
    ],
    ids=["index", "trigger", "no text", "no number", "new column"],
)
def test_nothing_is_told_when_sqlite_refuses_a_row_or_holds_an_odd_one(
    sqlite: tuple[Scene, Path, Path], end: str, sql: str
) -> None:
    scene, source, backup = sqlite
    with closing(sqlite3.connect(source if end == "source" else backup)) as db, db:
        db.execute(sql)
    scene.run(fails=end == "backup")


def test_nothing_is_told_when_a_file_is_no_database_or_locked(sqlite: tuple[Scene, Path, Path]) -> None:
    scene, source, backup = sqlite
    for path in (source, backup):
        whole = path.read_bytes()
        for noise in (ROW.encode() * 999, whole[:4096] + ROW.encode() * 999):
            path.write_bytes(noise)
            scene.run()
        path.write_bytes(whole)


# Cosmos DB


@pytest.fixture
def cosmos(scene: Callable[..., Scene], tmp_path: Path) -> Iterator[tuple[Scene, list[EmbeddedCosmos], list[Proxy]]]:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(EmbeddedCosmos(tmp_path / end / "db")) for end in ("source", "backup")]
        proxies = [stack.enter_context(Proxy("127.0.0.1", server.port)) for server in servers]
        client = stack.enter_context(CosmosClient(servers[0].endpoint, servers[0].key))
        database = client.create_database("db")
        container = database.create_container("things", {"paths": ["/group"], "kind": "Hash", "version": 2})
        for number in range(ROWS):
            container.upsert_item({"id": str(number), "group": f"{ROW} {number % 7}", "v": 1, "note": ROW})
        connections = {
            end: {
                "conn_type": "azure_cosmos",
                "login": f"http://127.0.0.1:{proxy.port}/",
                "password": server.key,
                "extra": {"database_name": "db", "enable_endpoint_discovery": False},
            }
            for end, server, proxy in zip(("source", "backup"), servers, proxies, strict=True)
        }

        def history() -> str:
            with CosmosClient(servers[1].endpoint, servers[1].key) as backup:
                return repr(
                    list(backup.get_database_client("db").get_container_client("sync-history").read_all_items())
                )

        settings = {"container": "things", "changed": {"v": "higher"}, "retry_seconds": 1}
        found = scene(settings, connections, [server.key for server in servers], history)
        for number in range(ROWS):
            container.upsert_item({"id": str(number), "group": f"{ROW} {number % 7}", "v": 2, "note": ROW})
        yield found, servers, proxies


@pytest.mark.parametrize("end", [0, 1], ids=["source", "backup"])
def test_nothing_is_told_when_cosmos_refuses_the_key_or_the_line_is_bad(cosmos: Any, end: int) -> None:
    scene, _, proxies = cosmos
    name = ("source", "backup")[end]
    for change in ({"password": WRONG}, {"password": "d3Jvbmcgd3Jvbmc="}, {"login": f"http://127.0.0.1:1/{WRONG}"}):
        scene.connect(name, **change)
        scene.run()
    scene.connect(name)
    for fault in (Fault(refuse=True), Fault(answers=300), Fault(answers=1_000, reset=False)):
        proxies[end].faults = [fault] * 500
        scene.run()
        proxies[end].faults = []


@pytest.mark.parametrize(("end", "operations"), [(0, ["QueryDocuments"]), (1, ["UpsertDocument", "Batch"])])
def test_nothing_is_told_when_cosmos_answers_with_an_error(cosmos: Any, end: int, operations: list[str]) -> None:
    scene, servers, _ = cosmos
    for status in (400, 401, 403, 404, 408, 409, 410, 412, 413, 429, 449, 500, 503):
        for operation in operations:
            servers[end].fail(status, count=100_000, operation=operation, path_contains="/things")
        scene.run()
        servers[end].reset_faults()

"""A backup knows what it is a backup of, and nothing else may write to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError, PairingRefused, RetriableError, Stopped
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import Service, parse_service
from backup_sync.walk import pairing
from backup_sync.walk.record import record_history
from backup_sync.walk.sync import Options, sync
from tests.conformance.backends import Backend, CosmosBackend, MssqlBackend, SqliteBackend


@pytest.fixture
def ready(backend: Backend) -> Backend:
    backend.put(*((number, 1, "production") for number in range(1, 31)))
    backend.initialize()
    backend.sync()
    return backend


def named(backend: Backend, name: str, **changes: Any) -> Service:
    entry = {"source": "source", "backup": "backup", **backend.settings, **changes}
    return parse_service(name, entry, where="test")


def pair_of(backend: Backend) -> dict[str, Any]:
    source, backup = backend.open(backend.service())
    with closing(source), closing(backup):
        return dict(backup.journal.states()[pairing.STATE])


def forget(backend: Backend, *, history: bool) -> None:
    """Take the pairing away, and with ``history`` what the earlier version had written down as well."""
    source, backup = backend.open(backend.service())
    with closing(source), closing(backup):
        backup.journal.keep_state(pairing.STATE, None)
    if not history:
        return
    if isinstance(backend, SqliteBackend):
        with closing(sqlite3.connect(backend.backup_path)) as db, db:
            db.execute("DROP TABLE SyncHistory")
    elif isinstance(backend, MssqlBackend):
        backend.run_backup(f"DROP TABLE app.{backend.history}")
    elif isinstance(backend, CosmosBackend):
        backend.clients[1].get_database_client(backend.backup_database).delete_container(backend.history)


def contents(backend: Backend) -> tuple[Any, Any]:
    return backend.backup_rows(), backend.history_rows()


def refused(backend: Backend, match: str, service: Service | None = None) -> None:
    """By both tasks, with and without ``force``, and nothing is written."""
    before = contents(backend)
    with pytest.raises(PairingRefused, match=match):
        backend.initialize(service=service)
    for options in {}, {"force": True}, {"dry_run": True}:
        with pytest.raises(PairingRefused, match=match):
            backend.sync(service=service, **options)
    assert contents(backend) == before


def test_initialize_writes_down_service_source_backup_and_definition(ready: Backend) -> None:
    found = pair_of(ready)
    assert (found["service"], found["kind"]) == ("thing", ready.open(ready.service())[0].kind)
    assert found["source"] != found["backup"]
    assert found["definition"]["where"] == ready.settings.get("where", {})


def test_a_second_initialize_leaves_the_pairing_as_it_is(ready: Backend) -> None:
    before = pair_of(ready)
    ready.initialize()
    ready.sync()
    assert pair_of(ready) == before


def test_another_service_on_the_same_copy_is_refused_by_both_names(ready: Backend) -> None:
    refused(ready, "belongs to service thing, and this is service other", named(ready, "other"))


def test_accept_source_pairs_anew_for_one_run_and_not_for_its_retry(ready: Backend) -> None:
    other = named(ready, "other")
    ready.initialize(service=other, accept_source=True, run_id="tonight")
    assert ready.sync(service=other).skipped == 30
    with pytest.raises(PairingRefused, match="belongs to service other"):
        ready.initialize()
    ready.initialize(accept_source=True, run_id="later")
    with pytest.raises(PairingRefused, match="this run has accepted another one before"):
        ready.initialize(service=other, accept_source=True, run_id="later")


def test_accept_source_as_a_dry_run_pairs_nothing(ready: Backend) -> None:
    before = pair_of(ready)
    ready.initialize(service=named(ready, "other"), accept_source=True, dry_run=True)
    assert pair_of(ready) == before


def test_a_copy_of_an_earlier_version_is_adopted_once(ready: Backend) -> None:
    forget(ready, history=False)
    with pytest.raises(ConfigurationError, match="is not paired with its source yet; run the DAG backup_initialize"):
        ready.sync()
    assert ready.sync(dry_run=True).skipped == 30
    ready.initialize()
    assert ready.sync().skipped == 30
    refused(ready, "belongs to service thing", named(ready, "other"))


def test_a_copy_that_another_service_of_an_earlier_version_made_is_not_adopted(ready: Backend) -> None:
    forget(ready, history=False)
    refused(ready, "was not made by backup_sync for service other", named(ready, "other"))


def test_what_holds_records_and_has_no_history_is_not_ours(ready: Backend) -> None:
    forget(ready, history=True)
    rows = ready.backup_rows()
    with pytest.raises(PairingRefused, match="was not made by backup_sync for service thing, and is not empty"):
        ready.initialize()
    assert contents(ready) == (rows, [])
    ready.initialize(accept_source=True)
    assert ready.sync().skipped == 30


def test_an_empty_copy_of_our_making_needs_no_history(backend: Backend) -> None:
    backend.initialize()
    forget(backend, history=True)
    backend.initialize()
    assert backend.counts() == (0, 0, 0, 0)


def test_a_copy_that_was_dropped_is_made_and_paired_anew(ready: Backend) -> None:
    if isinstance(ready, SqliteBackend):
        with closing(sqlite3.connect(ready.backup_path)) as db, db:
            db.execute("DROP TABLE Things")
    elif isinstance(ready, MssqlBackend):
        ready.run_backup(f"DROP TABLE {ready.table}")
    elif isinstance(ready, CosmosBackend):
        ready.clients[1].get_database_client(ready.backup_database).delete_container(ready.container)
    other = named(ready, "other")
    ready.initialize(service=other)
    assert ready.sync(service=other).inserted == 30


def test_of_two_services_that_pair_at_once_the_second_is_refused(backend: Backend) -> None:
    first, second = backend.open(backend.service()), backend.open(named(backend, "other"))
    with closing(first[0]), closing(first[1]), closing(second[0]), closing(second[1]):
        for source, backup in (first, second):
            backup.catalog.create(source.catalog.describe())
            assert pairing.check(source, backup, pairing.states_of(backup))
        pairing.write(*first, {})
        with pytest.raises(PairingRefused, match="belongs to service thing"):
            pairing.write(*second, {})
    assert pair_of(backend)["service"] == "thing"


def test_a_run_that_waited_for_the_lock_finds_that_the_backup_was_paired_anew(
    ready: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(ready.open(ready.service())[1].lock)
    lock = kind.hold

    def waited(self: Any, *arguments: Any) -> Any:
        monkeypatch.setattr(kind, "hold", lock)
        ready.initialize(service=named(ready, "other"), accept_source=True, run_id="meanwhile")
        return lock(self, *arguments)

    monkeypatch.setattr(kind, "hold", waited)
    ready.put((1, 2, "changed"))
    before = ready.backup_rows()
    with pytest.raises(PairingRefused, match="belongs to service other"):
        ready.sync()
    assert ready.backup_rows() == before


def test_a_task_that_is_told_to_end_while_it_waits_for_the_lock_leaves_the_history_alone(
    ready: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(ready.open(ready.service())[1].lock)
    lock, stop = kind.hold, threading.Event()

    def waited(self: Any, *arguments: Any) -> Any:
        stop.set()
        return lock(self, *arguments)

    monkeypatch.setattr(kind, "hold", waited)
    before = contents(ready)
    run = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    source, backup = ready.open(ready.service())
    with closing(source), closing(backup), pytest.raises(Stopped):
        sync(ready.service(), source, backup, run, Options(), stop=stop)
    assert contents(ready) == before


def test_the_failure_of_a_run_that_never_saw_its_source_replaces_no_record_of_the_same_name(ready: Backend) -> None:
    """Two Airflows with the same DAG and schedule make the same SyncIds."""
    ready.sync("tonight")
    before = ready.history_rows()
    failed = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    failed.fail("the source is away")
    source, backup = ready.open(ready.service())

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise RetriableError("source: is away")

    with closing(source), closing(backup):
        record_history(backup, failed, source=Away())  # type: ignore[arg-type]
        assert ready.history_rows() == before
        other = SyncResult(sync_id("dag", "another night", "thing"), "thing", run_id="another night")
        other.fail("the source is away")
        record_history(backup, other, source=Away())  # type: ignore[arg-type]
    assert len(ready.history_rows()) == len(before) + 1


def test_the_failure_of_a_run_of_another_service_is_not_recorded(ready: Backend) -> None:
    before = contents(ready)
    failed = SyncResult(sync_id("dag", "tonight", "other"), "other", run_id="tonight")
    failed.fail("some setting is wrong")
    source, backup = ready.open(named(ready, "other"))
    with closing(source), closing(backup), pytest.raises(PairingRefused):
        record_history(backup, failed, source=source)
    assert contents(ready) == before


# what is behind the connections


def test_a_source_that_was_pointed_at_another_file_is_refused(tmp_path: Path) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 5, "production") for number in range(1, 101)))
    found.initialize()
    found.sync()
    production = found.source_path
    found.source_path = tmp_path / "staging.sqlite"
    shutil.copy(production, found.source_path)
    found.put(*((number, 7, "STAGING") for number in range(1, 101)))
    refused(found, r"its source was file .*source\.sqlite, and source leads to file .*staging\.sqlite")
    found.source_path = production
    assert found.counts() == (0, 0, 0, 100)


def test_the_file_by_another_way_is_the_same_file(tmp_path: Path) -> None:
    found = SqliteBackend(tmp_path)
    found.put((1, 1, "x"))
    found.initialize()
    (tmp_path / "link").symlink_to(tmp_path)
    found.source_path = tmp_path / "link" / ".." / tmp_path.name / "source.sqlite"
    assert found.counts() == (1, 0, 0, 0)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_is_not_its_own_backup_whatever_leads_there(tmp_path: Path, link: Callable[..., None]) -> None:
    found = SqliteBackend(tmp_path)
    found.put((1, 1, "x"))
    link(found.source_path, tmp_path / "backup.sqlite")
    for attempt in (found.initialize, found.sync):
        with pytest.raises(PairingRefused, match="connections source and backup lead to the same place"):
            attempt()
    with closing(sqlite3.connect(found.source_path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("Things",)]


def test_swapped_connections_are_refused_and_leave_nothing_behind(tmp_path: Path) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 1, "x") for number in range(1, 31)))
    found.initialize()
    found.sync()
    found.source_path, found.backup_path = found.backup_path, found.source_path
    with pytest.raises(ConfigurationError, match="has a column SyncedAt"):
        found.initialize()
    with closing(sqlite3.connect(found.backup_path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("Things",)]


def test_nothing_is_created_beside_a_table_that_is_none_of_ours(tmp_path: Path) -> None:
    found = SqliteBackend(tmp_path)
    found.put((1, 1, "x"))
    with closing(sqlite3.connect(found.backup_path)) as db, db:
        db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL, Owner TEXT)")
    with pytest.raises(PairingRefused, match="is not a copy made by backup_sync"):
        found.initialize()
    with closing(sqlite3.connect(found.backup_path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("Things",)]


def test_two_databases_of_one_server_are_two_sources(mssql: MssqlBackend) -> None:
    mssql.put(*((number, 1, "x") for number in range(1, 31)))
    mssql.initialize()
    mssql.sync()
    name = "BackupSyncStaging"
    mssql.run(mssql.source_uri, f"IF DB_ID('{name}') IS NULL CREATE DATABASE {name}", "master")
    try:
        mssql.source_database = name
        mssql.run_source("IF SCHEMA_ID('app') IS NULL EXEC('CREATE SCHEMA app')")
        mssql.run_source(
            f"CREATE TABLE {mssql.table} (Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, [Te xt] NVARCHAR(MAX))"
        )
        refused(mssql, f"its source was .*database BackupSyncTest.*leads to .*database {name}")
    finally:
        mssql.drop()
        del mssql.source_database


def test_swapped_cosmos_connections_are_refused_and_leave_nothing_behind(cosmos: CosmosBackend) -> None:
    cosmos.put(*((number, 1, "x") for number in range(1, 31)))
    cosmos.initialize()
    cosmos.sync()
    cosmos.put((31, 1, "a new order"))
    production = cosmos.source_rows()
    names = cosmos.source_database, cosmos.backup_database
    cosmos.endpoints, cosmos.source_database, cosmos.backup_database = cosmos.endpoints[::-1], *names[::-1]
    with pytest.raises(PairingRefused, match="is itself a backup made by backup_sync"):
        cosmos.initialize()
    for force in (False, True):
        with pytest.raises(PairingRefused, match="was not made by backup_sync"):
            cosmos.sync(force=force)
    assert cosmos.history not in [item["id"] for item in cosmos.database.list_containers()]
    cosmos.endpoints, cosmos.source_database, cosmos.backup_database = cosmos.endpoints[::-1], *names
    assert cosmos.source_rows() == production
    assert cosmos.sync().inserted == 1


def test_a_production_container_is_not_adopted_because_swapped_connections_left_a_history_there(
    own: CosmosBackend,
) -> None:
    own.put(*((number, 1, "x") for number in range(1, 31)))
    own.initialize()
    own.sync()
    from azure.cosmos import PartitionKey

    there = own.database.create_container(own.history, PartitionKey("/serviceName"))
    for success in (False, True):
        there.upsert_item(
            {"id": f"run {success}", "serviceName": "thing", "success": success, "startedAt": "2024-01-01T00:00:00Z"}
        )
    own.put((31, 1, "a new order"))
    production = own.source_rows()
    names = own.source_database, own.backup_database
    own.endpoints, own.source_database, own.backup_database = own.endpoints[::-1], *names[::-1]
    with pytest.raises(PairingRefused, match="is itself a backup made by backup_sync"):
        own.initialize()
    with pytest.raises(ConfigurationError, match="is not paired with its source yet"):
        own.sync()
    own.endpoints, own.source_database, own.backup_database = own.endpoints[::-1], *names
    assert own.source_rows() == production


def test_a_container_that_was_dropped_and_made_again_is_another_source(own: CosmosBackend) -> None:
    own.put(*((number, 1, "x") for number in range(1, 31)))
    own.initialize()
    own.sync()
    own.database.delete_container(own.container)
    own.source = own.database.create_container(own.container, own.definition)
    own.put(*((number, 2, "y") for number in range(1, 31)))
    refused(own, "its source was .* rid ")


def test_a_container_is_not_its_own_backup_however_its_account_is_addressed(own: CosmosBackend) -> None:
    own.put((1, 1, "x"))
    (endpoint, key), _ = own.endpoints
    own.endpoints = ((endpoint, key), (endpoint.replace("127.0.0.1", "localhost"), key))
    own.backup_database = own.source_database
    own.options = {"enable_endpoint_discovery": False}
    for options in {}, {"force": True}:
        with pytest.raises(PairingRefused, match="lead to the same place"):
            own.sync(**options)
    with pytest.raises(PairingRefused, match="lead to the same place"):
        own.initialize()
    # Others may have theirs in this database.
    assert not {own.history, "sync-history"} & {item["id"] for item in own.database.list_containers()}


def test_another_where_would_strand_documents_and_is_refused(cosmos: CosmosBackend) -> None:
    cosmos.put(*((number, 1, "x") for number in range(1, 31)))
    cosmos.initialize()
    cosmos.sync()
    for where in {}, {"type": "Things"}, {"type": "Thing", "state": "new"}:
        refused(cosmos, "its 'where' was another one", cosmos.service(where=where))

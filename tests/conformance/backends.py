"""A pair of stores of each kind, and plain ways to fill the source and to look at both ends.

The ways to look are on purpose not the stores' own: they go through the bare driver.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from backup_sync.model.errors import DriftFound, PairingRefused
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import Service, parse_service
from backup_sync.stores.base import Store
from backup_sync.walk.initialize import initialize
from backup_sync.walk.record import record_history, record_verify
from backup_sync.walk.sync import Options, sync
from backup_sync.walk.verify import verify, verify_seal

Row = dict[str, Any]
_numbers = itertools.count(1)
_runs = itertools.count(1)


@contextmanager
def recording(backup: Store, run: SyncResult) -> Iterator[None]:
    """What was found wrong is part of the result, which is recorded as the operator does it."""
    try:
        yield
    except DriftFound as error:
        run.fail(str(error))
    record_verify(backup, run)


class Counts(NamedTuple):
    """What a run did, in records."""

    inserted: int
    updated: int
    deleted: int
    skipped: int


class Backend(ABC):
    """One source and one backup. A record of the plain suite has a key, a version and a text."""

    name: str
    many = 10_000
    settings: dict[str, Any]
    limits = Limits()
    mask_key: str | None = None
    """What the hashes of masked columns are made with."""

    def small(self, **sizes: Any) -> None:
        """Make sizes of the product other than they are, so that few records pass its boundaries."""
        self.limits = replace(self.limits, **sizes)

    def service(self, **changes: Any) -> Service:
        entry = {"source": "source", "backup": "backup", **self.settings, **changes}
        return parse_service("thing", entry, where="test")

    @abstractmethod
    def open(self, service: Service) -> tuple[Store, Store]: ...

    def beside(self, service: Service, name: str) -> Store:
        """Another table or container behind the source's connection."""
        other, backup = self.open(service.model_copy(update={"table": name}))
        backup.close()
        return other

    @abstractmethod
    def put(self, *rows: tuple[int, int, str | None]) -> None:
        """Insert or replace (key, version, text) in the source."""

    @abstractmethod
    def remove(self, *keys: int) -> None: ...

    @abstractmethod
    def source_rows(self) -> list[Row]:
        """All of the source in full content, sorted."""

    @abstractmethod
    def backup_rows(self) -> list[Row]:
        """All of the backup in full content, less what the backup adds, sorted."""

    @abstractmethod
    def history_rows(self) -> list[Row]:
        """The history as it stands in the backup."""

    @abstractmethod
    def undo_rows(self) -> list[Row]:
        """The history of records as it stands in the backup."""

    @abstractmethod
    def drop_copy(self) -> None:
        """Somebody removes the copy, and nothing beside it."""

    @abstractmethod
    def put_in_backup(self, *rows: tuple[int, int, str | None]) -> None:
        """Somebody inserts or replaces (key, version, text) in the backup."""

    @abstractmethod
    def remove_from_backup(self, *keys: int) -> None: ...

    def close(self) -> None:  # noqa: B027
        """Give back what the backend holds."""

    # the product

    def initialize(self, *, service: Service | None = None, **options: Any) -> list[str]:
        source, backup = self.open(service or self.service())
        with closing(source), closing(backup):
            return initialize(source, backup, **options)

    def sync(
        self, run_id: str | None = None, service: Service | None = None, record: bool = True, **options: Any
    ) -> SyncResult:
        """A whole run: sync, then its history, as the DAG does it. Errors are raised after they were recorded, but for
        those of a backup that belongs to something else."""
        service = service or self.service()
        run_id = run_id or f"run-{next(_runs)}"
        run = SyncResult(sync_id("dag", run_id, service.name), service.name, run_id=run_id)
        source, backup = self.open(service)
        with closing(source), closing(backup):
            try:
                sync(service, source, backup, run, Options(**options))
            except Exception as error:
                run.fail(str(error))
                if not isinstance(error, PairingRefused):
                    record_history(backup, run)
                raise
            if record and not run.dry_run:
                record_history(backup, run)
        return run

    def verify(self, service: Service | None = None, *, by: Any = verify, **options: Any) -> SyncResult:
        """A verify, or what else ``by`` is; what it fails for stands in the result."""
        service = service or self.service()
        run = SyncResult(sync_id("verify", f"run-{next(_runs)}", service.name), service.name, run_id="verify")
        source, backup = self.open(service)
        with closing(source), closing(backup), recording(backup, run):
            by(source, backup, run, **options)
        return run

    def check_seal(self, service: Service | None = None) -> SyncResult:
        return self.verify(service, by=lambda _, backup, run: verify_seal(backup, run))

    def counts(self, **options: Any) -> Counts:
        run = self.sync(**options)
        return Counts(run.inserted, run.updated, run.deleted, run.skipped)


class SqliteBackend(Backend):
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.source_path, self.backup_path = folder / "source.sqlite", folder / "backup.sqlite"
        self.settings = {"table": "app.Things", "changed": {"Version": "higher"}}
        self.run_source('CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL, "Te xt" TEXT)')

    def run_source(self, sql: str, rows: Any = ((),)) -> None:
        with closing(sqlite3.connect(self.source_path)) as db, db:
            db.executemany(sql, rows)

    def open(self, service: Service) -> tuple[Store, Store]:
        from backup_sync.stores.sqlite.store import sqlite_store

        def store(path: Path, label: str) -> Store:
            def connect(_: str | None) -> sqlite3.Connection:
                return sqlite3.connect(path, check_same_thread=False)

            copy = label == "backup"
            mask_key = None if copy else self.mask_key
            return sqlite_store(service, connect, label, copy=copy, mask_key=mask_key, limits=self.limits)

        return store(self.source_path, "source"), store(self.backup_path, "backup")

    def put(self, *rows: tuple[int, int, str | None]) -> None:
        self.run_source('INSERT OR REPLACE INTO Things (Id, Version, "Te xt") VALUES (?, ?, ?)', rows)

    def remove(self, *keys: int) -> None:
        self.run_source("DELETE FROM Things WHERE Id = ?", [(key,) for key in keys])

    def source_rows(self) -> list[Row]:
        return self.rows(self.source_path, self.service().table or "")

    def backup_rows(self) -> list[Row]:
        found = self.rows(self.backup_path, self.service().table or "")
        for row in found:
            assert row.pop("SyncedAt")
        return found

    def history_rows(self) -> list[Row]:
        return self.rows(self.backup_path, "app.SyncHistory")

    def undo_rows(self) -> list[Row]:
        return self.rows(self.backup_path, f"{self.service().table}_Undo")

    def drop_copy(self) -> None:
        with closing(sqlite3.connect(self.backup_path)) as db, db:
            db.execute(f'DROP TABLE "{(self.service().table or "").partition(".")[2]}"')

    def run_backup(self, sql: str, rows: Any = ((),)) -> None:
        with closing(sqlite3.connect(self.backup_path)) as db, db:
            db.executemany(sql, rows)

    def put_in_backup(self, *rows: tuple[int, int, str | None]) -> None:
        self.run_backup("INSERT OR REPLACE INTO Things VALUES (?, ?, ?, '2024-01-01')", rows)

    def remove_from_backup(self, *keys: int) -> None:
        self.run_backup("DELETE FROM Things WHERE Id = ?", [(key,) for key in keys])

    def rows(self, path: Path, table: str) -> list[Row]:
        with closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row
            name = table.partition(".")[2]
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [name]).fetchone():
                return []
            return sorted(map(dict, db.execute(f'SELECT * FROM "{name}"')), key=repr)


class MssqlBackend(Backend):
    """Against the servers named in BACKUP_SYNC_TEST_MSSQL_SOURCE and _BACKUP, one table for each test."""

    name = "mssql"
    source_database, backup_database = "BackupSyncTest", "BackupSyncTest_Backup"
    options: dict[str, Any] = {}  # noqa: RUF012
    """Further arguments of the connections that the stores open."""

    def __init__(self, source: str, backup: str) -> None:
        self.source_uri, self.backup_uri = source, backup
        number = f"{os.getpid()}x{next(_numbers)}"  # others may be trying theirs on the same servers
        self.table = f"app.Things{number}"
        self.history = f"SyncHistory{number}"
        self.settings = {"table": self.table, "changed": {"Version": "higher"}, "history": self.history}
        self.run(
            source, f"IF DB_ID('{self.source_database}') IS NULL CREATE DATABASE [{self.source_database}]", "master"
        )
        self.run_source("IF SCHEMA_ID('app') IS NULL EXEC('CREATE SCHEMA app')")
        self.drop()
        self.run_source(
            f"CREATE TABLE {self.table} (Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, [Te xt] NVARCHAR(MAX))"
        )

    @staticmethod
    def connect(uri: str, database: str, **options: Any) -> Any:
        import pymssql

        parts = urlsplit(uri)
        return pymssql.connect(
            server=parts.hostname or "",
            port=str(parts.port or 1433),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=database,
            autocommit=True,
            **options,
        )

    def run(self, uri: str, sql: str, database: str, rows: Any = None) -> list[tuple[Any, ...]]:
        with closing(self.connect(uri, database)) as db, db.cursor() as cursor:
            if rows is None:
                cursor.execute(sql)
            else:
                cursor.executemany(sql, rows)
            return list(cursor.fetchall()) if cursor.description else []

    def run_source(self, sql: str, rows: Any = None) -> list[tuple[Any, ...]]:
        return self.run(self.source_uri, sql, self.source_database, rows)

    def run_backup(self, sql: str) -> list[tuple[Any, ...]]:
        return self.run(self.backup_uri, sql, self.backup_database)

    def drop(self) -> None:
        self.run_source(f"IF OBJECT_ID('{self.table}') IS NOT NULL DROP TABLE {self.table}")
        if self.run(self.backup_uri, f"SELECT DB_ID('{self.backup_database}')", "master")[0][0] is not None:
            for kind, ending in (("FUNCTION", "_AsOf"), ("VIEW", "_RestorePoints"), ("TABLE", "_Undo")):
                name = self.table + ending
                self.run_backup(f"IF OBJECT_ID('{name}') IS NOT NULL DROP {kind} {name}")
            for table in (self.table, f"app.{self.history}", f"app.{self.history}_Unfilled"):
                self.run_backup(f"IF OBJECT_ID('{table}') IS NOT NULL DROP TABLE {table}")

    def close(self) -> None:
        self.drop()

    def open(self, service: Service) -> tuple[Store, Store]:
        from backup_sync.stores.mssql.store import mssql_store

        def store(uri: str, label: str, own: str) -> Store:
            def connect(database: str | None) -> Any:
                return self.connect(uri, database or own, **self.options)

            copy = label == "backup"
            mask_key = None if copy else self.mask_key
            return mssql_store(service, connect, label, own, copy=copy, mask_key=mask_key, limits=self.limits)

        return (
            store(self.source_uri, "source", self.source_database),
            store(self.backup_uri, "backup", self.backup_database),
        )

    def put(self, *rows: tuple[int, int, str | None]) -> None:
        self.remove(*(row[0] for row in rows))
        if len(rows) > 1000:
            with closing(self.connect(self.source_uri, self.source_database)) as db:
                db.bulk_copy(self.table, rows, column_ids=[1, 2, 3])
        else:
            self.run_source(f"INSERT INTO {self.table} (Id, Version, [Te xt]) VALUES (%s, %s, %s)", rows)

    def remove(self, *keys: int) -> None:
        self.run_source(f"DELETE FROM {self.table} WHERE Id IN (SELECT [value] FROM OPENJSON('{json.dumps(keys)}'))")

    def source_rows(self) -> list[Row]:
        return self.rows(self.source_uri, self.source_database, self.table)

    def backup_rows(self) -> list[Row]:
        if not self.run(self.backup_uri, f"SELECT DB_ID('{self.backup_database}')", "master")[0][0]:
            return []
        found = self.rows(self.backup_uri, self.backup_database, self.table)
        for row in found:
            assert row.pop("SyncedAt")
        return found

    def history_rows(self) -> list[Row]:
        return self.rows(self.backup_uri, self.backup_database, f"app.{self.history}")

    def undo_rows(self) -> list[Row]:
        return self.rows(self.backup_uri, self.backup_database, f"{self.table}_Undo")

    def drop_copy(self) -> None:
        self.run_backup(f"DROP TABLE {self.table}")

    def put_in_backup(self, *rows: tuple[int, int, str | None]) -> None:
        self.remove_from_backup(*(row[0] for row in rows))
        sql = f"INSERT INTO {self.table} (Id, Version, [Te xt], SyncedAt) VALUES (%s, %s, %s, '2024-01-01')"
        self.run(self.backup_uri, sql, self.backup_database, rows)

    def remove_from_backup(self, *keys: int) -> None:
        self.run_backup(f"DELETE FROM {self.table} WHERE Id IN (SELECT [value] FROM OPENJSON('{json.dumps(keys)}'))")

    def rows(self, uri: str, database: str, table: str) -> list[Row]:
        if self.run(uri, f"SELECT OBJECT_ID('{table}')", database)[0][0] is None:
            return []
        with closing(self.connect(uri, database)) as db, db.cursor(as_dict=True) as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return sorted(map(dict, cursor.fetchall()), key=repr)


class CosmosBackend(Backend):
    """Against two Cosmos endpoints, one container for each test."""

    name = "cosmos"
    source_database, backup_database = "backup-sync-test", "backup-sync-test-backup"
    partition_key: Any = "/group"
    """A path, or several of a hierarchical key."""

    def __init__(
        self, name: str, source: tuple[str, str], backup: tuple[str, str], many: int = 2_000, **options: Any
    ) -> None:
        from azure.cosmos import CosmosClient

        self.name, self.many = name, many
        self.endpoints = (source, backup)
        number = next(_numbers)
        self.container, self.history = f"things-{number}", f"sync-history-{number}"
        self.settings = {
            "container": self.container,
            "changed": {"version": "higher", "state": "different"},
            "where": {"type": "Thing"},
            "history": self.history,
        }
        self.options = options
        self.clients = [
            CosmosClient(endpoint, key, enable_compact_utf8_item_writes=True, **options)
            for endpoint, key in self.endpoints
        ]
        self.database = self.clients[0].create_database_if_not_exists(self.source_database)
        self.source = self.database.create_container_if_not_exists(self.container, self.definition)

    @property
    def definition(self) -> Any:
        from azure.cosmos import PartitionKey

        if isinstance(self.partition_key, str):
            return PartitionKey(self.partition_key)
        return PartitionKey(list(self.partition_key), kind="MultiHash")

    def open(self, service: Service) -> tuple[Store, Store]:
        from backup_sync.stores.cosmos.account import Account
        from backup_sync.stores.cosmos.store import cosmos_store

        def store(end: int, database: str, label: str) -> Store:
            account = Account(*self.endpoints[end], database, self.container, self.options)
            return cosmos_store(service, account, label, copy=label == "backup", limits=self.limits)

        return store(0, self.source_database, "source"), store(1, self.backup_database, "backup")

    def beside(self, service: Service, name: str) -> Store:
        own, self.container = self.container, name
        try:
            other, backup = self.open(service.model_copy(update={"container": name}))
        finally:
            self.container = own
        backup.close()
        return other

    def document(self, key: int, version: int, text: str | None) -> Row:
        return {
            "id": f"thing-{key}",
            "group": f"group-{key % 7}",
            "customer-id": f"customer-{key % 7}",
            "type": "Thing",
            "version": version,
            "state": "new",
            "text": text,
            "deep": {"list": [1, 2.5, None, {"x": True}], "region": f"region-{key % 7}"},
        }

    def partition_of(self, key: int) -> Any:
        return f"group-{key % 7}"

    def put(self, *rows: tuple[int, int, str | None]) -> None:
        self.put_documents(*((self.partition_of(row[0]), self.document(*row)) for row in rows))

    def put_documents(self, *placed: tuple[Any, Row]) -> None:
        """Documents, each with the value of its partition key."""
        # As many as the service takes in a request: most of a test's time would go into single ones.
        groups: dict[str, list[Row]] = {}
        for partition, document in placed:
            if self.name == "cosmos-npm" or len(str(document)) > 10_000:
                self.source.upsert_item(document)
            else:
                groups.setdefault(json.dumps(partition), []).append(document)
        for partition, documents in groups.items():
            operations = [("upsert", (document,)) for document in documents]
            for first in range(0, len(operations), 100):
                self.source.execute_item_batch(operations[first : first + 100], json.loads(partition))

    def remove(self, *keys: int) -> None:
        for key in keys:
            self.source.delete_item(f"thing-{key}", self.partition_of(key))

    def source_rows(self) -> list[Row]:
        return self.rows(0, self.container)

    def backup_rows(self) -> list[Row]:
        return self.rows(1, self.container)

    def history_rows(self) -> list[Row]:
        return [row for row in self.rows(1, self.history) if not row["serviceName"].startswith("state:")]

    def undo_rows(self) -> list[Row]:
        return self.rows(1, f"{self.container}-undo")

    def drop_copy(self) -> None:
        self.clients[1].get_database_client(self.backup_database).delete_container(self.container)

    def put_in_backup(self, *rows: tuple[int, int, str | None]) -> None:
        for row in rows:
            self.copy.upsert_item(self.document(*row))

    def remove_from_backup(self, *keys: int) -> None:
        for key in keys:
            self.copy.delete_item(f"thing-{key}", self.partition_of(key))

    @property
    def copy(self) -> Any:
        return self.clients[1].get_database_client(self.backup_database).get_container_client(self.container)

    def rows(self, end: int, container: str) -> list[Row]:
        from azure.cosmos.exceptions import CosmosHttpResponseError

        database = (self.source_database, self.backup_database)[end]
        handle = self.clients[end].get_database_client(database).get_container_client(container)
        try:
            found = list(handle.query_items("SELECT * FROM c", enable_cross_partition_query=True))
        except CosmosHttpResponseError as error:
            if error.status_code == 404:
                return []
            raise
        system = {"_rid", "_self", "_etag", "_attachments", "_ts"}
        return sorted(({k: v for k, v in row.items() if k not in system} for row in found), key=repr)

    def close(self) -> None:
        for client in self.clients:
            client.__exit__(None, None, None)


class OddKeyBackend(CosmosBackend):
    """Its containers have a hierarchical partition key, of which one level is hyphenated and one is nested."""

    partition_key = ("/customer-id", "/deep/region", "/group")

    def partition_of(self, key: int) -> Any:
        return [f"customer-{key % 7}", f"region-{key % 7}", f"group-{key % 7}"]

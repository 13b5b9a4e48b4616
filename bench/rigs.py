"""What is measured on: a source and a backup of each kind, with the means to fill, change and compare them.

The parent process seeds and changes; every measured action runs in a child (bench/child.py) so that its peak memory
is its own. Both build the same rig from the same description.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from backup_sync.service import Service, parse_service
from backup_sync.stores.base import Store
from bench import baseline
from local.sample_data import CUSTOMER_COLUMNS, customer, order
from local.seed import TSQL_TABLE

P, Q = 2**31 - 1, 2**31 - 19


class Rig(ABC):
    """``n``: records in the source. Changes are 1 % updates, ½ % inserts and ½ % deletes."""

    name: str
    settings: ClassVar[dict[str, Any]]

    def __init__(self, n: int) -> None:
        self.n = n
        self.next_id = n + 1
        self.own_settings: dict[str, Any] = {}

    @property
    def service(self) -> Service:
        entry = {"source": "source", "backup": "backup", **self.settings, **self.own_settings}
        return parse_service("bench", entry, where="bench")

    @abstractmethod
    def stores(self) -> tuple[Store, Store]: ...

    @abstractmethod
    def seed(self) -> None: ...

    @abstractmethod
    def reset_backup(self) -> None: ...

    @abstractmethod
    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None: ...

    @abstractmethod
    def equal(self) -> bool:
        """Full content of both sides, read by the bare driver."""

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        """Name → preparation that returns the action to measure."""
        return {}

    @abstractmethod
    def baseline(self) -> tuple[int, int, int]:
        """The plain way (bench/baseline.py) on this rig; (inserted, updated, deleted)."""

    def changes(self, spread: str) -> tuple[int, int, int]:
        """Make the changes of a workload in the source; (inserts, updates, deletes) to expect."""
        ids = self.ids()
        few = max(1, self.n // 200)
        if spread == "uniform":
            step = len(ids) // (3 * few)
            chosen = ids[step // 2 :: step][: 3 * few]
        else:
            chosen = ids[-3 * few :]
        deleted = chosen[::3]
        updated = [key for key in chosen if key not in set(deleted)]
        new = range(self.next_id, self.next_id + few)
        self.next_id += few
        self.change(updated, new, deleted)
        return few, len(updated), len(deleted)

    @abstractmethod
    def ids(self) -> list[int]: ...


class SqliteRig(Rig):
    name = "sqlite"
    settings: ClassVar = {"table": "customer.Customers", "changed": {"Version": "higher"}}

    def __init__(self, n: int, folder: str) -> None:
        super().__init__(n)
        self.source, self.backup = Path(folder) / "source.sqlite", Path(folder) / "backup.sqlite"

    def stores(self) -> tuple[Store, Store]:
        from backup_sync.stores.sqlite import SqliteStore

        def store(path: Path, where: str) -> SqliteStore:
            return SqliteStore(self.service, lambda _: sqlite3.connect(path, check_same_thread=False), where)

        return store(self.source, "source"), store(self.backup, "backup")

    def run(self, sql: str, rows: Any = ((),)) -> None:
        with closing(sqlite3.connect(self.source)) as db, db:
            db.executemany(sql, rows)

    def seed(self) -> None:
        self.source.unlink(missing_ok=True)
        self.run(TSQL_TABLE.replace("customer.", "").replace("INT NOT NULL PRIMARY", "INTEGER NOT NULL PRIMARY"))
        self.insert(range(1, self.n + 1))

    def insert(self, numbers: range) -> None:
        self.run(f"INSERT INTO Customers VALUES ({', '.join('?' * len(CUSTOMER_COLUMNS))})", map(customer, numbers))

    def reset_backup(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.backup}{suffix}").unlink(missing_ok=True)

    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None:
        self.run("UPDATE Customers SET City = 'Göteborg', Version = Version + 1 WHERE Id = ?", ((i,) for i in updated))
        self.run("DELETE FROM Customers WHERE Id = ?", ((i,) for i in deleted))
        self.insert(inserted)

    def ids(self) -> list[int]:
        with closing(sqlite3.connect(self.source)) as db:
            return [row[0] for row in db.execute("SELECT Id FROM Customers ORDER BY Id")]

    def equal(self) -> bool:
        names = ", ".join(CUSTOMER_COLUMNS)
        with closing(sqlite3.connect(self.source)) as a, closing(sqlite3.connect(self.backup)) as b:
            pairs = (db.execute(f"SELECT {names} FROM Customers ORDER BY Id") for db in (a, b))
            return all(x == y for x, y in itertools.zip_longest(*pairs))

    def baseline(self) -> tuple[int, int, int]:
        source, backup = sqlite3.connect(self.source), sqlite3.connect(self.backup, isolation_level=None)
        with closing(source), closing(backup):
            return baseline.sync_table(source, backup, CUSTOMER_COLUMNS, "Customers", "?", "BEGIN")

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        def attach() -> Callable[[], Any]:
            path = self.backup.with_name("floor.sqlite")
            path.unlink(missing_ok=True)
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(TSQL_TABLE.replace("customer.", "").replace("INT NOT NULL PRIMARY", "INTEGER NOT NULL PRIMARY"))
            db.execute("ATTACH ? AS source", [str(self.source)])
            return lambda: db.execute("INSERT INTO Customers SELECT * FROM source.Customers")

        def scans() -> Callable[[], Any]:
            dbs = [sqlite3.connect(path) for path in (self.source, self.backup)]
            return lambda: [db.execute("SELECT Id, Version FROM Customers").fetchall() for db in dbs]

        return {"ATTACH + INSERT … SELECT": attach, "two SELECT key, stamp scans": scans}


class MssqlRig(Rig):
    name = "mssql"
    settings: ClassVar = {"table": "customer.Customers", "changed": {"Version": "higher"}}
    source_database, backup_database = "BackupSyncBench", "BackupSyncBench_Backup"

    def __init__(self, n: int, source: str, backup: str) -> None:
        super().__init__(n)
        self.uris = (source, backup)

    def connect(self, end: int, database: str | None = None) -> Any:
        import pymssql

        parts = urlsplit(self.uris[end])
        return pymssql.connect(
            server=parts.hostname or "",
            port=str(parts.port),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=database or (self.source_database, self.backup_database)[end],
            autocommit=True,
        )

    def run(self, end: int, sql: str, database: str | None = None) -> None:
        with closing(self.connect(end, database)) as db:
            db.cursor().execute(sql)

    def stores(self) -> tuple[Store, Store]:
        from backup_sync.stores.mssql import MssqlStore

        return (
            MssqlStore(self.service, lambda name: self.connect(0, name), "source", self.source_database),
            MssqlStore(self.service, lambda name: self.connect(1, name), "backup", self.backup_database),
        )

    def seed(self) -> None:
        name = self.source_database
        self.run(0, f"IF DB_ID('{name}') IS NULL CREATE DATABASE [{name}]", "master")
        self.run(0, "IF SCHEMA_ID('customer') IS NULL EXEC('CREATE SCHEMA customer')")
        self.run(0, "IF OBJECT_ID('customer.Customers') IS NOT NULL DROP TABLE customer.Customers")
        self.run(0, TSQL_TABLE)
        self.insert(range(1, self.n + 1))

    @staticmethod
    def rows(numbers: range) -> Iterator[tuple[Any, ...]]:
        for number in numbers:
            row = customer(number)
            row[13] = row[13].replace("T", " ")
            yield tuple(row)

    def insert(self, numbers: range) -> None:
        with closing(self.connect(0)) as db:
            db.bulk_copy("customer.Customers", self.rows(numbers), batch_size=50_000)

    def reset_backup(self) -> None:
        self.run(1, f"IF DB_ID('{self.backup_database}') IS NULL CREATE DATABASE [{self.backup_database}]", "master")
        for table in ("Customers", "SyncHistory"):
            self.run(1, f"IF OBJECT_ID('customer.{table}') IS NOT NULL DROP TABLE customer.{table}")

    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None:
        with closing(self.connect(0)) as db, db.cursor() as cursor:
            for start in range(0, len(updated), 2000):
                keys = ", ".join(map(str, updated[start : start + 2000]))
                cursor.execute(
                    f"UPDATE customer.Customers SET City = N'Göteborg', Version = Version + 1 WHERE Id IN ({keys})"
                )
            for start in range(0, len(deleted), 2000):
                keys = ", ".join(map(str, deleted[start : start + 2000]))
                cursor.execute(f"DELETE FROM customer.Customers WHERE Id IN ({keys})")
        self.insert(inserted)

    def ids(self) -> list[int]:
        with closing(self.connect(0)) as db, db.cursor() as cursor:
            cursor.execute("SELECT Id FROM customer.Customers ORDER BY Id")
            return [row[0] for row in cursor.fetchall()]

    def equal(self) -> bool:
        names = ", ".join(CUSTOMER_COLUMNS)
        with closing(self.connect(0)) as a, closing(self.connect(1)) as b:
            cursors = [db.cursor() for db in (a, b)]
            for cursor in cursors:
                cursor.execute(f"SELECT {names} FROM customer.Customers ORDER BY Id")
            return all(x == y for x, y in itertools.zip_longest(*cursors))

    def baseline(self) -> tuple[int, int, int]:
        with closing(self.connect(0)) as source, closing(self.connect(1)) as backup:
            return baseline.sync_table(
                source, backup, CUSTOMER_COLUMNS, "customer.Customers", "%s", "BEGIN TRANSACTION"
            )

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        def bulk() -> Callable[[], Any]:
            self.run(1, "IF SCHEMA_ID('customer') IS NULL EXEC('CREATE SCHEMA customer')")
            self.run(1, "IF OBJECT_ID('customer.Floor') IS NOT NULL DROP TABLE customer.Floor")
            self.run(1, TSQL_TABLE.replace("customer.Customers", "customer.Floor"))
            rows = list(self.rows(range(1, self.n + 1)))
            db = self.connect(1)
            return lambda: db.bulk_copy("customer.Floor", rows, batch_size=10_000)

        def digests() -> Callable[[], Any]:
            sql = (
                f"SELECT piece, COUNT_BIG(*), SUM(CONVERT(BIGINT, v)), SUM(mix * mix % {Q}) FROM (SELECT Id / 50000 AS piece, "
                f"Version AS v, (CONVERT(BIGINT, Id) * 1234577 + CONVERT(BIGINT, Version) * 7654321 + 99991) % {P} AS mix "
                "FROM customer.Customers) d GROUP BY piece"
            )

            def one(end: int) -> None:
                with closing(self.connect(end)) as db, db.cursor() as cursor:
                    cursor.execute(sql)
                    cursor.fetchall()

            return lambda: _in_threads([lambda: one(0), lambda: one(1)])

        return {"bare bulk_copy of the same rows": bulk, "two parallel server-side digests": digests}


class CosmosRig(Rig):
    name = "cosmos"
    settings: ClassVar = {
        "container": "orders",
        "where": {"type": "Order"},
        "changed": {"lastModified": "newer", "status": "different"},
    }

    def __init__(self, n: int, source: str, backup: str, key: str, per_customer: int) -> None:
        super().__init__(n)
        self.endpoints, self.key, self.per_customer = (source, backup), key, per_customer
        self.name = f"cosmos, {per_customer} a partition key"
        self.orders = f"orders{per_customer}"
        self.own_settings = {"container": self.orders, "history": f"history{per_customer}"}

    def document(self, number: int) -> dict[str, Any]:
        return order(number, max(1, self.n // self.per_customer))

    def container(self, end: int) -> Any:
        from azure.cosmos import CosmosClient

        client = CosmosClient(self.endpoints[end], self.key)
        return client.get_database_client("bench").get_container_client(self.orders)

    def stores(self) -> tuple[Store, Store]:
        from backup_sync.stores.cosmos import CosmosStore
        from backup_sync.stores.cosmos_account import Account

        def store(end: int, where: str) -> CosmosStore:
            return CosmosStore(self.service, Account(self.endpoints[end], self.key, "bench", self.orders), where)

        return store(0, "source"), store(1, "backup")

    def seed(self) -> None:
        from azure.cosmos import CosmosClient, PartitionKey

        database = CosmosClient(self.endpoints[0], self.key).create_database_if_not_exists("bench")
        container = database.create_container_if_not_exists(self.orders, PartitionKey("/customerId"))
        for number in range(1, self.n + 1):
            container.upsert_item(self.document(number))

    def reset_backup(self) -> None:
        from azure.cosmos import CosmosClient
        from azure.cosmos.exceptions import CosmosResourceNotFoundError

        client = CosmosClient(self.endpoints[1], self.key)
        try:
            client.delete_database("bench")
        except CosmosResourceNotFoundError:
            pass

    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None:
        container = self.container(0)
        for number in updated:
            document = self.document(number)
            document["status"] = f"Changed {self.next_id}"
            container.upsert_item(document)
        for number in deleted:
            document = self.document(number)
            container.delete_item(document["id"], document["customerId"])
        for number in inserted:
            container.upsert_item(self.document(number))

    def ids(self) -> list[int]:
        found = self.container(0).query_items("SELECT c.id FROM c", enable_cross_partition_query=True)
        return sorted(int(item["id"].rpartition("-")[2]) for item in found)

    def equal(self) -> bool:
        sides = []
        for end in (0, 1):
            items = self.container(end).read_all_items()
            sides.append({i["id"]: {k: v for k, v in i.items() if not k.startswith("_")} for i in items})
        return sides[0] == sides[1]

    def baseline(self) -> tuple[int, int, int]:
        return baseline.sync_container(self.container(0), self.container(1))

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        sample = min(self.n, 2_000)

        def upserts() -> Callable[[], Any]:
            from azure.cosmos import CosmosClient, PartitionKey

            database = CosmosClient(self.endpoints[1], self.key).create_database_if_not_exists("floor")
            container = database.create_container_if_not_exists("floor", PartitionKey("/customerId"))
            documents = [self.document(number) for number in range(1, sample + 1)]

            def run() -> float:
                for document in documents:
                    container.upsert_item(document)
                return self.n / sample  # the factor by which the time counts

            return run

        def scans() -> Callable[[], Any]:
            query = "SELECT c.id, c.customerId, c.lastModified, c.status FROM c WHERE c.type = 'Order'"
            containers = [self.container(end) for end in (0, 1)]

            def one(container: Any) -> None:
                for _ in container.query_items(query, enable_cross_partition_query=True, max_item_count=1000):
                    pass

            return lambda: _in_threads([lambda: one(containers[0]), lambda: one(containers[1])])

        return {"one synchronous upsert a document": upserts, "two parallel projection scans": scans}


def _in_threads(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def build(description: dict[str, Any]) -> Rig:
    """The rig that a description (JSON-ready) stands for."""
    kinds: dict[str, type[Rig]] = {"sqlite": SqliteRig, "mssql": MssqlRig, "cosmos": CosmosRig}
    values = dict(description)
    return kinds[values.pop("kind")](**values)


def mssql_uris() -> tuple[str, str] | None:
    """The two servers named in the environment, as in the conformance suite."""
    found = [os.environ.get(f"BACKUP_SYNC_TEST_MSSQL_{end}", "") for end in ("SOURCE", "BACKUP")]
    return (found[0], found[1]) if all(found) else None

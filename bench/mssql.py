"""SQL Server: two servers, named in the environment as for the conformance suite."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from backup_sync.stores.base import Store
from bench import baseline
from bench.rig import Rig, in_threads
from local.sample_data import CUSTOMER_COLUMNS, customer
from local.seed import TSQL_TABLE

P, Q = 2**31 - 1, 2**31 - 19


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
        from backup_sync.stores.mssql.store import mssql_store

        return (
            mssql_store(self.service, partial(self.connect, 0), "source", self.source_database, copy=False),
            mssql_store(self.service, partial(self.connect, 1), "backup", self.backup_database, copy=True),
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
        beside = [("VIEW", "Customers_RestorePoints"), ("FUNCTION", "Customers_AsOf"), ("TABLE", "Customers_Undo")]
        for kind, name in (*beside, ("TABLE", "Customers"), ("TABLE", "SyncHistory")):
            self.run(1, f"IF OBJECT_ID('customer.{name}') IS NOT NULL DROP {kind} customer.{name}")

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

    def read_all(self) -> None:
        with closing(self.connect(0)) as db, db.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(CUSTOMER_COLUMNS)} FROM customer.Customers")
            while cursor.fetchmany(1_000):
                pass

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

            return lambda: in_threads([lambda: one(0), lambda: one(1)])

        return {"bare bulk_copy of the same rows": bulk, "two parallel server-side digests": digests}


def uris() -> tuple[str, str] | None:
    """The two servers named in the environment, as in the conformance suite."""
    found = [os.environ.get(f"BACKUP_SYNC_TEST_MSSQL_{end}", "") for end in ("SOURCE", "BACKUP")]
    return (found[0], found[1]) if all(found) else None

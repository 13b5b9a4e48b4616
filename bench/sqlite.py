"""SQLite: two files."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from backup_sync.stores.base import Store
from bench import baseline
from bench.rig import Rig
from local.sample_data import CUSTOMER_COLUMNS, customer
from local.seed import TSQL_TABLE


class SqliteRig(Rig):
    name = "sqlite"
    settings: ClassVar = {"table": "customer.Customers", "changed": {"Version": "higher"}}

    def __init__(self, n: int, folder: str) -> None:
        super().__init__(n)
        self.source, self.backup = Path(folder) / "source.sqlite", Path(folder) / "backup.sqlite"

    def stores(self) -> tuple[Store, Store]:
        from backup_sync.stores.sqlite.store import sqlite_store

        def store(path: Path, label: str) -> Store:
            def connect(_: str | None) -> sqlite3.Connection:
                return sqlite3.connect(path, check_same_thread=False)

            return sqlite_store(self.service, connect, label, copy=label == "backup")

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

    def read_all(self) -> None:
        with closing(sqlite3.connect(self.source)) as db:
            cursor = db.execute("SELECT * FROM Customers")
            while cursor.fetchmany(1_000):
                pass

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

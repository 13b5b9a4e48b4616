"""Put the sample data into the two sources, whatever their connections are: ``python -m local.seed``.

Works on the Airflow connections ``customer_source`` (sqlite or mssql) and ``order_source`` (azure_cosmos) as the DAG
would see them, creates database, table and container when they are missing, and replaces what they hold.
"""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from local.sample_data import CUSTOMER_COLUMNS, customer, order

logging.getLogger("azure.cosmos").setLevel(logging.WARNING)

TSQL_TABLE = """CREATE TABLE customer.Customers (
    Id INT NOT NULL PRIMARY KEY, FirstName NVARCHAR(100) NOT NULL, LastName NVARCHAR(100) NOT NULL,
    Email NVARCHAR(256) NOT NULL, PhoneCountryCode NVARCHAR(10) NULL, PhoneNumber NVARCHAR(20) NULL,
    Street NVARCHAR(200) NULL, City NVARCHAR(100) NULL, State NVARCHAR(100) NULL, Country NVARCHAR(100) NULL,
    ZipCode NVARCHAR(20) NULL, StatusId INT NOT NULL, StatusName NVARCHAR(50) NOT NULL,
    CreatedAt DATETIME2 NOT NULL, ModifiedAt DATETIME2 NULL, Version INT NOT NULL)"""


def _connection(conn_id: str) -> Any:
    from airflow.sdk import BaseHook  # takes seconds to import

    return BaseHook.get_connection(conn_id)


class Customers:
    """The table of the ``customer`` service's source, to seed and to change."""

    def __init__(self, conn_id: str = "customer_source") -> None:
        self.connection = _connection(conn_id)
        self.is_sqlite = self.connection.conn_type == "sqlite"
        self.name = "Customers" if self.is_sqlite else "customer.Customers"
        self.mark = "?" if self.is_sqlite else "%s"

    def run(self, statement: str, rows: Sequence[Sequence[Any]] = ((),), database: str | None = None) -> None:
        if self.is_sqlite:
            with sqlite3.connect(self.connection.host or "") as db:
                db.executemany(statement, rows)
            db.close()
            return
        from airflow.providers.microsoft.mssql.hooks.mssql import MsSqlHook

        hook = MsSqlHook(mssql_conn_id=self.connection.conn_id, schema=database)
        with closing(hook.get_conn()) as server:
            if rows and not rows[0]:
                server.autocommit(True)  # a database cannot be made in a transaction
                server.cursor().execute(statement)
            else:
                server.cursor().executemany(statement, [tuple(row) for row in rows])
                server.commit()

    def holds_rows(self) -> bool:
        """Whether the table is there and holds any; raises as long as the server is not there."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self.connection.host or "")) as db:
                there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'Customers'").fetchone()
                return bool(there and db.execute("SELECT 1 FROM Customers LIMIT 1").fetchone())
        from airflow.providers.microsoft.mssql.hooks.mssql import MsSqlHook

        # The database is asked for in master, as one that is missing looks to the driver like a wrong password.
        for database, question in (
            ("master", f"SELECT DB_ID('{self.connection.schema}')"),
            (None, f"SELECT OBJECT_ID('{self.name}')"),
            (None, f"SELECT TOP (1) Id FROM {self.name}"),
        ):
            found = MsSqlHook(mssql_conn_id=self.connection.conn_id, schema=database).get_first(question)
            if not found or found[0] is None:
                return False
        return True

    def create(self) -> None:
        if self.is_sqlite:
            self.run("DROP TABLE IF EXISTS Customers")
            self.run(TSQL_TABLE.replace("customer.", "").replace("INT NOT NULL PRIMARY", "INTEGER NOT NULL PRIMARY"))
            return
        name = self.connection.schema
        self.run(f"IF DB_ID('{name}') IS NULL CREATE DATABASE [{name}]", database="master")
        self.run("IF SCHEMA_ID('customer') IS NULL EXEC('CREATE SCHEMA customer')")
        self.run("IF OBJECT_ID('customer.Customers') IS NOT NULL DROP TABLE customer.Customers")
        self.run(TSQL_TABLE)

    def insert(self, numbers: range) -> None:
        marks = ", ".join([self.mark] * len(CUSTOMER_COLUMNS))
        self.run(
            f"INSERT INTO {self.name} ({', '.join(CUSTOMER_COLUMNS)}) VALUES ({marks})", [customer(n) for n in numbers]
        )

    def change(self, numbers: Sequence[int]) -> None:
        self.run(
            f"UPDATE {self.name} SET City = {self.mark}, ModifiedAt = {self.mark}, Version = Version + 1 WHERE Id = {self.mark}",
            [("Göteborg", "2024-06-01T08:00:00.1234567", number) for number in numbers],
        )

    def delete(self, numbers: Sequence[int]) -> None:
        self.run(f"DELETE FROM {self.name} WHERE Id = {self.mark}", [(number,) for number in numbers])


class Orders:
    """The container of the ``order`` service's source, to seed and to change."""

    def __init__(self, conn_id: str = "order_source") -> None:
        from azure.cosmos import CosmosClient, PartitionKey

        connection = _connection(conn_id)
        extra = connection.extra_dejson
        self.client = CosmosClient(connection.login or "", connection.password or "")
        self.database = self.client.create_database_if_not_exists(extra["database_name"])
        self.name = extra["collection_name"]
        self.partition_key = PartitionKey("/customerId")
        self.container = self.database.create_container_if_not_exists(self.name, self.partition_key)

    def create(self) -> None:
        self.database.delete_container(self.name)
        self.container = self.database.create_container(self.name, self.partition_key)

    def insert(self, numbers: range, customers: int) -> None:
        for number in numbers:
            self.container.upsert_item(order(number, customers))

    def left_to_insert(self, count: int) -> range | None:
        """What a seed that was cut short did not get to; None where the container holds anything else than its beginning."""
        found = {
            item["id"] for item in self.container.query_items("SELECT c.id FROM c", enable_cross_partition_query=True)
        }
        done = len(found)
        whole = done >= count or found != {order(number, 1)["id"] for number in range(1, done + 1)}
        return None if done and whole else range(done + 1, count + 1)

    def change(self, numbers: Sequence[int], customers: int) -> None:
        """Every other one by its date, the rest by their status alone."""
        for number in numbers:
            document = order(number, customers)
            if number % 2:
                document["lastModified"] = "2025-01-01T00:00:00.0000001Z"
            else:
                document["status"] = "Cancelled"
            self.container.upsert_item(document)

    def delete(self, numbers: Sequence[int], customers: int) -> None:
        for number in numbers:
            document = order(number, customers)
            self.container.delete_item(document["id"], document["customerId"])


def when_ready(what: str, action: Callable[[], Any], seconds: float) -> Any:
    """Try ``action`` until it works: servers in containers answer long before they are ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except Exception as error:
            if time.monotonic() > deadline:
                sys.exit(f"{what} did not become ready in {seconds:.0f} s ({type(error).__name__})")
            time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=100)
    parser.add_argument("--orders", type=int, default=100)
    parser.add_argument("--wait", type=float, default=0, help="seconds to wait for the servers")
    parser.add_argument("--unless-seeded", action="store_true", help="leave sources alone that hold data already")
    arguments = parser.parse_args()

    customers = Customers()
    if not (arguments.unless_seeded and when_ready("customer_source", customers.holds_rows, arguments.wait)):
        when_ready("customer_source", customers.create, arguments.wait)
        customers.insert(range(1, arguments.customers + 1))
        print(f"customer_source: {arguments.customers} customers")
    orders = when_ready("order_source", Orders, arguments.wait)
    if arguments.unless_seeded:
        left = orders.left_to_insert(arguments.orders)
    else:
        orders.create()
        left = range(1, arguments.orders + 1)
    if left is not None:
        orders.insert(left, max(arguments.customers, 1))
        print(f"order_source: {len(left)} orders")


if __name__ == "__main__":
    main()

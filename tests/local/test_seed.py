"""The seed puts each sample record in once, also on servers that are quite new and after it was cut short."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local import seed
from local.cosmos import EmbeddedCosmos
from local.sample_data import order
from tests.conformance.backends import MssqlBackend
from tests.conformance.conftest import MSSQL, named
from tests.rehearsal.stack import sql_server_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCosmos]:
    with EmbeddedCosmos(tmp_path_factory.mktemp("cosmos") / "data.sqlite") as found:
        yield found


@pytest.fixture
def orders(server: EmbeddedCosmos, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> seed.Orders:
    extra = {"database_name": "orderdb", "collection_name": f"orders-{abs(hash(request.node.name))}"}
    connection = {"conn_type": "azure_cosmos", "login": server.endpoint, "password": server.key, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ORDER_SOURCE", json.dumps(connection))
    return seed.Orders()


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> seed.Customers:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "customer.sqlite")}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMER_SOURCE", json.dumps(connection))
    return seed.Customers()


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["seed", "--customers", "5", "--orders", "6", *options])
    seed.main()


def rows(customers: seed.Customers) -> list[Any]:
    with closing(sqlite3.connect(customers.connection.host or "")) as db:
        return db.execute("SELECT Id, City FROM Customers ORDER BY Id").fetchall()


def test_a_seed_that_was_killed_after_it_made_the_table_is_made_up_for(
    customers: seed.Customers, orders: seed.Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers.create()
    assert not customers.holds_rows()
    run(monkeypatch, "--unless-seeded")
    assert len(rows(customers)) == 5
    assert customers.holds_rows()


def test_a_seed_of_documents_that_was_cut_short_goes_on_where_it_stopped(
    customers: seed.Customers, orders: seed.Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.insert(range(1, 4), 5)
    assert orders.left_to_insert(6) == range(4, 7)
    run(monkeypatch, "--unless-seeded")
    assert {item["id"] for item in orders.container.read_all_items()} == {order(n, 5)["id"] for n in range(1, 7)}


def test_what_somebody_put_there_or_took_away_stays_as_it_is(
    customers: seed.Customers, orders: seed.Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch)
    customers.change([2])
    customers.delete([3])
    orders.delete([2], 5)
    orders.container.upsert_item({"id": "mine", "customerId": "c"})
    before = rows(customers), list(orders.container.read_all_items())
    run(monkeypatch, "--unless-seeded")
    assert (rows(customers), list(orders.container.read_all_items())) == before


def test_without_the_option_everything_is_replaced(
    customers: seed.Customers, orders: seed.Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch)
    customers.delete([1, 2])
    orders.delete([2], 5)
    run(monkeypatch)
    assert len(rows(customers)) == 5
    assert orders.left_to_insert(6) is None


def test_a_server_without_the_database_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    uri, name = named(MSSQL)[0], f"Seed{os.getpid()}"
    connection = {"conn_type": "mssql", "schema": name, **sql_server_of(uri)}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMER_SOURCE", json.dumps(connection))
    customers = seed.Customers()
    try:
        assert not customers.holds_rows()
        customers.create()
        assert not customers.holds_rows()
        customers.insert(range(1, 4))
        assert customers.holds_rows()
    finally:
        with closing(MssqlBackend.connect(uri, "master")) as server, server.cursor() as cursor:
            cursor.execute(f"IF DB_ID('{name}') IS NOT NULL DROP DATABASE [{name}]")

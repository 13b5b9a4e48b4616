"""The DAG backup_sync, run whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from local.sample_data import CUSTOMER_COLUMNS
from tests.dags.conftest import DAGS, World, connection

pytestmark = pytest.mark.airflow


def test_the_four_scenarios_do_what_they_say(world: World):
    first = world.run()
    assert first.state == "success"
    assert first.counts("customer") == first.counts("order") == (20, 0, 0, 0)
    world.customers.change([1, 2, 3])
    world.orders.change([4, 5, 6], 20)
    second = world.run()
    assert second.counts("customer") == second.counts("order") == (0, 3, 0, 17)
    world.customers.delete([7, 8])
    world.orders.delete([7, 8], 20)
    third = world.run()
    assert third.counts("customer") == third.counts("order") == (0, 0, 2, 18)
    fourth = world.run(conf={"force": True})
    assert fourth.counts("customer") == fourth.counts("order") == (0, 18, 0, 0)
    assert len(world.customer_history()) == len(world.order_history()) == 4


def test_the_four_scenarios_on_two_sql_servers(world: World, monkeypatch):
    servers = [os.environ.get(f"BACKUP_SYNC_TEST_MSSQL_{end}", "") for end in ("SOURCE", "BACKUP")]
    if not all(servers):
        pytest.skip("needs BACKUP_SYNC_TEST_MSSQL_SOURCE and BACKUP_SYNC_TEST_MSSQL_BACKUP")
    for name, uri, database in zip(
        ("SOURCE", "BACKUP"), servers, ("BackupSyncDag", "BackupSyncDag_Backup"), strict=True
    ):
        parts = urlsplit(uri)
        value = {
            "conn_type": "mssql",
            "host": parts.hostname,
            "port": parts.port or 1433,
            "login": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "schema": database,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_CUSTOMER_{name}", json.dumps(value))
    from airflow.providers.microsoft.mssql.hooks.mssql import MsSqlHook

    server = MsSqlHook(mssql_conn_id="customer_backup", schema="master").get_conn()
    server.autocommit(True)
    server.cursor().execute("IF DB_ID('BackupSyncDag_Backup') IS NOT NULL DROP DATABASE BackupSyncDag_Backup")
    server.close()
    world.seed(100)

    first = world.run(conf={"service": "customer"})
    assert first.returned["customer.initialize"]["Created"] == [
        "database BackupSyncDag_Backup",
        "schema customer",
        "table customer.Customers",
        "table customer.SyncHistory",
        "table customer.SyncState",
    ]
    assert first.counts("customer") == (100, 0, 0, 0)
    world.customers.change([1, 2, 3, 4, 5])
    assert world.run(conf={"service": "customer"}).counts("customer") == (0, 5, 0, 95)
    world.customers.delete([7, 8, 9])
    assert world.run(conf={"service": "customer"}).counts("customer") == (0, 0, 3, 97)
    forced = world.run(conf={"service": "customer", "force": True})
    assert forced.counts("customer") == (0, 97, 0, 0)
    assert "customer1@example.com" not in forced.log
    for secret in (unquote(urlsplit(uri).password or "") for uri in servers):
        assert secret not in forced.log
    names = ", ".join(CUSTOMER_COLUMNS)
    sides = [
        MsSqlHook(mssql_conn_id=f"customer_{end}", log_sql=False).get_records(
            f"SELECT {names} FROM customer.Customers ORDER BY Id"
        )
        for end in ("source", "backup")
    ]
    assert len(sides[0]) == 97
    assert sides[0] == sides[1]
    history = MsSqlHook(mssql_conn_id="customer_backup", log_sql=False).get_records(
        "SELECT InsertedCount, UpdatedCount, DeletedCount, Success FROM customer.SyncHistory ORDER BY StartedAt"
    )
    assert [tuple(row) for row in history] == [(100, 0, 0, True), (0, 5, 0, True), (0, 0, 3, True), (0, 97, 0, True)]


def test_the_copy_is_the_same_in_full_content(world: World):
    world.run()
    names = [row[1] for row in world.rows(world.places.customer_source, "PRAGMA table_info(Customers)")]
    sql = f"SELECT {', '.join(names)} FROM Customers ORDER BY Id"
    assert world.rows(world.places.customer_source, sql) == world.rows(world.places.customer_backup, sql)
    from azure.cosmos import CosmosClient

    bodies = []
    for server, database in zip(world.cosmos, ("orderdb", "orderdb-backup"), strict=True):
        with CosmosClient(server.endpoint, server.key) as client:
            container = client.get_database_client(database).get_container_client("orders")
            documents = sorted(container.read_all_items(), key=lambda item: item["id"])
            bodies.append([{k: v for k, v in item.items() if not k.startswith("_")} for item in documents])
    assert len(bodies[0]) == 20
    assert [list(item.items()) for item in bodies[0]] == [list(item.items()) for item in bodies[1]]


def test_one_service_can_be_asked_for_and_the_other_is_skipped_whole(world: World):
    outcome = world.run(conf={"service": "customer"})
    assert outcome.state == "success"
    assert {outcome.tasks[f"order.{task}"] for task in ("initialize", "sync", "record_history")} == {"skipped"}
    assert [result["ServiceName"] for result in outcome.summary["Results"]] == ["customer"]


def test_a_dry_run_counts_and_writes_nothing(world: World):
    world.run()
    world.customers.change([1])
    outcome = world.run(conf={"dry_run": True})
    assert outcome.counts("customer") == (0, 1, 0, 19)
    assert len(world.customer_history()) == len(world.order_history()) == 1
    assert "customer sync would insert 0, update 1 and delete 0, and leave 19 as they are" in outcome.log


def test_a_dry_run_before_anything_was_made_makes_nothing(world: World):
    outcome = world.run(conf={"dry_run": True})
    assert outcome.counts("customer") == outcome.counts("order") == (20, 0, 0, 0)
    assert not world.places.customer_backup.exists()


def test_an_unknown_key_in_the_conf_fails_the_run_and_lists_the_known_ones(world: World):
    outcome = world.run(conf={"forse": True})
    assert outcome.state == "failed"
    for result in outcome.summary["Results"]:
        assert "unknown parameter forse" in result["ErrorMessage"]
        assert "accept_source, allow_deletes, dry_run, force, service" in result["ErrorMessage"]


def test_a_failed_service_fails_the_run_while_the_other_completes(world: World):
    world.run()
    world.customers.run("ALTER TABLE Customers RENAME TO Elsewhere")
    world.orders.change([1], 20)
    outcome = world.run()
    assert outcome.state == "failed"
    assert outcome.counts("order") == (0, 1, 0, 19)
    assert outcome.tasks["order.record_history"] == "success"
    assert outcome.summary["Success"] is False
    assert outcome.summary["Message"] == "1 of 2 services failed: customer"
    success, message, *_ = world.customer_history()[-1]
    assert success == 0
    assert message.startswith(
        "customer_source: table customer.Customers does not exist or may not be read; correct 'table'"
    )


def test_withheld_deletes_fail_the_run_and_the_parameter_lets_them_through(world: World):
    world.run()
    world.customers.delete(list(range(1, 16)))
    outcome = world.run()
    assert outcome.state == "failed"
    result = outcome.summary["Results"][0]
    assert (result["WithheldCount"], result["DeletedCount"]) == (15, 0)
    assert world.run(conf={"allow_deletes": 15}).counts("customer") == (0, 0, 15, 5)


def test_a_document_without_id_is_counted_and_one_without_partition_key_is_copied(world: World):
    world.cosmos[0].put_raw("orderdb", "orders", {"customerId": "c", "type": "Order"})
    world.cosmos[0].put_raw("orderdb", "orders", {"id": "lost", "type": "Order", "status": "x", "note": "hunter2"})
    outcome = world.run()
    assert outcome.state == "success"
    assert outcome.counts("order") == (21, 0, 0, 0)
    assert outcome.summary["Results"][1]["RejectedCount"] == 1
    assert "document (no id) has no id; it is counted as rejected" in outcome.log
    assert "hunter2" not in outcome.log


def test_documents_of_another_type_are_left_alone(world: World):
    world.orders.container.upsert_item({"id": "i1", "customerId": "c", "type": "Invoice"})
    assert world.run().counts("order") == (20, 0, 0, 0)


@pytest.mark.parametrize(
    "service, name, value, message",
    [
        ("customer", "customer_source", None, r"connection customer_source of service customer does not exist"),
        (
            "customer",
            "customer_source",
            {"host": "/nowhere/x.sqlite"},
            "customer_source: SQLite reports SQLITE_CANTOPEN",
        ),
        ("order", "order_source", {"password": "d3Jvbmc="}, "order_source: Cosmos DB refused the key; correct the"),
        (
            "order",
            "order_source",
            {"extra": {"database_name": "orderdb", "collection_name": "nothing"}},
            "order_source: container nothing of database orderdb does not exist; correct",
        ),
    ],
)
def test_a_wrong_connection_fails_at_once_and_says_what_to_do(world: World, monkeypatch, service, name, value, message):
    if value is None:
        monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
    else:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(name, **value))
    outcome = world.run(conf={"service": service})
    assert outcome.state == "failed"
    assert outcome.tasks[f"{service}.initialize"] == "failed"
    (result,) = outcome.summary["Results"]
    assert message in result["ErrorMessage"]
    assert "d3Jvbmc=" not in outcome.log


def test_a_mistake_in_one_service_fails_that_service_only(world: World, tmp_path: Path):
    world.services(tmp_path, customer={"changed": {"Version": "bigger"}})
    outcome = world.run()
    assert outcome.state == "failed"
    assert outcome.counts("order") == (20, 0, 0, 0)
    assert "services.customer: changed.Version: Input should be" in outcome.summary["Results"][0]["ErrorMessage"]


def test_a_third_service_is_an_entry_in_the_file_and_nothing_else(world: World, tmp_path: Path):
    world.customers.run("CREATE TABLE Cities (Name TEXT NOT NULL PRIMARY KEY, Version INTEGER NOT NULL, Mayor TEXT)")
    world.customers.run("INSERT INTO Cities VALUES ('Malmö', 1, NULL), ('Torino', 1, 'x')")
    city = {"source": "customer_source", "backup": "customer_backup", "table": "customer.Cities"}
    world.services(tmp_path, city={**city, "changed": {"Version": "higher"}})
    outcome = world.run()
    assert outcome.counts("city") == (2, 0, 0, 0)
    assert outcome.counts("customer") == (20, 0, 0, 0)


def test_no_secret_and_no_value_of_a_record_is_logged(world: World):
    world.run()
    world.customers.change([1, 2])
    world.orders.change([3], 20)
    outcome = world.run(conf={"force": True})
    returned = json.dumps(outcome.returned)
    for secret in (world.cosmos[0].key, "customer1@example.com", "customer-3", "order-000003", "Göteborg"):
        assert secret not in outcome.log
        assert secret not in returned


def test_initialize_alone_makes_everything_and_can_be_run_again(world: World):
    first = world.run("backup_initialize")
    assert first.state == "success"
    assert first.returned["customer"]["Created"] == [
        "table Customers",
        "table SyncHistory",
        "table SyncState",
        "table Customers_Undo",
    ]
    assert first.returned["order"]["Created"] == [
        "database orderdb-backup",
        "container orders",
        "container sync-history",
        "container orders-undo",
    ]
    second = world.run("backup_initialize")
    assert [second.returned[name]["Created"] for name in ("customer", "order")] == [[], []]
    assert world.rows(world.places.customer_backup, "SELECT COUNT(*) FROM Customers") == [(0,)]


# The DAG as it is declared


def load():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(DAGS))
    assert not bag.import_errors
    return bag.dags


def test_the_chains_are_parallel_and_meet_in_the_summary():
    dag = load()["backup_sync"]
    for service in ("customer", "order"):
        assert dag.get_task(f"{service}.initialize").upstream_task_ids == set()
        assert dag.get_task(f"{service}.sync").upstream_task_ids == {f"{service}.initialize"}
        assert dag.get_task(f"{service}.record_history").upstream_task_ids == {f"{service}.sync"}
        assert dag.get_task(f"{service}.sync").max_active_tis_per_dag == 1
        assert dag.get_task(f"{service}.sync").retries == 2
        assert dag.get_task(f"{service}.sync").retry_exponential_backoff
    assert dag.get_task("summary").upstream_task_ids == {"customer.record_history", "order.record_history"}


def test_every_parameter_has_a_title_and_a_description():
    for dag in load().values():
        assert dag.doc_md
        assert "backup" in dag.tags
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema["title"]
            assert param.description


@pytest.mark.parametrize(
    "environment, schedule",
    [
        ({}, "0 0 * * *"),
        ({"AIRFLOW__BACKUP_SYNC__SCHEDULE": "30 2 * * 1-5"}, "30 2 * * 1-5"),
        ({"AIRFLOW__BACKUP_SYNC__ENABLED": "False"}, None),
    ],
)
def test_the_schedule_comes_from_the_configuration(monkeypatch, environment, schedule):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    dag = load()["backup_sync"]
    assert dag.get_task("summary").schedule == schedule
    assert dag.catchup is False


def test_parsing_the_dag_imports_no_driver_and_builds_no_model():
    code = (
        "import sys, airflow.sdk; sys.path[:0] = ['plugins', 'dags']; import backup_sync\n"
        "import runpy; runpy.run_path('dags/backup_sync_dag.py')\n"
        "heavy = ['pymssql', 'azure.cosmos', 'backup_sync.walk.sync', 'backup_sync.model.service', 'backup_sync.hooks']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=DAGS.parent, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"

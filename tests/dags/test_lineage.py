"""What OpenLineage hears of the runs, from Airflow's own provider of it; and that nothing changes where it is not installed."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators.lineage import Lineage, Place, dataset_name, told, wanted
from tests.dags.conftest import World

RESULT = SyncResult(sync_id("d", "r", "customer"), "customer", inserted=3, updated=4)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Airflow sends what it hears to this file, as it sends it to a server."""
    from airflow.providers.openlineage import conf

    events = tmp_path / "events.json"
    transport = {"type": "file", "log_file_path": str(events), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    for one in vars(conf).values():
        if hasattr(one, "cache_clear"):
            one.cache_clear()
    yield events
    for one in vars(conf).values():
        if hasattr(one, "cache_clear"):
            one.cache_clear()


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("mssql://sql:1433/CustomerDb/customer/Customers", ("mssql://sql:1433", "CustomerDb.customer.Customers")),
        ("mssql://sql:1433/Db/dbo/My%20Table%2Fx", ("mssql://sql:1433", "Db.dbo.My Table/x")),
        ("cosmos://a.documents.azure.com/db/orders", ("azurecosmos://a.documents.azure.com/dbs/db", "colls/orders")),
        ("cosmos://127.0.0.1:8081/db/orders", ("azurecosmos://127.0.0.1:8081/dbs/db", "colls/orders")),
        ("sqlite:/data/shop.db/shop/Items", ("sqlite:/data/shop.db", "shop.Items")),
    ],
)
def test_datasets_are_called_as_the_specification_has_it(uri: str, name: tuple[str, str]) -> None:
    assert dataset_name(uri) == name


def test_what_was_written_and_its_columns_are_told() -> None:
    columns = [("Id", "int"), ("Name", "nvarchar(50)")]
    source, target = (Place(f"mssql://{host}:1433/Db/dbo/T", columns) for host in ("one", "two"))
    found = told(Lineage(RESULT, source, target=target))
    (read,), (written,) = found.inputs, found.outputs
    assert (read.namespace, read.name) == ("mssql://one:1433", "Db.dbo.T")
    assert (written.namespace, written.name) == ("mssql://two:1433", "Db.dbo.T")
    assert written.outputFacets["outputStatistics"].rowCount == 7
    assert [(one.name, one.type) for one in written.facets["schema"].fields] == columns


def test_a_comparison_is_told_as_assertions_without_keys() -> None:
    verified = {"Records": 9, "Lag": {"Count": 0}, "Drift": {"Count": 2, "Keys": [["kiruna"]], "Fields": {"Email": 2}}}
    verified |= {"Missing": {"Count": 1, "Keys": [["malmo"]]}, "Extra": {"Count": 0}}
    result = SyncResult(sync_id("d", "r", "customer"), "customer", verified=verified)
    found = told(Lineage(result, Place("sqlite:/a/s/T"), compared=Place("sqlite:/b/s/T")))
    assert found.outputs == []
    made = found.inputs[1].inputFacets["dataQualityAssertions"].assertions
    assert [(one.assertion, one.success, one.column) for one in made] == [
        ("no_lag", True, None),
        ("no_drift", False, None),
        ("no_drift", False, "Email"),
        ("no_missing", False, None),
        ("no_extra", True, None),
    ]
    assert "kiruna" not in str(found)


def test_a_dry_run_and_a_task_that_did_not_get_that_far_tell_nothing() -> None:
    planned = SyncResult(sync_id("d", "r", "customer"), "customer", dry_run=True)
    assert told(Lineage(planned, Place("sqlite:/a/s/T"), target=Place("sqlite:/b/s/T"))) is None
    assert told(None) is None


def test_without_the_provider_nothing_is_told_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("airflow.providers.openlineage", "openlineage"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("airflow.providers.openlineage", "airflow.providers.openlineage.extractors", "openlineage"):
        monkeypatch.setitem(sys.modules, name, None)
    assert told(Lineage(RESULT, Place("sqlite:/a/s/T"), target=Place("sqlite:/b/s/T"))) is None
    assert not wanted()


def test_nobody_asks_the_databases_for_columns_that_nobody_wants_to_know() -> None:
    assert not wanted()


@pytest.mark.airflow
def test_the_provider_is_told_of_a_sync_and_of_a_verify_that_fails(world: World, listening: Path) -> None:
    world.run()
    events = [json.loads(line) for line in listening.read_text().splitlines()]
    by_task = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    sync = by_task["backup_sync.customer.sync"]
    (read,), (written,) = sync["inputs"], sync["outputs"]
    assert read["name"].endswith("customer.Customers")
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 20
    assert "Email" in [one["name"] for one in written["facets"]["schema"]["fields"]]
    order = by_task["backup_sync.order.sync"]
    assert order["outputs"][0]["namespace"].startswith("azurecosmos://")
    assert order["outputs"][0]["name"] == "colls/orders"
    with closing(sqlite3.connect(world.places.customer_backup)) as db, db:
        db.execute("UPDATE Customers SET City = 'Kiruna-7' WHERE Id = 3")
    world.run("backup_verify", {"service": "customer"})
    events = [json.loads(line) for line in listening.read_text().splitlines()]
    (failed,) = [one for one in events if one["eventType"] == "FAIL" and one["job"]["name"] == "backup_verify.customer"]
    made = failed["inputs"][1]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert ("no_drift", False, "City") in [(one["assertion"], one["success"], one.get("column")) for one in made]
    assert "Kiruna" not in listening.read_text()

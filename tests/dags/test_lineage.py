"""What OpenLineage hears of the runs, from Airflow's own provider of it; and that nothing changes where it is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators.lineage import Lineage, Place, dataset_name, told, wanted

LISTENED = Path(__file__).with_name("listened.py")
RESULT = SyncResult(sync_id("d", "r", "customer"), "customer", inserted=3, updated=4)


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
def test_the_provider_is_told_of_a_sync_and_of_a_verify_that_fails(tmp_path: Path) -> None:
    """In a process of its own: Airflow asks whether anybody listens when it loads its plugins, and then no more."""
    transport = {"type": "file", "log_file_path": str(tmp_path / "events.json"), "append": True}
    told_where = {
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "LINEAGE_EVENTS": str(tmp_path / "events.json"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(LISTENED)]
    done = subprocess.run(command, env=kept | told_where, capture_output=True, text=True, cwd=LISTENED.parents[2])
    assert done.returncode == 0, done.stdout[-4_000:]
    assert "1 passed" in done.stdout

"""What Airflow's provider of OpenLineage writes of real runs. ``test_lineage.py`` starts this in a process in which it listens."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.dags.conftest import World


def test_a_sync_and_a_verify_that_fails_are_told(world: World) -> None:
    events_file = Path(os.environ["LINEAGE_EVENTS"])
    world.run()
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
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
    events = [json.loads(line) for line in events_file.read_text().splitlines()]
    (failed,) = [one for one in events if one["eventType"] == "FAIL" and one["job"]["name"] == "backup_verify.customer"]
    made = failed["inputs"][1]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert ("no_drift", False, "City") in [(one["assertion"], one["success"], one.get("column")) for one in made]
    assert "Kiruna" not in events_file.read_text()

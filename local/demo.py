"""``make demo``: the real DAG on sample data, through the four scenarios, and a table of what each run did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from local.environment import ROOT, Places, airflow_environment, apply, connections, cosmos_servers

CUSTOMERS = ORDERS = 100
CHANGED = [10, 21, 32, 43, 54]
DELETED = [7, 8, 9]


def main() -> None:
    begun = time.monotonic()
    places = Places()
    for path in (places.customer_source, places.customer_backup):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(places.order_source.parent, ignore_errors=True)
    apply(airflow_environment(places))
    prepare_airflow(places)
    say("Starting two embedded Cosmos servers")
    with cosmos_servers(places) as (source, backup):
        apply(connections(places, source.endpoint, backup.endpoint, source.key))
        rows = scenarios()
    print_table(rows)
    print(
        f"\nWhere to look:\n"
        f"  customer   {shorten(places.customer_source)} → {shorten(places.customer_backup)} (tables Customers, SyncHistory)\n"
        f"  order      {shorten(places.order_source)} → {shorten(places.order_backup)} (served by: make cosmos)\n"
        f"  in Airflow make ui\n"
        f"\nDone in {time.monotonic() - begun:.0f} s."
    )
    if any(row["State"] != "success" or row["Got"] != row["Expected"] for row in rows):
        sys.exit("The demo did not do what it should have done: compare Got and Expected above.")


def prepare_airflow(places: Places) -> None:
    """Create or upgrade Airflow's own metadata database (a few seconds when it is up to date)."""
    places.airflow.mkdir(parents=True, exist_ok=True)
    log = places.airflow / "migrate.log"
    say("Preparing Airflow's metadata database")
    with log.open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], stdout=out, stderr=out, env=os.environ
        )
    if done.returncode:
        sys.exit(f"airflow db migrate failed; see {log}")


def scenarios() -> list[dict[str, Any]]:
    """Run the DAG four times and say what each run reported."""
    from local.seed import Customers, Orders

    say(f"Seeding {CUSTOMERS} customers and {ORDERS} orders")
    customers, orders = Customers(), Orders()
    customers.create()
    customers.insert(range(1, CUSTOMERS + 1))
    orders.create()
    orders.insert(range(1, ORDERS + 1), CUSTOMERS)

    def change() -> None:
        customers.change(CHANGED)
        orders.change(CHANGED, CUSTOMERS)

    def delete() -> None:
        customers.delete(DELETED)
        orders.delete(DELETED, CUSTOMERS)

    every, same, left = CUSTOMERS, CUSTOMERS - len(CHANGED), CUSTOMERS - len(DELETED)
    steps: list[tuple[str, Callable[[], None], dict[str, Any], tuple[int, int, int, int]]] = [
        ("first sync", lambda: None, {}, (every, 0, 0, 0)),
        ("incremental", change, {}, (0, len(CHANGED), 0, same)),
        ("deleted", delete, {}, (0, 0, len(DELETED), left)),
        ("forced", lambda: None, {"force": True}, (0, left, 0, 0)),
    ]
    rows = []
    for name, prepare, conf, expected in steps:
        prepare()
        say(f"Running the DAG backup_sync: {name}")
        rows += run_dag(name, conf, expected)
    return rows


def run_dag(name: str, conf: dict[str, Any], expected: tuple[int, int, int, int]) -> list[dict[str, Any]]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags"))
    if bag.import_errors:
        sys.exit(f"the DAG files cannot be imported: {bag.import_errors}")
    begun = time.monotonic()
    # Milliseconds keep the run ids of quick runs apart.
    run = bag.dags["backup_sync"].test(logical_date=datetime.now(timezone.utc), run_conf=conf)
    seconds = time.monotonic() - begun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run.run_id, dag_ids="backup_sync", task_ids="summary", key="return_value")
        found = session.scalars(query).first()
        summary = XComModel.deserialize_value(found) if found is not None else {"Results": []}
    counts = ("InsertedCount", "UpdatedCount", "DeletedCount", "SkippedCount")
    return [
        {
            "Run": name,
            "Service": result["ServiceName"],
            "State": str(getattr(run.state, "value", run.state)),
            "Got": tuple(result[count] for count in counts),
            "Expected": expected,
            "Seconds": seconds,
        }
        for result in summary["Results"]
    ]


def print_table(rows: list[dict[str, Any]]) -> None:
    line = "{:<12} {:<9} {:<8} {:>9} {:>8} {:>8} {:>8}  {:<9} {:>6}"
    print(
        "\n" + line.format("Run", "Service", "State", "Inserted", "Updated", "Deleted", "Skipped", "Expected", "Run s")
    )
    for row in rows:
        right = "yes" if row["Got"] == row["Expected"] else f"NO: {row['Expected']}"
        print(line.format(row["Run"], row["Service"], row["State"], *row["Got"], right, f"{row['Seconds']:.1f}"))


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def shorten(path: Any) -> str:
    return os.path.relpath(path, ROOT)


if __name__ == "__main__":
    main()

"""``make demo``: the real DAG on sample data, through the four scenarios, and a table of what each run did."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from local.environment import ROOT, Places, airflow_environment, apply, connections, cosmos_servers, sole_use

CUSTOMERS = ORDERS = 100
CHANGED = [10, 21, 32, 43, 54]
DELETED = [7, 8, 9]


def main() -> None:
    # Airflow makes a million objects that stay. To look through them for garbage, again and again and once more when
    # the process ends, is a third of the time.
    gc.disable()
    with sole_use(Places()):
        demo(Places())
    gc.freeze()


def demo(places: Places) -> None:
    begun = time.monotonic()
    for path in (places.customer_source, places.customer_backup):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(places.order_source.parent, ignore_errors=True)
    apply(airflow_environment(places))
    log = places.base / "demo.log"
    log.write_bytes(b"")
    say("Starting two embedded Cosmos servers")
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(1) as beside:  # they start while Airflow is imported
            servers = beside.submit(stack.enter_context, cosmos_servers(places))
            prepare_airflow(places)
        source, backup = servers.result()
        apply(connections(places, source.endpoint, backup.endpoint, source.key))
        rows = scenarios(log)
    print_table(rows)
    print_summary(log)
    print(
        f"\nWhere to look:\n"
        f"  customer   {shorten(places.customer_source)} → {shorten(places.customer_backup)} (tables Customers, SyncHistory)\n"
        f"  order      {shorten(places.order_source)} → {shorten(places.order_backup)} (served by: make cosmos)\n"
        f"  in Airflow make ui\n"
        f"  full log   {shorten(log)}\n"
        f"\nDone in {time.monotonic() - begun:.0f} s."
    )
    if any(row["State"] != "success" or row["Got"] != row["Expected"] for row in rows):
        sys.exit("The demo did not do what it should have done: compare Got and Expected above.")


def prepare_airflow(places: Places) -> None:
    """Create or upgrade Airflow's own metadata database, unless this version of Airflow has done so.

    As ``airflow db migrate`` does it, in this process: it has to import Airflow anyhow.
    """
    log, done_by = places.airflow / "migrate.log", places.airflow / "migrated-by"
    places.airflow.mkdir(parents=True, exist_ok=True)
    say("Preparing Airflow's metadata database")
    with quiet(log):
        import airflow

    there = (places.airflow / "airflow.db").exists() and done_by.exists()
    if there and done_by.read_text() == airflow.__version__:
        return
    try:
        with quiet(log):
            from airflow.utils.db import upgradedb

            upgradedb()
    except Exception as error:
        sys.exit(f"Airflow's metadata database cannot be prepared: {error}; see {log}")
    done_by.write_text(airflow.__version__)


def scenarios(log: Path) -> list[dict[str, Any]]:
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
        rows += run_dag(name, conf, expected, log)
    return rows


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send what Airflow prints (it logs each task to standard output) to a file meanwhile."""
    sys.stdout.flush()
    saved = [os.dup(1), os.dup(2)]
    with log.open("ab") as out:
        for number in (1, 2):
            os.dup2(out.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def run_dag(name: str, conf: dict[str, Any], expected: tuple[int, int, int, int], log: Path) -> list[dict[str, Any]]:
    with quiet(log):
        from airflow.dag_processing.dagbag import DagBag
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        bag = DagBag(str(ROOT / "dags"))
        if bag.import_errors:
            raise RuntimeError(f"the DAG files cannot be imported: {bag.import_errors}")
        begun = time.monotonic()
        run = bag.dags["backup_sync"].test(logical_date=datetime.now(timezone.utc), run_conf=conf)
        seconds = time.monotonic() - begun
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
        "\n" + line.format("Run", "Service", "State", "Inserted", "Updated", "Deleted", "Skipped", "As told", "Run s")
    )
    for row in rows:
        right = "yes" if row["Got"] == row["Expected"] else f"NO: {row['Expected']}"
        print(line.format(row["Run"], row["Service"], row["State"], *row["Got"], right, f"{row['Seconds']:.1f}"))


def print_summary(log: Path) -> None:
    """The block that ends the log of the last run, as it stands there."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if "[backup_sync.operators.summary]" in line]
    print("\nThe summary task of the last run logged:")
    for line in lines[-11:]:
        print("  " + line.split("]", 1)[1].removeprefix(" ").rpartition("[backup_sync.operators.summary]")[0].rstrip())


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def shorten(path: Any) -> str:
    return os.path.relpath(path, ROOT)


if __name__ == "__main__":
    main()

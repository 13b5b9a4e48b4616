"""``make demo``: the real DAG on sample data, through six scenarios, and a table of what each run did."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from local.environment import ROOT, Places, airflow_environment, apply, connections, cosmos_servers, sole_use

CUSTOMERS = ORDERS = 100
CHANGED = [10, 21, 32, 43, 54]
DELETED = [7, 8, 9]
LOST = list(range(60, 70))
DRIFTED = [80, 81]


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
        apply({"BACKUP_SYNC_CONFIG": str(impatient(places))})
        rows = scenarios(places, log)
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
    if any(row["State"] != row["Ends as"] or row["Got"] != row["Expected"] for row in rows):
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


def impatient(places: Places) -> Path:
    """The sample configuration, but for the pause of a verify: nobody else uses these sources."""
    path = places.base / "demo.yaml"
    text = (ROOT / "dags" / "backup_sync.yaml").read_text(encoding="utf-8")
    path.write_text(
        re.sub(r"^(    verify: .*)$", r"\1\n    verify_again_seconds: 0", text, flags=re.MULTILINE), encoding="utf-8"
    )
    return path


def scenarios(places: Places, log: Path) -> list[dict[str, Any]]:
    """Run the DAGs and say what each run reported."""
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

    def lose() -> None:
        customers.delete(LOST)
        orders.delete(LOST, CUSTOMERS)

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
    return [*rows, *recovery(lose, left, log), *drift(places, left, log)]


def recovery(lose: Callable[[], None], left: int, log: Path) -> Iterator[dict[str, Any]]:
    """Somebody deletes records, a run copies that, and they are brought back as of before."""
    lose()
    say(f"Somebody deletes {len(LOST)} customers and {len(LOST)} orders, and a run copies that")
    accident = run_dag("accident", {}, (0, 0, len(LOST), left - len(LOST)), log)
    yield from accident
    for row in accident:
        conf = {"service": row["Service"], "as_of": f"before:{row['SyncId']}"}
        text, plan = planned(conf, log)
        say(f"Planning a restore, approving it, running the DAG backup_restore: {row['Service']}")
        print("\n".join(f"    {line}" for line in text.splitlines() if line))
        conf["confirm"] = plan
        yield from run_dag("restored", conf, (len(LOST), 0, 0, 0), log, "backup_restore")


def drift(places: Places, left: int, log: Path) -> Iterator[dict[str, Any]]:
    """Somebody changes the backups by hand; a verify finds it, and mends it when it is asked to."""
    edit_backups(places)
    say("Somebody changes the backups by hand. Running the DAG backup_verify")
    yield from run_dag("verify", {}, (0, 0, 0, 0), log, "backup_verify", ends_as="failed")
    say("Running the DAG backup_verify: repair")
    few = len(DRIFTED)
    yield from run_dag("repaired", {"repair": True}, (0, few, 0, left - few), log, "backup_verify")


def planned(conf: dict[str, Any], log: Path) -> tuple[str, str]:
    """(text, id) of the plan of a restore, as the DAG's task makes it: here nobody is there to approve it."""
    with quiet(log):
        from backup_sync.hooks import open_stores
        from backup_sync.model.config import config_path, load_service
        from backup_sync.model.result import SyncResult
        from backup_sync.model.wish import Wish
        from backup_sync.operators.restore import told
        from backup_sync.walk import points
        from backup_sync.walk.restore import plan

        service = load_service(config_path(""), conf["service"])
        source, backup = open_stores(service)
        with contextlib.closing(source), contextlib.closing(backup):
            wish = Wish(number=points.point_of(backup, conf["as_of"]))
            found = plan(backup, source, SyncResult(uuid.uuid4(), service.name), wish)
            return told(service.name, found, source), found.id


def edit_backups(places: Places) -> None:
    """What no sync would see: another content and the same stamp."""
    from azure.cosmos import CosmosClient

    with contextlib.closing(sqlite3.connect(places.customer_backup)) as db, db:
        db.executemany("UPDATE Customers SET City = 'Elsewhere' WHERE Id = ?", [(number,) for number in DRIFTED])
    connection = json.loads(os.environ["AIRFLOW_CONN_ORDER_BACKUP"])
    with CosmosClient(connection["login"], connection["password"]) as client:
        container = client.get_database_client("orderdb-backup").get_container_client("orders")
        some = sorted(container.read_all_items(), key=lambda document: str(document["id"]))[: len(DRIFTED)]
        for document in some:
            container.upsert_item({**document, "note": "edited"})


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


def run_dag(
    name: str,
    conf: dict[str, Any],
    expected: tuple[int, int, int, int],
    log: Path,
    dag_id: str = "backup_sync",
    ends_as: str = "success",
) -> list[dict[str, Any]]:
    with quiet(log):
        from airflow.dag_processing.dagbag import DagBag
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        bag = DagBag(str(ROOT / "dags"))
        if bag.import_errors:
            raise RuntimeError(f"the DAG files cannot be imported: {bag.import_errors}")
        begun = time.monotonic()
        run = bag.dags[dag_id].test(logical_date=datetime.now(timezone.utc), run_conf=conf)
        seconds = time.monotonic() - begun
        with create_session() as session:
            query = XComModel.get_many(run_id=run.run_id, dag_ids=dag_id, task_ids="summary", key="return_value")
            found = session.scalars(query).first()
            summary = XComModel.deserialize_value(found) if found is not None else {"Results": []}
    counts = ("InsertedCount", "UpdatedCount", "DeletedCount", "SkippedCount")
    return [
        {
            "Run": name,
            "Service": result["ServiceName"],
            "SyncId": result["SyncId"],
            "Ends as": ends_as,
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
    begins = max(n for n, line in enumerate(lines) if " started at " in line) - 1
    for line in lines[begins:]:
        print("  " + line.split("]", 1)[1].removeprefix(" ").rpartition("[backup_sync.operators.summary]")[0].rstrip())


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def shorten(path: Any) -> str:
    return os.path.relpath(path, ROOT)


if __name__ == "__main__":
    main()

"""What Airflow's users see: runs triggered, scheduled, backfilled, failed, retried and cleared, over the REST API."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import pytest

from local.sample_data import LAST
from tests.e2e.conftest import CUSTOMERS, INITIALIZE, ORDERS, RESTORE, SYNC, Stage

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("night")]

COUNTS = {"customer": CUSTOMERS, "order": ORDERS}
TABLE_GONE = "table customer.Customers does not exist"
PARAMS = ["accept_source", "allow_deletes", "dry_run", "force", "service"]


@contextmanager
def customers_table_gone(stage: Stage) -> Iterator[None]:
    """The source lacks the table of one service for as long as the block runs."""

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(stage.places.customer_source, timeout=30)) as db:
            db.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("Customers", "Moved")
    try:
        yield
    finally:
        rename("Moved", "Customers")


def test_the_scheduled_run_copies_everything(stage: Stage, night: str) -> None:
    results = stage.results(night)
    assert {name: result["InsertedCount"] for name, result in results.items()} == COUNTS
    assert {result["TotalProcessed"] for result in results.values()} == {CUSTOMERS}
    assert stage.customers(stage.places.customer_backup) == stage.customers(stage.places.customer_source)
    assert stage.orders("backup") == stage.orders("source")


def test_a_forced_run_counts_everything_as_updated(stage: Stage) -> None:
    run_id = stage.run({"force": True})
    summary = stage.xcom(run_id)
    assert set(summary) == {"Success", "Message", "Results", "Timestamp"}
    assert summary["Success"] is True
    assert summary["Message"] == "2 of 2 services completed"
    results = stage.results(run_id)
    assert {name: result["UpdatedCount"] for name, result in results.items()} == COUNTS
    for result in results.values():
        assert [result[f"{name}Count"] for name in ("Inserted", "Deleted", "Skipped", "Rejected")] == [0, 0, 0, 0]
    assert set(stage.states(run_id).values()) == {"success"}


def test_a_single_call_waits_for_a_run_and_returns_its_summary(stage: Stage) -> None:
    run_id = stage.trigger()
    answer = stage.api.send("GET", f"dags/{SYNC}/dagRuns/{run_id}/wait", interval=1, result="summary")
    assert answer.is_success, answer.text
    last = json.loads(answer.text.splitlines()[-1])
    assert last["state"] == "success"
    assert last["results"]["summary"]["Message"] == "2 of 2 services completed"


def test_a_backfill_leaves_a_record_for_each_service_and_run(stage: Stage) -> None:
    dates = ["2024-02-01", "2024-02-02", "2024-02-03"]
    body = {"dag_id": SYNC, "from_date": f"{dates[0]}T00:00:00Z", "to_date": f"{dates[-1]}T00:00:00Z"}
    # Switched off meanwhile: where SQLite refuses the API halfway, it takes back the runs that it made and is asked again,
    # and a scheduler that has seen them ends by that.
    stage.api.patch(f"dags/{SYNC}", {"is_paused": True})
    stage.api.post("backfills", body)
    stage.api.patch(f"dags/{SYNC}", {"is_paused": False})
    runs = stage.api.get(f"dags/{SYNC}/dagRuns", run_type="backfill", order_by="logical_date")["dag_runs"]
    assert [run["logical_date"][:10] for run in runs] == dates
    ids = [run["dag_run_id"] for run in runs]
    for run_id in ids:
        stage.finish(run_id)
    found = [stage.history(run_id) for run_id in ids]
    for service in COUNTS:
        assert [len(records[service]) for records in found] == [1, 1, 1]
        assert all(records[service][0]["Success"] for records in found)


def test_a_retry_succeeds_in_the_same_history_record(stage: Stage) -> None:
    """The first attempt finds the backup locked by another run, which ends before the second."""

    def failed_once() -> bool:
        task = stage.task(run_id, "order.sync")
        return task["state"] == "up_for_retry" or task["try_number"] > 1

    stage.hold_lease()
    try:
        run_id = stage.trigger({"service": "order"})
        stage.wait(failed_once, "the first attempt to fail", run_id)
    finally:
        stage.give_back_lease()
    stage.finish(run_id)
    assert stage.tries(run_id, "order.sync")[-1] == "success"
    assert "order_backup: the backup of order is being written by run another-run" in stage.log(run_id, "order.sync", 1)
    [record] = stage.history(run_id)["order"]
    assert record["Attempt"] == 2
    assert record["Success"] is True
    assert record["ErrorMessage"] is None


def test_a_killed_attempt_is_carried_on_in_the_same_history_record(stage: Stage) -> None:
    """The source is away when the process is killed, with the run begun and the backup locked."""
    run_id = stage.trigger({"service": "order"})
    # initialize asks the source for documents too; the process of sync takes a second to begin.
    stage.wait(lambda: stage.task(run_id, "order.initialize")["state"] == "success", "initialize", run_id)
    stage.source.fail(status=503, count=1_000_000)
    try:
        stage.wait(lambda: bool(stage.history(run_id)["order"]), "the history record of a begun run", run_id)
        os.kill(stage.task(run_id, "order.sync")["pid"], signal.SIGKILL)
        stage.wait(lambda: stage.task(run_id, "order.sync")["try_number"] == 2, "the retry", run_id)
    finally:
        stage.source.reset_faults()
    stage.give_back_lease()  # it would expire by itself in a minute
    stage.finish(run_id)
    [record] = stage.history(run_id)["order"]
    assert record["Attempt"] == 2
    assert record["Success"] is True


def test_a_failed_service_fails_the_run_and_not_the_other_service(stage: Stage) -> None:
    with customers_table_gone(stage):
        run_id = stage.run(ends_as="failed")
    states = stage.states(run_id)
    assert {state for task, state in states.items() if task.startswith("order.")} == {"success"}
    assert states["customer.initialize"] == "failed"
    history = stage.history(run_id)
    [failed], [good] = history["customer"], history["order"]
    assert not failed["Success"]
    assert TABLE_GONE in failed["ErrorMessage"]
    assert good["Success"] is True
    summary = stage.xcom(run_id)
    assert summary["Success"] is False
    assert summary["Message"] == "1 of 2 services failed: customer"
    assert TABLE_GONE in stage.results(run_id)["customer"]["ErrorMessage"]


def test_clearing_only_what_failed_repairs_the_run_and_its_record(stage: Stage) -> None:
    with customers_table_gone(stage):
        run_id = stage.run(ends_as="failed")
    stage.clear(run_id, only_failed=True)
    stage.finish(run_id)
    [record] = stage.history(run_id)["customer"]
    assert record["Success"]
    assert record["Attempt"] == 2
    assert record["ErrorMessage"] is None
    assert stage.xcom(run_id)["Message"] == "2 of 2 services completed"
    assert stage.tries(run_id, "order.sync") == ["success"]


@pytest.mark.parametrize("conf", [{"service": "nope"}, {"force": "maybe"}])
def test_a_bad_parameter_is_refused(stage: Stage, conf: dict[str, str]) -> None:
    answer = stage.api.send("POST", f"dags/{SYNC}/dagRuns", {"logical_date": None, "conf": conf})
    assert answer.status_code == 400
    assert next(iter(conf)) in answer.text


def test_a_viewer_may_look_and_not_trigger(stage: Stage, night: str) -> None:
    assert stage.viewer.get(f"dags/{SYNC}")["dag_id"] == SYNC
    answer = stage.viewer.send("POST", f"dags/{SYNC}/dagRuns", {"logical_date": None, "conf": {}})
    assert answer.status_code == 403


def test_a_misspelt_parameter_fails_the_run_and_names_the_known_ones(stage: Stage) -> None:
    before = stage.customers(stage.places.customer_backup)
    run_id = stage.run({"forse": True}, ends_as="failed")
    for result in stage.results(run_id).values():
        assert result["ErrorMessage"] == f"unknown parameter forse in the run's conf; known are: {', '.join(PARAMS)}"
    assert stage.customers(stage.places.customer_backup) == before


def test_a_run_for_one_service_skips_the_others(stage: Stage) -> None:
    run_id = stage.run({"service": "customer"})
    for task, state in stage.states(run_id).items():
        assert state == ("skipped" if task.startswith("order.") else "success"), task
    assert list(stage.results(run_id)) == ["customer"]
    assert [len(records) for records in stage.history(run_id).values()] == [1, 0]


def test_a_dry_run_writes_nothing(stage: Stage) -> None:
    before = stage.backups()
    run_id = stage.run({"dry_run": True, "force": True})
    assert stage.backups() == before
    results = stage.results(run_id)
    assert {name: result["UpdatedCount"] for name, result in results.items()} == COUNTS
    assert all(result["DryRun"] for result in results.values())


def test_a_dry_run_that_fails_leaves_no_record_either(stage: Stage) -> None:
    with customers_table_gone(stage):
        run_id = stage.run({"dry_run": True}, ends_as="failed")
    assert stage.history(run_id) == {"customer": [], "order": []}
    assert TABLE_GONE in stage.results(run_id)["customer"]["ErrorMessage"]


def test_clearing_a_run_updates_its_history_records(stage: Stage) -> None:
    run_id = stage.run()
    before = stage.history(run_id)
    assert stage.clear(run_id, only_failed=False) == 7
    stage.finish(run_id)
    after = stage.history(run_id)
    for service in COUNTS:
        [first], [second] = before[service], after[service]
        assert second["SyncId"] == first["SyncId"]
        assert [first["Attempt"], second["Attempt"]] == [1, 2]
        assert second["CompletedAt"] > first["CompletedAt"]
        assert second["StartedAt"] == first["StartedAt"]


def test_backup_initialize_creates_what_is_missing_and_nothing_twice(stage: Stage, initialized: str) -> None:
    created = {service: stage.xcom(initialized, service, INITIALIZE)["Created"] for service in COUNTS}
    assert set(created["customer"]) == {
        "table Customers",
        "table SyncHistory",
        "table SyncState",
        "table Customers_Undo",
    }
    assert set(created["order"]) == {
        "database orderdb-backup",
        "container orders",
        "container sync-history",
        "container orders-undo",
    }
    before = stage.backups()
    again = stage.run(dag=INITIALIZE)
    assert [stage.xcom(again, service, INITIALIZE)["Created"] for service in COUNTS] == [[], []]
    assert stage.backups() == before


def test_no_log_holds_a_secret_or_a_value_of_a_row(stage: Stage, night: str) -> None:
    """Looks at all that was logged until now; the last of the file, so that this is what all tests above did."""
    forbidden = {"the Cosmos key": re.escape(stage.source.key), "an e-mail address": r"@example\.com"}
    forbidden |= {"a partition key's value": r"customer-\d", "an order's number": r"ORD-\d", "a name": "|".join(LAST)}
    texts = {path: path.read_text(errors="replace") for path in stage.places.airflow.rglob("*.log")}
    assert len([path for path in texts if path.name.startswith("attempt=")]) > 7
    for path, text in texts.items():
        for what, pattern in forbidden.items():
            assert not re.search(pattern, text), f"{what} is in {path}"
    shown = stage.log(night, "summary", 1)
    assert "Sync summary:" in shown
    assert f"Total Inserted: {CUSTOMERS + ORDERS}, Updated: 0, Deleted: 0" in shown


def test_a_restore_waits_for_a_person_and_writes_what_was_approved_and_a_viewer_may_neither(
    stage: Stage, night: str
) -> None:
    before = stage.run()
    rows = stage.customers(stage.places.customer_source)
    with closing(sqlite3.connect(stage.places.customer_source, timeout=30)) as db, db:
        db.execute("DELETE FROM Customers WHERE Id IN (1, 2)")
    accident = stage.run({"service": "customer"})
    conf = {"service": "customer", "as_of": f"before:{stage.results(accident)['customer']['SyncId']}"}
    assert stage.viewer.send("POST", f"dags/{RESTORE}/dagRuns", {"logical_date": None, "conf": conf}).status_code == 403
    run_id = stage.trigger(conf, RESTORE)
    stage.wait(
        lambda: stage.task(run_id, "approve", RESTORE)["state"] == "awaiting_input", "the question", run_id, RESTORE
    )
    assert stage.xcom(run_id, "plan", RESTORE)["Missing"]["Count"] == 2
    assert len(stage.customers(stage.places.customer_source)) == len(rows) - 2
    path = f"dags/{RESTORE}/dagRuns/{quote(run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
    assert "insert 2 missing records" in stage.api.get(path)["body"]
    # A person takes longer than the process that asks takes to end, and Airflow wants that to have ended.
    time.sleep(8)
    yes = {"chosen_options": ["Approve"], "params_input": {}}
    assert stage.viewer.send("PATCH", path, yes).status_code == 403
    assert stage.api.send("PATCH", path, yes).is_success
    stage.finish(run_id, RESTORE)
    assert stage.customers(stage.places.customer_source) == rows
    assert stage.customers(stage.places.customer_backup) == rows
    assert stage.results(stage.run({"service": "customer"}))["customer"]["SkippedCount"] == len(rows)
    assert before != accident


def test_the_console_shows_the_runs_and_a_task_links_to_it(stage: Stage) -> None:
    run_id = stage.run()
    page = stage.console("GET", "/")
    assert page.status_code == 200
    assert "All backups are good" in page.text
    links = stage.api.get(f"dags/{SYNC}/dagRuns/{quote(run_id, safe='')}/taskInstances/customer.sync/links")
    link = links["extra_links"]["Backup"]
    assert link.startswith("/backup/run?dag_id=backup_sync&run_id=")
    found = stage.api.client.get(link)
    assert found.status_code == 200
    assert "Restore as of this run" in found.text


def test_the_calls_of_the_http_service_are_answered(stage: Stage) -> None:
    answer = stage.console("POST", "/sync/customer", force=True, wait=True)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["Success"], told["Message"]) == (True, "1 of 1 services completed")
    assert told["Results"][0]["UpdatedCount"] == CUSTOMERS
    assert stage.console("POST", "/initialize", wait=True).json()["Message"] == "everything is in place"
    with customers_table_gone(stage):
        answer = stage.console("POST", "/sync/customer", wait=True)
    assert answer.status_code == 500
    assert answer.json()["Message"] == "1 of 1 services failed: customer"
    assert TABLE_GONE in answer.json()["Results"][0]["ErrorMessage"]
    assert "failed" in stage.console("GET", "/").text
    assert stage.console("GET", "/health").status_code == 200  # one failure does not make it stale
    metrics = stage.console("GET", "/metrics").text
    assert 'backup_sync_last_attempt_success{service="customer"} 0.0' in metrics
    assert 'backup_sync_fresh{service="customer"} 1.0' in metrics
    stage.run({"service": "customer"})

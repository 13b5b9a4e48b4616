"""What the pages show, of runs that are in Airflow's database."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.console.conftest import Browser
from tests.console.past import NOW, Past, result

pytestmark = pytest.mark.airflow
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def plain(page: Any) -> str:
    """A page's text without its tags."""
    assert page.status_code == 200, page.text
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def night(past: Past, at: Any, customer: Any = None, order: Any = None, **kwargs: Any) -> str:
    """A run for both services; without a word they are good."""
    both = [("customer", customer), ("order", order)]
    results = [
        (name, given or result(name, at, updated=3, skipped=7), "failed" if given and not given.success else "success")
        for name, given in both
    ]
    state = "failed" if any(state == "failed" for _, _, state in results) else "success"
    return past.run("backup_sync", at, results, state=state, **kwargs)


def test_all_is_good_in_one_sentence_and_a_row_for_each_service(past: Past, viewer: Browser) -> None:
    night(past, NOW - 2 * HOUR)
    past.write()
    text = plain(viewer.get("/backup/"))
    assert "All backups are good" in text
    assert "customer good Last success 1 h ago 0 3 0 0" in text
    assert "order good" in text


def test_what_needs_somebody_comes_first_and_says_why(past: Past, viewer: Browser) -> None:
    night(past, NOW - 30 * HOUR)
    night(past, NOW - HOUR, order=result("order", NOW - HOUR, error="too many deletes", withheld=12))
    past.write()
    text = plain(viewer.get("/backup/"))
    assert "1 of 2 needs you" in text
    assert text.index("order withheld too many deletes (last success 29 h ago)") < text.index("customer good")


def test_a_failure_is_not_hidden_by_later_runs_for_another_service(past: Past, viewer: Browser) -> None:
    night(past, NOW - 10 * HOUR)
    night(past, NOW - 9 * HOUR, order=result("order", NOW - 9 * HOUR, error="it broke"))
    for minutes in range(120):
        at = NOW - timedelta(minutes=200 - minutes)
        past.run(
            "backup_sync",
            at,
            [("customer", result("customer", at), "success"), ("order", None, "skipped")],
            kind="manual",
        )
    past.write()
    assert "order failed it broke" in plain(viewer.get("/backup/"))


def test_a_dry_run_neither_makes_fresh_nor_hides_a_failure(past: Past, viewer: Browser) -> None:
    night(past, NOW - 50 * HOUR)
    night(past, NOW - 5 * HOUR, order=result("order", NOW - 5 * HOUR, error="it broke"))
    at = NOW - HOUR
    past.run("backup_sync", at, [(name, result(name, at, dry_run=True), "success") for name in ("customer", "order")])
    past.write()
    text = plain(viewer.get("/backup/"))
    assert "order failed it broke" in text
    assert "customer good Last success 4 h ago" in text


def test_a_service_that_never_ran_and_a_task_that_left_no_result_are_not_good(past: Past, viewer: Browser) -> None:
    results = [("customer", None, "failed"), ("order", None, "skipped")]
    past.run("backup_sync", NOW - HOUR, results, state="failed", conf={"service": "customer"})
    past.write()
    text = plain(viewer.get("/backup/"))
    assert "2 of 2 need you" in text
    assert "A task of it failed and left no message; see its log (it has never succeeded)" in text
    assert "Not backed up yet" in text


def test_a_running_one_shows_how_far_it_is(past: Past, viewer: Browser) -> None:
    night(past, NOW - 5 * HOUR)
    going = {"Done": 250_000, "Total": 1_000_000, "Rate": 50_000, "SecondsLeft": 15}
    past.run("backup_sync", NOW, [("customer", None, "running")], state="running", tasks=["sync"], progress=going)
    past.write()
    page = viewer.get("/backup/")
    assert "250,000 of 1,000,000 records, 50,000/s, about 15 s left" in plain(page)
    assert "<main data-running>" in page.text
    assert "customer good" in plain(page)  # what it was before is still true


def test_a_stale_one_says_what_was_promised(past: Past, viewer: Browser) -> None:
    night(past, NOW - 30 * HOUR)
    past.write()
    text = plain(viewer.get("/backup/"))
    assert "2 of 2 need you" in text
    assert "customer stale Last success 29 h ago, promised within 26 h" in text


def test_a_failed_verify_needs_somebody_until_one_succeeds(past: Past, viewer: Browser) -> None:
    night(past, NOW - 5 * HOUR)
    drift = result(
        "customer",
        NOW - 4 * HOUR,
        error="2 records differ",
        drift=2,
        verified={"Records": 9, "Drift": {"Count": 2, "Keys": [[3]]}},
    )
    past.run("backup_verify", NOW - 4 * HOUR, [("customer", drift, "failed")], state="failed", tasks=[""])
    past.write()
    assert "customer drifted 2 records differ" in plain(viewer.get("/backup/"))
    assert "drift 2" in plain(viewer.get("/backup/service/customer"))
    past.run("backup_verify", NOW - 3 * HOUR, [("customer", result("customer", NOW - 3 * HOUR), "success")], tasks=[""])
    past.write()
    assert "All backups are good" in plain(viewer.get("/backup/"))


def test_the_page_of_a_service_has_charts_runs_and_links_to_their_logs(past: Past, viewer: Browser) -> None:
    for days in range(60, 0, -1):
        night(past, NOW - days * DAY)
    past.write()
    page = viewer.get("/backup/service/customer")
    assert page.text.count("<svg") == 3
    assert "Changes a day: 60 of 90 days, at most 3" in page.text
    assert page.text.count('<th scope="row">') == 50
    assert 'href="/dags/backup_sync/runs/scheduled__' in page.text
    older = re.search(r'href="([^"]*before=[^"]*)"', page.text)
    assert older is not None
    assert viewer.get(older[1].replace("&amp;", "&")).text.count('<th scope="row">') == 10


def test_the_page_of_a_run_says_what_it_did_and_offers_its_states(past: Past, admin: Browser, viewer: Browser) -> None:
    run_id = night(
        past, NOW - HOUR, customer=result("customer", NOW - HOUR, deleted=4, run_number=9, notice="mind the gap")
    )
    past.write()
    where = {"dag_id": "backup_sync", "run_id": run_id, "service": "customer"}
    page = admin.get("/backup/run", params=where)
    assert "Deleted 4" in plain(page)
    assert "mind the gap" in plain(page)
    assert "Restore as before it" in plain(page)
    assert "Restore as" not in plain(viewer.get("/backup/run", params=where))


def test_a_plan_shows_counts_and_neither_keys_nor_values(past: Past, admin: Browser) -> None:
    plan = {"Plan": "p-1", "Text": "insert 7: kiruna-key"}
    plan |= {
        kind: {"Count": count, "Keys": [["kiruna-key"]]}
        for kind, count in (("Missing", 7), ("Changed", 2), ("Extra", 0))
    }
    run_id = past.run("backup_restore", NOW, [], state="running", conf={"service": "customer"})
    past._task("backup_restore", run_id, "plan", "success", NOW, NOW)
    past._task("backup_restore", run_id, "approve", "awaiting_input", NOW, None)
    past._xcom(past.next_run, "backup_restore", run_id, "plan", "return_value", plan, NOW)
    past.write()
    where = {"dag_id": "backup_restore", "run_id": run_id, "service": "customer"}
    page = admin.get("/backup/run", params=where)
    assert "insert 7 missing records" in plain(page)
    assert "/tasks/approve" in page.text
    assert "kiruna" not in page.text
    assert admin.get("/backup/run", params={**where, "service": "order"}).status_code == 404


def test_a_page_costs_as_many_queries_with_a_hundred_runs_as_with_one(past: Past, admin: Browser) -> None:
    from sqlalchemy import Engine, event

    def queries() -> int:
        count = 0

        def add(*_: Any) -> None:
            nonlocal count
            count += 1

        event.listen(Engine, "before_cursor_execute", add)
        try:
            assert admin.get("/backup/").status_code == 200
            assert admin.get("/backup/service/customer").status_code == 200
        finally:
            event.remove(Engine, "before_cursor_execute", add)
        return count

    night(past, NOW - 101 * HOUR)
    past.write()
    queries()  # reads the DAGs
    few = queries()
    for hours in range(100, 0, -1):
        night(past, NOW - hours * HOUR)
    past.write()
    assert queries() == few


def test_deletes_that_wait_for_an_approval_are_not_good_and_lead_to_the_question(past: Past, admin: Browser) -> None:
    night(past, NOW - 20 * HOUR)
    told = result("customer", NOW - HOUR, error="withheld 15 deletes", withheld=15)
    run_id = past.run("backup_sync", NOW - HOUR, [("customer", told, "failed")], state="running", tasks=["sync"])
    past._task("backup_sync", run_id, "customer.approve", "awaiting_input", NOW, None)
    past.write()
    assert "customer withheld withheld 15 deletes" in plain(admin.get("/backup/"))
    page = admin.get("/backup/run", params={"dag_id": "backup_sync", "run_id": run_id, "service": "customer"})
    assert "/tasks/customer.approve/required_actions" in page.text


def test_deletes_that_were_approved_are_no_failure_any_more(past: Past, viewer: Browser) -> None:
    at = NOW - HOUR
    good = [("customer", result("customer", at, deleted=15), "success")]
    run_id = past.run("backup_sync", at, good, tasks=["approve", "delete", "record_history"])
    past._task("backup_sync", run_id, "customer.sync", "failed", at, at)
    past.write()
    assert "customer good" in plain(viewer.get("/backup/"))


def test_the_states_that_can_be_restored_are_listed_newest_first(past: Past, admin: Browser, viewer: Browser) -> None:
    for days in range(9, 0, -1):
        at = NOW - days * DAY
        night(past, at, customer=result("customer", at, run_number=10 - days, restorable_since=NOW - 5 * DAY))
    past.write()
    page = admin.get("/backup/service/customer")
    points = page.text[page.text.index("Restore points") : page.text.index("<h2>Runs")]
    assert re.findall(r'</th>\s*<td class="number">(\d+)</td>', points) == ["9", "8", "7", "6", "5"]
    assert points.count("/order/restore?as_of=") == 5
    assert "/order/restore" not in viewer.get("/backup/service/customer").text

"""The DAGs that one presses before something else: a look that can only look, and a hold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.dags.conftest import World

pytestmark = pytest.mark.airflow


def backup_of(world: World) -> bytes:
    return world.places.customer_backup.read_bytes()


def test_a_plan_says_what_a_sync_would_do_and_writes_nothing(world: World):
    world.run()
    world.customers.change([1, 2])
    world.customers.delete([3])
    before = backup_of(world), world.order_history()
    outcome = world.run("backup_plan")
    assert outcome.state == "success"
    assert outcome.counts("customer") == (0, 2, 1, 17)
    assert "customer sync would insert 0, update 2 and delete 1, and leave 17 as they are" in outcome.log
    assert (backup_of(world), world.order_history()) == before


def test_a_plan_of_what_was_never_initialised_says_what_would_be_made_and_makes_nothing(world: World):
    outcome = world.run("backup_plan")
    assert outcome.state == "success"
    assert outcome.counts("customer") == outcome.counts("order") == (20, 0, 0, 0)
    assert "table Customers" in str(outcome.returned["customer"]["Created"])
    assert "would make" in outcome.log
    assert not world.places.customer_backup.exists()


def test_a_plan_after_a_new_column_says_what_would_be_altered_and_filled_in_and_the_sync_does_just_that(world: World):
    world.run()
    world.customers.run("ALTER TABLE Customers ADD COLUMN Fax TEXT")
    world.customers.run("UPDATE Customers SET Fax = '12' WHERE Id <= 7")
    world.customers.change([7, 8])
    before = backup_of(world)
    for dag_id, conf in (("backup_plan", {}), ("backup_sync", {"dry_run": True})):
        outcome = world.run(dag_id, conf)
        assert outcome.state == "success"
        assert outcome.counts("customer") == (0, 8, 0, 12)
        assert "would make column Fax of customer.Customers" in outcome.log
        assert "6 of the updates fill in Fax" in outcome.log
        assert backup_of(world) == before
    assert world.run().counts("customer") == (0, 8, 0, 12)


def test_a_plan_of_what_would_be_withheld_fails_with_the_same_sentence(world: World):
    world.seed(60)
    world.run()
    world.customers.delete(range(1, 31))
    outcome = world.run("backup_plan", {"service": "customer"})
    assert outcome.state == "failed"
    assert "30 deletes" in outcome.summary["Results"][0]["ErrorMessage"]
    assert [result["ServiceName"] for result in outcome.summary["Results"]] == ["customer"]


def test_a_held_backup_is_written_by_no_run_and_the_reason_shows_in_summary_and_history(world: World):
    world.run()
    assert world.run("backup_hold", {"service": "customer", "reason": "[1,2] moving house"}).state == "success"
    world.customers.delete([1])
    world.orders.change([1], 20)
    rows = world.rows(world.places.customer_backup, "SELECT * FROM Customers")
    for conf in ({}, {"force": True}, {"accept_source": True}, {"allow_deletes": 100}):
        outcome = world.run(conf=conf)
        assert outcome.state == "success"
        assert outcome.tasks["customer.sync"] == "skipped"
        assert outcome.tasks["order.sync"] == "success"
        assert world.rows(world.places.customer_backup, "SELECT * FROM Customers") == rows
        assert outcome.summary["Message"] == "1 of 2 services completed; held: customer"
        assert "customer sync skipped: the backup is held by dag_test" in outcome.log
    found = world.rows(world.places.customer_backup, "SELECT Success, ErrorMessage, Notice FROM SyncHistory")
    held = [row for row in found if row[0] == 0]
    assert len(held) == 4
    assert all(error is None and "[1,2] moving house" in notice for _, error, notice in held)
    assert world.run("backup_initialize", {"service": "customer"}).tasks["customer"] == "skipped"


def test_where_all_services_are_held_the_summary_is_skipped_too(world: World):
    world.run()
    assert world.run("backup_hold", {"service": "all", "reason": "moving house"}).state == "success"
    outcome = world.run()
    assert outcome.tasks["summary"] == "skipped"
    assert outcome.summary["Success"] is False
    assert [item["success"] for item in world.order_history()].count(False) == 1
    assert world.run("backup_hold", {"service": "all", "release": True}).state == "success"
    assert world.run().summary["Success"] is True


def test_a_held_backup_is_left_alone_though_its_source_is_away_and_can_be_looked_at(world: World):
    world.run()
    world.run("backup_hold", {"service": "customer", "reason": "moving house"})
    world.customers.change([1])
    looked = world.run("backup_plan", {"service": "customer"})
    assert looked.counts("customer") == (0, 1, 0, 19)
    assert "Note: the backup is held by" in looked.log
    world.places.customer_source.rename(world.places.base / "elsewhere")
    outcome = world.run(conf={"service": "customer"})
    assert outcome.tasks["customer.sync"] == "skipped"
    assert "failed" not in outcome.tasks.values()


def test_a_hold_that_is_released_or_over_holds_nothing(world: World):
    world.run()
    world.customers.change([1])
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    world.run("backup_hold", {"service": "customer", "reason": "an hour", "until": later.isoformat()})
    assert world.run(conf={"service": "customer"}).tasks["customer.sync"] == "skipped"
    with world.monkeypatch.context() as patch:
        patch.setattr("backup_sync.walk.hold.utc_now", lambda: later)
        outcome = world.run(conf={"service": "customer"})
    assert outcome.counts("customer") == (0, 1, 0, 19)
    world.run("backup_hold", {"service": "customer", "reason": "moving house"})
    outcome = world.run("backup_hold", {"service": "customer", "release": True})
    assert outcome.state == "success"
    assert "released; it was held by dag_test" in outcome.log
    assert world.run(conf={"service": "customer"}).counts("customer") == (0, 0, 0, 20)


@pytest.mark.parametrize(
    "conf, message",
    [
        ({"reason": " "}, "say in the parameter 'reason' why"),
        ({"reason": "x", "until": "2020-01-01T00:00:00Z"}, "the hold would be over already"),
    ],
)
def test_a_hold_without_a_reason_or_that_is_over_is_refused(world: World, conf, message):
    world.run(conf={"service": "customer"})
    outcome = world.run("backup_hold", {"service": "customer", **conf})
    assert outcome.state == "failed"
    assert message in outcome.reasons["customer"]
    assert world.run(conf={"service": "customer"}).tasks["customer.sync"] == "success"


def test_a_backup_that_was_never_initialised_cannot_be_held_and_nothing_is_made(world: World):
    outcome = world.run("backup_hold", {"service": "customer", "reason": "x"})
    assert outcome.state == "failed"
    assert "was never initialised; run the DAG backup_initialize first" in outcome.reasons["customer"]
    assert not world.places.customer_backup.exists()

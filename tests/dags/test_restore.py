"""Records are brought back: planned, approved, written, settled, undone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.dags.conftest import Outcome, World

pytestmark = pytest.mark.airflow

ALL = "SELECT * FROM Customers ORDER BY Id"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the person says who is asked, in turn. Nobody answers where it is empty: then the run ends there."""
    from airflow.providers.standard.operators.hitl import HITLOperator
    from airflow.sdk.exceptions import AirflowSkipException

    answers: list[str] = []

    def ask(self: Any, context: Any) -> Any:
        if not answers:
            raise AirflowSkipException("nobody answers")
        event = {"chosen_options": [answers.pop(0)], "params_input": {}, "responded_at": datetime.now(timezone.utc)}
        return self.execute_complete(context, {**event, "responded_by_user": {"id": "1", "name": "anna"}})

    monkeypatch.setattr(HITLOperator, "execute", ask)
    return answers


def source(world: World) -> list[tuple[Any, ...]]:
    return world.rows(world.places.customer_source, ALL)


def copy(world: World) -> list[tuple[Any, ...]]:
    return [row[:-1] for row in world.rows(world.places.customer_backup, ALL)]


def newest(world: World, column: str = "SyncId") -> Any:
    return world.rows(world.places.customer_backup, f"SELECT {column} FROM SyncHistory ORDER BY StartedAt DESC")[0][0]


def restore(world: World, **conf: Any) -> Outcome:
    return world.run("backup_restore", {"service": "customer", **conf})


@pytest.fixture
def damaged(world: World, answer: list[str]) -> tuple[World, str, list[tuple[Any, ...]]]:
    """(world, SyncId of the last good run, what there was): then somebody deleted rows, changed others, and a run copied that."""
    world.run()
    good, rows = newest(world), source(world)
    world.customers.delete([1, 2, 3])
    world.customers.change([7, 8])
    world.customers.insert(range(21, 23))
    world.run()
    return world, good, rows


def test_a_plan_waits_for_a_person_and_nothing_is_written_until_then(
    damaged: tuple[World, str, list[tuple[Any, ...]]],
) -> None:
    world, good, _ = damaged
    before = (source(world), copy(world))
    outcome = restore(world, as_of=good)
    assert outcome.tasks == {"plan": "success", "approve": "skipped", "restore": "skipped", "summary": "success"}
    found = outcome.returned["plan"]
    assert found["Missing"]["Count"] == 3
    assert sorted(found["Missing"]["Keys"]) == [[1], [2], [3]]
    assert found["Changed"]["Count"] == 2
    assert found["Staying"] == 2
    assert found["Fields"]["Version"] == 2
    assert "insert 3 missing records: " in found["Text"]
    assert (source(world), copy(world)) == before


def test_what_was_approved_is_restored_the_copy_settles_and_the_next_night_does_nothing(
    damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]
) -> None:
    world, good, rows = damaged
    answer.append("Approve")
    outcome = restore(world, as_of=good, delete=True)
    assert outcome.state == "success"
    assert outcome.counts("customer")[:3] == (3, 2, 2)
    assert "customer restore completed" in outcome.log
    assert source(world) == copy(world) == rows
    night = world.run(conf={"service": "customer"})
    assert night.state == "success"
    assert night.counts("customer") == (0, 0, 0, 20)
    restored = world.rows(world.places.customer_backup, "SELECT Mode, Success, InsertedCount FROM SyncHistory")
    assert ("restored as of 1 into customer_source", 1, 3) in restored


def test_a_plan_that_is_rejected_writes_nothing(
    damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]
) -> None:
    world, good, _ = damaged
    before = (source(world), copy(world))
    answer.append("Reject")
    outcome = restore(world, as_of=good)
    assert outcome.tasks["restore"] == "skipped"
    assert (source(world), copy(world)) == before


def test_a_run_that_brings_the_approval_along_asks_nobody(damaged: tuple[World, str, list[tuple[Any, ...]]]) -> None:
    world, good, rows = damaged
    planned = restore(world, as_of=good, delete=True).returned["plan"]["Plan"]
    outcome = restore(world, as_of=good, delete=True, confirm=planned)
    assert outcome.state == "success"
    assert source(world) == rows


def test_a_confirmed_plan_that_is_no_longer_the_plan_is_asked_for_again(
    damaged: tuple[World, str, list[tuple[Any, ...]]],
) -> None:
    world, good, _ = damaged
    planned = restore(world, as_of=good).returned["plan"]["Plan"]
    world.customers.delete([4])
    outcome = restore(world, as_of=good, confirm=planned)
    assert outcome.tasks["approve"] == outcome.tasks["restore"] == "skipped"
    assert "nobody answers" not in str(outcome.returned)


def test_a_restore_is_undone_and_that_is_undone_as_well(
    damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]
) -> None:
    world, good, rows = damaged
    bad = source(world)
    answer += ["Approve"] * 3
    first = restore(world, as_of=good, delete=True).summary["Results"][0]["SyncId"]
    second = restore(world, undo=first).summary["Results"][0]["SyncId"]
    assert source(world) == copy(world) == bad
    assert restore(world, undo=second).state == "success"
    assert source(world) == copy(world) == rows


def test_only_what_is_asked_for_is_restored(
    damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]
) -> None:
    world, good, _ = damaged
    answer += ["Approve"] * 4
    assert restore(world, as_of=good, only="missing", keys=[1, 7]).counts("customer")[:3] == (1, 0, 0)
    assert restore(world, as_of=good, where={"Id": 2}).counts("customer")[:3] == (1, 0, 0)
    assert restore(world, as_of=good, columns=["City"], keys=[7]).state == "success"
    assert restore(world, as_of=f"before:{newest(world)}").state in ("success", "failed")


def test_restore_points_are_listed_where_no_service_is_named(damaged: tuple[World, str, list[tuple[Any, ...]]]) -> None:
    world, good, _ = damaged
    outcome = world.run("backup_restore")
    assert outcome.state == "success"
    assert outcome.tasks["restore"] == "skipped"
    listed = outcome.returned["plan"]["Points"]
    assert [point["number"] for point in listed["customer"]] == [2, 1]
    assert listed["customer"][-1]["sync_id"] == good
    assert f"SyncId {good}" in outcome.log
    assert len(listed["order"]) == 2


def test_a_moment_means_the_last_run_that_had_succeeded_by_then(
    damaged: tuple[World, str, list[tuple[Any, ...]]],
) -> None:
    world, _, _ = damaged
    outcome = restore(world, as_of=datetime.now(timezone.utc).isoformat())
    assert outcome.returned["plan"]["AsOf"] == 2
    outcome = restore(world, as_of="2020-01-01T00:00:00Z")
    assert outcome.state == "failed"
    assert "no run had succeeded by 2020-01-01" in outcome.reasons["plan"]


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"as_of": "yesterday"}, "is no moment"),
        ({"as_of": "00000000-0000-0000-0000-000000000001"}, "the history has no run"),
        ({"as_of": "2026-01-01", "undo": "00000000-0000-0000-0000-000000000001"}, "two states"),
        ({"target": "customer_backup"}, "leads to the backup of customer itself"),
        ({"target": "order_source"}, "container"),
        ({"target": "nowhere"}, "nowhere"),
        ({"table": "Customers"}, "schema"),
        ({"keys": [[1, 2]]}, "give a value for each"),
        ({"columns": ["Nope"]}, "Nope"),
        ({"tabel": "x"}, "unknown parameter tabel"),
    ],
)
def test_a_wish_that_makes_no_sense_fails_the_plan_with_one_sentence(
    damaged: tuple[World, str, list[tuple[Any, ...]]], conf: dict[str, Any], reason: str
) -> None:
    world, _, _ = damaged
    outcome = restore(world, **conf)
    assert outcome.state == "failed"
    assert reason in outcome.reasons["plan"]
    assert outcome.tasks["restore"] == "upstream_failed"


def test_documents_are_restored_as_well(damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]) -> None:
    world, _, _ = damaged
    good = max(item["id"] for item in world.order_history())
    world.orders.delete([1, 2], 20)
    world.run()
    answer.append("Approve")
    outcome = world.run("backup_restore", {"service": "order", "as_of": good, "only": "missing"})
    assert outcome.state == "success"
    assert outcome.counts("order")[:3] == (2, 0, 0)
    assert world.run().counts("order")[:3] == (0, 0, 0)


def test_a_new_table_beside_the_live_one_is_made_and_filled(
    damaged: tuple[World, str, list[tuple[Any, ...]]], answer: list[str]
) -> None:
    world, good, rows = damaged
    before = (source(world), copy(world))
    answer.append("Approve")
    outcome = restore(world, as_of=good, table="customer.Customers_Restored")
    assert outcome.state == "success"
    assert world.rows(world.places.customer_source, "SELECT * FROM Customers_Restored ORDER BY Id") == rows
    assert (source(world), copy(world)) == before
    assert "table Customers_Restored" in outcome.returned["plan"]["Text"]
    with closing(sqlite3.connect(world.places.customer_source)) as db:
        assert "SyncedAt" not in str(db.execute("SELECT sql FROM sqlite_master").fetchall())

"""A run that withholds deletes asks a person, where its service says so."""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import Outcome, World
from tests.test_notify import Told

pytestmark = pytest.mark.airflow

CUSTOMER = {"service": "customer"}


@pytest.fixture
def asking(world: World, tmp_path: Path) -> World:
    """Twenty customers are backed up, and then most of them are gone."""
    world.services(tmp_path, customer={"airflow": {"approve_deletes": True, "approvers": ["anna"]}})
    world.run(conf=CUSTOMER)
    world.customers.delete(range(1, 16))
    return world


class Answers(list[Any]):
    """``questions``: what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[str] = []


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the person says who is asked: ``Approve``, ``Reject``, or a function that is called first. Nobody, where it is empty."""
    from airflow.providers.standard.operators.hitl import HITLOperator

    found = Answers()

    def ask(self: Any, context: Any) -> Any:
        found.questions.append(self.body)
        answer = found.pop(0)
        if callable(answer):
            answer = answer()
        if answer is None:
            return self.execute_complete(context, {"error": "late", "error_type": "timeout"})
        event = {"chosen_options": [answer], "params_input": {}, "responded_at": datetime.now(timezone.utc)}
        return self.execute_complete(context, {**event, "responded_by_user": {"id": "1", "name": "anna"}})

    monkeypatch.setattr(HITLOperator, "execute", ask)
    return found


def ids(world: World) -> list[int]:
    return [row[0] for row in world.rows(world.places.customer_backup, "SELECT Id FROM Customers ORDER BY Id")]


def newest(world: World, columns: str) -> tuple[Any, ...]:
    sql = f"SELECT {columns} FROM SyncHistory ORDER BY StartedAt DESC"
    return world.rows(world.places.customer_backup, sql)[0]


def states(outcome: Outcome) -> dict[str, str]:
    return {
        task.removeprefix("customer."): state for task, state in outcome.tasks.items() if task.startswith("customer.")
    }


def test_without_anything_withheld_nobody_is_asked(asking: World, answers: Answers) -> None:
    asking.customers.insert(range(1, 16))
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "success"
    assert states(outcome) == {
        "initialize": "success", "sync": "success", "approve": "skipped", "delete": "skipped", "record_history": "success",
    }  # fmt: skip


def test_a_service_that_is_not_to_be_synced_asks_nobody(asking: World, answers: Answers) -> None:
    outcome = asking.run(conf={"service": "order"})
    assert outcome.state == "success"
    assert set(states(outcome).values()) == {"skipped"}


def test_what_is_approved_is_deleted_and_the_run_is_a_success(asking: World, answers: Answers) -> None:
    answers.append("Approve")
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "success"
    assert states(outcome) == {
        "initialize": "success", "sync": "failed", "approve": "success", "delete": "success", "record_history": "success",
    }  # fmt: skip
    assert outcome.counts("customer") == (0, 0, 15, 5)
    assert ids(asking) == [16, 17, 18, 19, 20]
    assert newest(asking, "Success, DeletedCount, WithheldCount, Mode") == (
        1, 15, 0, "allowed 15 deletes (approved by anna)",
    )  # fmt: skip
    assert asking.run(conf=CUSTOMER).state == "success"


def test_the_question_says_how_many_of_how_many_and_names_some_keys(asking: World, answers: Answers) -> None:
    answers.append("Reject")
    asking.run(conf=CUSTOMER)
    (question,) = answers.questions
    assert "15 of 20 records of the backup (75%)" in question
    shown = re.findall(r"`(\d+)`", question)
    assert len(set(shown)) == 10
    assert {int(key) for key in shown} <= set(range(1, 16))
    assert " …" in question


@pytest.mark.parametrize("answer", ["Reject", None])
def test_a_no_and_no_answer_delete_nothing_and_the_run_fails(asking: World, answers: Answers, answer: Any) -> None:
    answers.append(answer)
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert states(outcome)["delete"] in ("skipped", "upstream_failed")
    assert len(ids(asking)) == 20
    assert newest(asking, "Success, WithheldCount") == (0, 15)
    assert "withheld 15 deletes" in str(outcome.summary["Results"][0]["ErrorMessage"])


def test_no_more_than_was_approved_is_deleted(asking: World, answers: Answers) -> None:
    def more() -> str:
        asking.customers.delete([16, 17])
        return "Approve"

    answers.append(more)
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert len(ids(asking)) == 20
    assert "this run may delete 15 at most" in str(outcome.summary["Results"][0]["ErrorMessage"])


def test_what_came_back_meanwhile_is_not_deleted(asking: World, answers: Answers) -> None:
    def back() -> str:
        asking.customers.insert(range(1, 11))
        return "Approve"

    answers.append(back)
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "success"
    assert outcome.counts("customer")[2] == 5
    assert ids(asking) == [*range(1, 11), *range(16, 21)]


def test_a_newer_run_makes_the_approval_void(asking: World, answers: Answers) -> None:
    def later() -> str:
        answers.append("Reject")
        asking.run(conf=CUSTOMER)
        return "Approve"

    answers.append(later)
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert len(ids(asking)) == 20
    assert "their approval is void; nothing was deleted" in str(outcome.summary["Results"][0]["ErrorMessage"])


def test_a_source_that_reads_as_empty_is_not_for_anybody_to_allow(asking: World, answers: Answers) -> None:
    asking.customers.delete(range(16, 21))
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert states(outcome)["approve"] == "skipped"
    assert len(ids(asking)) == 20


def test_a_dry_run_asks_nobody(asking: World, answers: Answers) -> None:
    outcome = asking.run(conf={**CUSTOMER, "dry_run": True})
    assert states(outcome)["approve"] == "skipped"
    assert len(ids(asking)) == 20


def test_a_sync_that_fails_otherwise_asks_nobody_and_is_recorded(asking: World, answers: Answers) -> None:
    outcome = asking.run(conf={**CUSTOMER, "allow_deletes": 15, "servcie": "x"})
    assert outcome.state == "failed"
    assert states(outcome)["approve"] == "skipped"


def test_people_are_told_when_they_are_asked_and_where_to_answer(
    asking: World, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_WITHHELD", "tests.test_notify.Told")
    Told.seen.clear()

    def told() -> str:
        ((_, text),) = Told.seen
        assert "Approve or reject: " in text
        assert "/tasks/customer.approve/required_actions" in text
        return "Approve"

    answers.append(told)
    assert asking.run(conf=CUSTOMER).state == "success"
    assert len(Told.seen) == 1  # what was approved needs nobody any more


def test_other_services_keep_their_chain(asking: World, answers: Answers) -> None:
    outcome = asking.run(conf={"service": "order"})
    assert not [task for task in outcome.tasks if task in ("order.approve", "order.delete")]


class Between:
    """Calls what is in ``then`` after the answer and before the deletes, as a person does who clears some of the tasks."""

    then: Any = None


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    from backup_sync.operators import DeleteApprovedOperator

    found, execute = Between(), DeleteApprovedOperator.execute

    def first(self: Any, context: Any) -> Any:
        if found.then is not None:
            found.then(context)
        return execute(self, context)

    monkeypatch.setattr(DeleteApprovedOperator, "execute", first)
    return found


def left(context: Any, task: str, key: str, change: Any) -> None:
    """What a task of this run left under a key becomes what ``change`` makes of it; None: it leaves nothing."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        run_id = context["dag_run"].run_id
        row = session.scalars(select(XComModel).filter_by(run_id=run_id, task_id=task, key=key)).one()
        value = change(dict(XComModel.deserialize_value(row)))
        if value is None:
            session.delete(row)
        else:
            row.value = value


def test_an_approval_is_of_what_was_asked_and_not_of_what_a_cleared_sync_finds_later(
    asking: World, answers: Answers, between: Between
) -> None:
    """Clearing only what failed runs the sync again, and not the answer."""

    def again(context: Any) -> None:
        asking.customers.delete([16, 17, 18])
        question = {"Deletes": 18, "Of": 20, "Keys": []}
        left(context, "customer.sync", "failure", lambda found: {**found, "Question": question})

    answers.append("Approve")
    between.then = again
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert len(ids(asking)) == 20
    assert "this run may delete 15 at most" in str(outcome.summary["Results"][0]["ErrorMessage"])


def test_a_sync_that_is_cleared_and_withholds_nothing_leaves_nothing_to_delete(
    asking: World, answers: Answers, between: Between
) -> None:
    def again(context: Any) -> None:
        asking.customers.insert(range(1, 16))
        left(context, "customer.sync", "failure", lambda _: None)

    answers.append("Approve")
    between.then = again
    assert states(asking.run(conf=CUSTOMER))["delete"] == "skipped"


@pytest.mark.parametrize("key", ["return_value", "asked"])
def test_an_approval_without_an_answer_deletes_nothing(
    asking: World, answers: Answers, between: Between, key: str
) -> None:
    """Whoever may mark tasks may mark the question as a success."""
    answers.append("Approve")
    between.then = lambda context: left(context, "customer.approve", key, lambda _: None)
    outcome = asking.run(conf=CUSTOMER)
    assert outcome.state == "failed"
    assert len(ids(asking)) == 20
    assert "has no answer of a person" in str(outcome.summary["Results"][0]["ErrorMessage"])


def test_what_the_run_deleted_before_it_asked_is_not_counted_against_the_approval(
    asking: World, answers: Answers, between: Between
) -> None:
    """A run that is cleared once its deletes were approved asks anew, and goes on."""

    def earlier(context: Any) -> None:
        sql = "UPDATE SyncHistory SET DeletedCount = 5 WHERE RunId = ?"
        with sqlite3.connect(asking.places.customer_backup) as db:
            assert db.execute(sql, [context["dag_run"].run_id]).rowcount == 1
        left(context, "customer.approve", "asked", lambda found: {**found, "Deleted": 5})

    answers.append("Approve")
    between.then = earlier
    assert asking.run(conf=CUSTOMER).state == "success"
    assert ids(asking) == [16, 17, 18, 19, 20]


def test_a_question_is_one_line_a_key_whatever_the_keys_hold() -> None:
    from backup_sync.operators.approve import told

    said = told("withheld", {"Deletes": 2, "Of": 4, "Keys": [["a\n# heading"], ["`b`"]]})
    assert "`a # heading`" in said
    assert "`'b'`" in said

"""Each kind of error does what its place in the tree says: Airflow fails the task, retries it, or nothing happens."""

from __future__ import annotations

import logging
import sqlite3
import threading
import traceback
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from backup_sync.model import errors
from backup_sync.model.errors import (
    BackupSyncError,
    ConfigurationError,
    FatalError,
    Held,
    PairingRefused,
    RetriableError,
)
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators import (
    FAILURE,
    InitializeBackupOperator,
    RecordHistoryOperator,
    ServiceOperator,
    SyncOperator,
)
from backup_sync.operators.base import number
from tests.outlets import Outlets

TREE = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackupSyncError)}
FAIL = sorted((kind for kind in TREE if issubclass(kind, ConfigurationError | FatalError)), key=str)
RETRY = sorted((kind for kind in TREE if issubclass(kind, RetriableError)), key=str)
OPERATORS = [
    (InitializeBackupOperator, "initialize"),
    (SyncOperator, "sync"),
    (RecordHistoryOperator, "record_history"),
]


class Task:
    """What Airflow hands to a running task, as far as the operators look at it."""

    dag_id, try_number = "backup_sync", 1

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return None

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        return {run_ids[0]: {"sync": "success"}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for end in ("source", "backup"):
        with closing(sqlite3.connect(tmp_path / f"{end}.sqlite")) as db:
            db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL)")
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{end.upper()}", f'{{"conn_type": "sqlite", "host": "{tmp_path}/{end}.sqlite"}}'
        )
    entry = {"source": "source", "backup": "backup", "table": "app.Things", "changed": {"Version": "higher"}}
    path = tmp_path / "services.yaml"
    path.write_text(yaml.safe_dump({"services": {"thing": entry}}))
    return path


JOBS = {
    "initialize": "backup_sync.walk.initialize.initialize",
    "sync": "backup_sync.walk.sync.sync",
    "record_history": "backup_sync.walk.record.record_history",
}
"""Where the operators find what they call."""


def outcome(
    kind: tuple[type[ServiceOperator], str],
    config: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    task: Task | None = None,
) -> tuple[AirflowException, dict[str, Any]]:
    """What Airflow gets to see of an error out of the engine, and what the task leaves for those behind it."""
    operator, step = kind

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(JOBS[step], fail)
    more = {"after": ["sync"]} if operator is RecordHistoryOperator else {}
    task = task or Task()
    context: Any = {
        "ti": task,
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(run_id="tonight", conf={}),
        "dag": SimpleNamespace(params={}),
    }
    with pytest.raises(AirflowException) as caught:
        operator(task_id="it", service="thing", config=config, **more).execute(context)
    return caught.value, task.pushed


def test_every_error_of_the_tree_is_one_that_fails_or_one_that_is_retried() -> None:
    leaves = {
        found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, BackupSyncError)
    }
    assert leaves - {BackupSyncError} == {*FAIL, *RETRY, Held}


@pytest.mark.parametrize("kind", OPERATORS[:2], ids=[name for _, name in OPERATORS[:2]])
def test_a_held_backup_skips_the_task_with_the_reason_and_leaves_a_result_that_is_no_failure(kind, config, monkeypatch):
    raised, left = outcome(kind, config, Held("thing: the backup is held by anna: moving house"), monkeypatch)
    assert isinstance(raised, AirflowSkipException)
    assert str(raised) == "thing: the backup is held by anna: moving house"
    assert (left[FAILURE]["Status"], left[FAILURE]["ErrorMessage"]) == ("Held", None)
    assert left[FAILURE]["Notice"] == str(raised)


def test_a_failure_that_could_not_be_recorded_for_the_same_reason_is_told_once(config, monkeypatch):
    class Behind(Task):
        def xcom_pull(self, task_ids: str, key: str) -> Any:
            run = SyncResult(sync_id("d", "tonight", "thing"), "thing", run_id="tonight")
            run.fail("backup: cannot reach it")
            return run.to_dict()

    for said, expected in (
        ("backup: cannot reach it", "backup: cannot reach it"),
        ("backup: is full", "backup: cannot reach it; and its history could not be written: backup: is full"),
    ):
        raised, left = outcome(OPERATORS[2], config, RetriableError(said), monkeypatch, Behind())
        assert str(raised) == said
        assert left[FAILURE]["ErrorMessage"] == expected


@pytest.mark.parametrize(
    "conf, given, agrees",
    [
        ({"force": True}, {"force": True}, True),
        ({"force": True}, {"force": "True"}, True),
        ({"force": True}, {"force": False}, False),
        ({"force": False}, {"force": True}, False),
        ({"dry_run": True}, {"dry_run": False}, False),
        ({"allow_deletes": 5}, {"allow_deletes": "5"}, True),
        ({"allow_deletes": 5}, {"allow_deletes": None}, False),
        ({"allow_deletes": None}, {"allow_deletes": 5}, False),
        ({"service": "thing"}, {"only": "thing"}, True),
        ({"service": "other"}, {"only": "all"}, False),
        ({}, {"force": True}, True),
        (None, {"force": True}, True),
    ],
)
def test_a_task_that_was_not_given_what_the_runs_conf_asks_for_fails_before_it_does_anything(
    conf, given, agrees, config, monkeypatch
):
    done: list[Any] = []
    monkeypatch.setattr("backup_sync.walk.sync.sync", lambda *args, **_: done.append(args))
    task = SyncOperator(task_id="it", service="thing", config=config, **given)
    params = dict.fromkeys(("service", "force", "dry_run", "allow_deletes", "accept_source"))
    context: Any = {
        "ti": Task(),
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(run_id="tonight", conf=conf),
        "dag": SimpleNamespace(params=params),
    }
    if agrees:
        task.execute(context)
        assert len(done) == 1
    else:
        with pytest.raises(AirflowFailException, match="dag_run_conf_overrides_params"):
            task.execute(context)
        assert done == []
        assert context["ti"].pushed[FAILURE]["DryRun"] is bool(conf.get("dry_run"))


@pytest.mark.parametrize(
    "last, missed",
    [
        ("2026-11-22T00:00:05Z", 2),  # the runs of the 23rd and 24th did not happen
        ("2026-11-23T12:00:00Z", 1),
        ("2026-11-24T12:00:00Z", 0),
        ("2026-11-23T23:59:00Z", 1),
        (None, 0),
    ],
)
def test_the_first_scheduled_run_after_a_pause_of_more_than_a_day_says_so(last, missed, config, caplog):
    found = [{"StartedAt": last, "Mode": ""}] if last else []
    looked = {"StartedAt": "2026-11-24T23:00:00Z", "Mode": "verified"}  # is no run that copies
    journal = SimpleNamespace(newest=lambda: [looked, *found])
    backup = SimpleNamespace(catalog=SimpleNamespace(exists=lambda: True), journal=journal)
    task = SyncOperator(task_id="it", service="thing", config=config, schedule="0 0 * * *")
    task._tell_of_pause(backup, datetime(2026, 11, 25, tzinfo=timezone.utc))
    found = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if not missed:
        assert found == []
    else:
        assert "the first scheduled run after a pause" in found[0]
        assert ("once" if missed == 1 else f"{missed} times") in found[0]


@pytest.mark.parametrize("kind", OPERATORS, ids=[name for _, name in OPERATORS])
@pytest.mark.parametrize("error", FAIL)
def test_what_a_retry_cannot_mend_fails_the_task_at_once(kind, error, config, monkeypatch):
    raised, left = outcome(kind, config, error("source: table x does not exist"), monkeypatch)
    assert isinstance(raised, AirflowFailException)
    assert str(raised).endswith("source: table x does not exist")
    assert left[FAILURE]["Status"] == "Failed"
    assert left[FAILURE]["ErrorMessage"].endswith("source: table x does not exist")


@pytest.mark.parametrize("kind", OPERATORS, ids=[name for _, name in OPERATORS])
@pytest.mark.parametrize("error", RETRY)
def test_what_may_pass_fails_the_attempt_and_leaves_the_retry_to_airflow(kind, error, config, monkeypatch):
    raised, left = outcome(kind, config, error("source: is away"), monkeypatch)
    assert not isinstance(raised, AirflowFailException)
    assert str(raised).endswith("source: is away")
    assert left[FAILURE]["ErrorMessage"].endswith("source: is away")


@pytest.mark.parametrize("kind", OPERATORS, ids=[name for _, name in OPERATORS])
def test_an_error_that_nobody_foresaw_fails_the_task_and_shows_where_it_came_from_but_not_what_it_says(
    kind, config, monkeypatch, caplog
):
    error = ValueError("hunter2")
    error.__cause__ = KeyError("hunter2 again")
    with caplog.at_level(logging.DEBUG):
        raised, left = outcome(kind, config, error, monkeypatch)
    assert isinstance(raised, AirflowFailException)
    assert "unexpected ValueError" in str(raised)
    assert "test_operators.py" in caplog.text
    shown = caplog.text + "".join(traceback.format_exception(raised)) + repr(left)
    assert "hunter2" not in shown


@pytest.mark.parametrize("kind", OPERATORS, ids=[name for _, name in OPERATORS])
def test_a_killed_task_tells_its_run_to_stop(kind, config, monkeypatch):
    operator, step = kind
    told = []

    def running(*_: Any, stop: threading.Event, **__: Any) -> list[str]:
        task.on_kill()  # as Airflow's handler of SIGTERM does, in the same thread
        told.append(stop.is_set())
        return []

    monkeypatch.setattr(JOBS[step], running)
    task = operator(
        task_id="it", service="thing", config=config, **({"after": ["sync"]} if step == "record_history" else {})
    )
    context: Any = {
        "ti": Task(),
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(run_id="tonight", conf={}),
        "dag": SimpleNamespace(params={}),
    }
    try:
        task.execute(context)
    except AirflowException:
        pass
    assert told == [True]


@pytest.mark.parametrize("kind", OPERATORS, ids=[name for _, name in OPERATORS])
def test_a_task_that_was_killed_before_it_began_writes_nothing(kind, config, tmp_path):
    operator, step = kind
    task = operator(
        task_id="it", service="thing", config=config, **({"after": ["sync"]} if step == "record_history" else {})
    )
    left = (tmp_path / "backup.sqlite").read_bytes()
    task.on_kill()
    context: Any = {
        "ti": Task(),
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(run_id="tonight", conf={}),
        "dag": SimpleNamespace(params={}),
    }
    with pytest.raises(AirflowException):
        task.execute(context)
    assert (tmp_path / "backup.sqlite").read_bytes() == left


def test_a_backup_that_belongs_to_something_else_gets_no_history(config, monkeypatch):
    _, left = outcome(OPERATORS[1], config, PairingRefused("backup: is another one"), monkeypatch)
    assert left[FAILURE]["Pairing"] == "refused"
    monkeypatch.setattr(Task, "xcom_pull", lambda self, task_ids, key: left.get(key))

    def never(*_: Any, **__: Any) -> None:
        pytest.fail("history was written")

    monkeypatch.setattr("backup_sync.walk.record.record_history", never)
    context: Any = {
        "ti": Task(),
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(run_id="tonight", conf={}),
        "dag": SimpleNamespace(params={}),
    }
    with pytest.raises(AirflowFailException, match="not recorded, since the backup is another one"):
        RecordHistoryOperator(task_id="it", service="thing", config=config, after=["sync"]).execute(context)


@pytest.mark.parametrize("value, expected", [(None, None), ("None", None), ("", None), (25, 25), ("25", 25), (0, 0)])
def test_a_number_survives_templating(value, expected):
    assert number("allow_deletes", value) == expected


@pytest.mark.parametrize("value", [True, "all", -1, "1.5", "²"])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ConfigurationError, match="allow_deletes has to be a whole number, or null"):
        number("allow_deletes", value)


def test_progress_that_cannot_be_told_is_not_tried_again_and_ends_nothing() -> None:
    from types import SimpleNamespace

    tried: list[object] = []

    def push(**_: object) -> None:
        tried.append(1)
        raise ConnectionError("away")

    operator = SyncOperator(task_id="sync", service="customer", config="x.yaml")
    heard = operator.heard({"ti": SimpleNamespace(xcom_push=push)})  # type: ignore[typeddict-item]
    for _ in range(3):
        heard({"Done": 1, "Total": None, "Rate": 1, "SecondsLeft": None})
    assert len(tried) == 1

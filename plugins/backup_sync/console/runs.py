"""What Airflow holds of the runs: the states of their tasks, the results that these left, and the events of the assets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow.models.asset import (
    AssetAliasModel,
    AssetEvent,
    AssetModel,
    asset_alias_asset_event_association_table,
)
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from backup_sync.console.board import FAILED, RUNNING, SKIPPED, SUCCEEDED, Attempt, Event
from backup_sync.model import result as results_of
from backup_sync.model.traces import FAILURE, PROGRESS

RETURNED = "return_value"
RESULTS = (RETURNED, FAILURE)
"""Under these keys tasks leave a result."""


class Left(NamedTuple):
    """What a task left. ``last``: the one that closes a chain did."""

    last: bool
    at: datetime
    key: str
    value: dict[str, Any]


BROKEN = {"failed", "upstream_failed"}
REMOVED = "removed"
"""The state of a task that its DAG no longer had when the run came to it."""
ASKED = "awaiting_input"
AT_WORK = {
    "running",
    "queued",
    "scheduled",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
    ASKED,
}

_link = asset_alias_asset_event_association_table.c


def runs(
    session: Session,
    dag_ids: Collection[str],
    limit: int,
    *,
    before: int | None = None,
    run_id: str | None = None,
    of: Collection[str] = (),
) -> Sequence[Row[Any]]:
    """The newest runs of some DAGs: ``id``, ``dag_id``, ``run_id``, ``state``, ``run_after``, ``start_date``, ``end_date``, ``conf``.

    ``before``: only those with a lower id. ``run_id``: only that one. ``of``: only those in which one of these tasks was more than
    skipped, or which failed and may have skipped it for that."""
    wanted = select(
        *(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.run_after, DagRun.start_date, DagRun.end_date, DagRun.conf),
        DagRun.state.label("state"),
    ).where(DagRun.dag_id.in_(dag_ids))
    if before is not None:
        wanted = wanted.where(DagRun.id < before)
    if run_id is not None:
        wanted = wanted.where(DagRun.run_id == run_id)
    if of:
        at_it = select(TaskInstance.id).where(
            TaskInstance.dag_id == DagRun.dag_id,
            TaskInstance.run_id == DagRun.run_id,
            TaskInstance.task_id.in_(of),
            or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(("skipped", REMOVED))),
        )
        wanted = wanted.where(or_(at_it.exists(), DagRun.state == "failed"))
    return session.execute(wanted.order_by(DagRun.id.desc()).limit(limit)).all()


VERBS = ("refused", "initialize", "sync", "approve", "delete", "record_history")
RESTORING = ("plan", "approve", "restore")
ORDER = {name: number for verbs in (RESTORING, VERBS) for number, name in enumerate(verbs)}


def tasks_of(services: Iterable[str]) -> dict[str, str]:
    """Task id → service: a task is called by its service, or by that and a word (``customer.sync``)."""
    return {task: name for name in services for task in (name, *(f"{name}.{verb}" for verb in VERBS))}


def tasks_of_restore(service: str) -> dict[str, str]:
    """The same in ``backup_restore``, each of whose runs is for one service."""
    return dict.fromkeys(RESTORING, service)


def attempts(session: Session, found: Sequence[Row[Any]], tasks: Mapping[str, str]) -> dict[tuple[int, str], Attempt]:
    """What runs were for services: by run (its id) and service. ``tasks``: task id → service."""
    if not found:
        return {}
    ids = {(row.dag_id, row.run_id): row for row in found}
    states = select(
        *(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state),
        *(TaskInstance.start_date, TaskInstance.end_date),
    ).where(
        TaskInstance.dag_id.in_({row.dag_id for row in found}),
        TaskInstance.run_id.in_({row.run_id for row in found}),
        TaskInstance.task_id.in_(tasks),
    )
    values = select(XComModel.dag_run_id, XComModel.task_id, XComModel.key, XComModel.timestamp, XComModel.value).where(
        XComModel.dag_run_id.in_([row.id for row in found]),
        XComModel.key.in_((*RESULTS, PROGRESS)),
        XComModel.task_id.in_(tasks),
    )
    chains: dict[tuple[int, str], list[Any]] = {}
    for task in session.execute(states):
        run = ids.get((task.dag_id, task.run_id))
        if run is not None and task.state != REMOVED:
            chains.setdefault((run.id, tasks[task.task_id]), []).append(task)
    left: dict[tuple[int, str], list[Left]] = {}
    for value in session.execute(values):
        read = XComModel.deserialize_value(value)
        if isinstance(read, dict):
            last = value.task_id.endswith(".record_history")
            name = tasks[value.task_id]
            left.setdefault((value.dag_run_id, name), []).append(Left(last, value.timestamp, value.key, read))
    by_id = {row.id: row for row in found}
    return {
        (run, name): _attempt(by_id[run], name, chain, left.get((run, name), []))
        for (run, name), chain in chains.items()
    }


def _attempt(run: Row[Any], service: str, chain: Iterable[Any], left: Sequence[Left]) -> Attempt:
    chain = sorted(chain, key=lambda task: ORDER.get(task.task_id.rpartition(".")[2], 0))
    states = {task.state for task in chain}
    told = [one for one in left if one.key in RESULTS and "SyncId" in one.value]
    result = max(told, key=lambda one: (one.last, one.at)).value if told else None
    going = [one.value for one in sorted(left, key=lambda one: one.at) if one.key == PROGRESS]
    waits = any(task.state == ASKED and task.task_id.endswith(".approve") for task in chain)
    if waits:
        state = FAILED  # until somebody approves what it withheld
    elif run.state in ("queued", "running") and (states & AT_WORK or None in states):
        state = RUNNING
    elif result is not None and result.get("Status") == results_of.FAILED:
        state = FAILED  # also where somebody marked its tasks as a success
    elif result is not None and chain[-1].state == "success" and chain[-1].task_id.endswith(".record_history"):
        state = SUCCEEDED  # whatever failed before has been dealt with
    elif states & BROKEN or (run.state == "failed" and states - {"success", "skipped"}):
        state = FAILED
    elif result is None and run.state == "failed" and chain[-1].state == "skipped" and _asked(run, service):
        state = FAILED  # Airflow skips what is left of a run that takes longer than its dagrun_timeout
    elif states <= {"skipped"}:
        state = SKIPPED
    else:
        state = SUCCEEDED
    starts = [task.start_date for task in chain if task.start_date is not None]
    ends = [task.end_date for task in chain if task.end_date is not None]
    return Attempt(
        service=service,
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=state,
        started=min(starts, default=run.run_after),
        ended=max(ends, default=None) if state != RUNNING else None,
        result=result,
        progress=going[-1] if going and state == RUNNING else None,
        asks=next((task.task_id for task in chain if task.state == ASKED), ""),
        plan=next((one.value for one in left if one.key == RETURNED and "Plan" in one.value), None),
        tasks=[(task.task_id, str(task.state)) for task in chain if task.state not in (None, "skipped")],
    )


def _asked(run: Row[Any], service: str) -> bool:
    """Whether a run was for this service."""
    return (run.conf or {}).get("service") in (None, "all", service)


def newest_events(session: Session, aliased: Collection[str], named: Collection[str]) -> dict[str, Event]:
    """The last event that each of the asset aliases called ``aliased``, and of the assets called ``named``, led to."""
    found: dict[str, Event] = {}
    newest = (
        select(func.max(_link.event_id))
        .where(_link.alias_id == AssetAliasModel.id)
        .correlate(AssetAliasModel)
        .scalar_subquery()
    )
    aliases = session.execute(select(AssetAliasModel.name, newest).where(AssetAliasModel.name.in_(aliased))).all()
    last = (
        select(AssetEvent.id)
        .where(AssetEvent.asset_id == AssetModel.id)
        .order_by(AssetEvent.timestamp.desc())
        .limit(1)
        .correlate(AssetModel)
        .scalar_subquery()
    )
    assets = session.execute(select(AssetModel.name, last).where(AssetModel.name.in_(named))).all()
    name_of = {event: name for name, event in (*aliases, *assets) if event is not None}
    for event in session.execute(_events().where(AssetEvent.id.in_(name_of))):
        found[name_of[event.id]] = _event(event)
    return found


MEASURED = ("InsertedCount", "UpdatedCount", "DeletedCount", "SkippedCount", "Seconds")


def measures(session: Session, alias: str, since: datetime) -> Sequence[Row[Any]]:
    """Of each success that an asset alias led to since then, oldest first: ``timestamp``, and what :data:`MEASURED` names.

    The database takes these out of what the events carry: a quarter of the time that it takes to read all of it here."""
    wanted = (
        select(AssetEvent.timestamp, *(AssetEvent.extra[name].as_float().label(name) for name in MEASURED))
        .join(asset_alias_asset_event_association_table, _link.event_id == AssetEvent.id)
        .join(AssetAliasModel, AssetAliasModel.id == _link.alias_id)
        .where(AssetAliasModel.name == alias, AssetEvent.timestamp >= since)
        .order_by(AssetEvent.id)
    )
    return session.execute(wanted).all()


def newest_of(session: Session, alias: str, since: datetime, limit: int) -> list[Event]:
    """The newest events that an asset alias led to since then, newest first."""
    wanted = (
        _events()
        .join(asset_alias_asset_event_association_table, _link.event_id == AssetEvent.id)
        .join(AssetAliasModel, AssetAliasModel.id == _link.alias_id)
        .where(AssetAliasModel.name == alias, AssetEvent.timestamp >= since)
        .order_by(AssetEvent.id.desc())
        .limit(limit)
    )
    return [_event(row) for row in session.execute(wanted)]


def _events() -> Any:
    return select(
        *(AssetEvent.id, AssetEvent.timestamp, AssetEvent.extra, AssetEvent.source_dag_id, AssetEvent.source_run_id)
    )


def _event(row: Row[Any]) -> Event:
    extra: Mapping[str, Any] = row.extra if isinstance(row.extra, dict) else {}
    return Event(row.timestamp, extra, row.source_dag_id or "", row.source_run_id or "")

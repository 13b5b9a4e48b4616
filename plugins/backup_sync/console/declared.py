"""Which services there are, as the DAGs in Airflow's database have them: where the API server runs there may be no services file."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import timedelta

from airflow.models.dag import DagModel
from airflow.models.serialized_dag import SerializedDagModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from backup_sync.model import fresh
from backup_sync.model.keep import parse_time
from backup_sync.settings import Settings

SYNC, REFUSE = "SyncOperator", "RefuseOperator"
"""The kind of task that syncs a service, and that which stands for one whose entry cannot be read."""

VERIFY, DRILL, RESTORE = "backup_verify", "backup_drill", "backup_restore"
OTHERS = (VERIFY, DRILL, RESTORE, "backup_initialize", "backup_plan")
"""The DAGs besides those that sync. Each has tasks for all services."""

PREFIX = "backup_"
SYNC_DAG = "backup_sync"
USUAL = parse_time(fresh.USUAL).total_seconds()
OPTIONS = {"schedule", *(one.name for one in fields(Settings))}
"""Of the section [backup_sync]."""


@dataclass(frozen=True)
class Declared:
    """A service: the DAG that syncs it, how old its last success may become, and whether that DAG is paused."""

    service: str
    dag_id: str
    promise: timedelta
    paused: bool


_known: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {}
"""DAG → its hash, and the services in it with their promises in seconds. To read a DAG of 60 services takes a tenth of a second."""
_lock = threading.Lock()


def services(session: Session, readable: Collection[str]) -> list[Declared]:
    """The services of the DAGs that are there, in the order of their names. ``readable``: ids of DAGs that may be looked at."""
    ours = DagModel.dag_id.startswith(PREFIX, autoescape=True)
    # All of them in one list could be more than a statement takes.
    rows = [
        row
        for row in session.execute(select(DagModel.dag_id, DagModel.is_paused).where(ours, ~DagModel.is_stale))
        if row.dag_id in readable
    ]
    found = [
        Declared(service, dag_id, timedelta(seconds=seconds), bool(paused))
        for dag_id, paused in rows
        for service, seconds in _in_dag(session, dag_id)
    ]
    return sorted(found, key=lambda one: one.service)


def _in_dag(session: Session, dag_id: str) -> tuple[tuple[str, float], ...]:
    newest = (
        select(SerializedDagModel.id, SerializedDagModel.dag_hash)
        .where(SerializedDagModel.dag_id == dag_id)
        .order_by(SerializedDagModel.created_at.desc())
        .limit(1)
    )
    row = session.execute(newest).first()
    if row is None:
        return ()
    with _lock:
        known = _known.get(dag_id)
    if known is not None and known[0] == row.dag_hash:
        return known[1]
    kept = session.get(SerializedDagModel, row.id)
    tasks = kept.dag.tasks if kept is not None else []
    found = tuple(
        (task.task_id.rpartition(".")[0], float(getattr(task, "fresh_within", 0) or 0))
        for task in tasks
        if task.task_type == SYNC and task.task_id.endswith(".sync")
    ) + tuple(
        (name, USUAL)
        for task in tasks
        # An option that cannot be read has such a task as well, and is no service.
        if task.task_type == REFUSE and dag_id == SYNC_DAG and (name := task.task_id.rpartition(".")[0]) not in OPTIONS
    )
    with _lock:
        _known[dag_id] = (row.dag_hash, found)
    return found


def all_dags(session: Session) -> set[str]:
    """The ids of all DAGs that are there and may be ours."""
    return set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.startswith(PREFIX, autoescape=True))))

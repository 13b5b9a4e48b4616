"""Runs that never were: written straight into Airflow's tables, so that thousands take a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators.assets import extra

DAGS = Path(__file__).resolve().parents[2] / "dags"
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def declare(path: Path, services: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a services file; each entry over a usual one."""
    usual = {"source": "customer_source", "backup": "customer_backup", "changed": {"Version": "higher"}}
    entries = {name: {**usual, "table": f"shop.{name}", **entry} for name, entry in services.items()}
    path.write_text(yaml.safe_dump({"services": entries}))


def store_dags() -> list[str]:
    """Put the DAGs of this project into Airflow's database as its DAG processor does; their ids."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    bag = DagBag(str(DAGS))
    assert not bag.import_errors
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
        session.commit()
        sync_bag_to_db(bag, "dags-folder", None, session=session)
        session.execute(update(DagModel).values(is_stale=DagModel.dag_id.not_in(list(bag.dags))))
        session.execute(update(DagModel).values(is_paused=False))
    return sorted(bag.dags)


@dataclass
class Past:
    """Runs, task instances, XComs and asset events, gathered and then written at once."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    next_run: int = 0
    next_event: int = 0

    @classmethod
    def empty(cls) -> Past:
        """Begin anew: no run is left."""
        from airflow.models.asset import AssetEvent, asset_alias_asset_event_association_table
        from airflow.models.dag_version import DagVersion
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import delete, select

        past = cls()
        with create_session() as session:
            session.execute(delete(asset_alias_asset_event_association_table))
            for model in (AssetEvent, XComModel, TaskInstance, DagRun):
                session.execute(delete(model))
            for version in session.scalars(select(DagVersion).order_by(DagVersion.created_at)):
                past.versions[version.dag_id] = version.id
        return past

    def run(
        self,
        dag_id: str,
        at: datetime,
        results: Iterable[tuple[str, SyncResult | None, str]] = (),
        *,
        state: str = "success",
        tasks: Iterable[str] = ("initialize", "sync", "record_history"),
        conf: Mapping[str, Any] | None = None,
        progress: Mapping[str, Any] | None = None,
        kind: str = "scheduled",
    ) -> str:
        """A run with what came of it: for each service its result (or None) and the state of its tasks, one for all or one for each.
        The id of the run."""
        self.next_run += 1
        run_id, run = f"{kind}__{at.isoformat()}", self.next_run
        end = None if state == "running" else at + timedelta(seconds=60)
        self._add(
            "dag_run", id=run, dag_id=dag_id, run_id=run_id, run_type=kind, state=state, logical_date=at, run_after=at,
            queued_at=at, start_date=at, end_date=end, conf=dict(conf or {}), created_dag_version_id=self.versions.get(dag_id),
        )  # fmt: skip
        for service, result, of_tasks in results:
            verbs, states = list(tasks), of_tasks.split()
            for verb, of_task in zip(verbs, states if len(states) > 1 else states * len(verbs), strict=True):
                task = f"{service}.{verb}" if verb else service
                self._task(dag_id, run_id, task, of_task, at, end)
            last = f"{service}.{verbs[-1]}" if verbs[-1] else service
            if progress:
                self._xcom(run, dag_id, run_id, f"{service}.sync", "progress", dict(progress), at)
            if result is None:
                continue
            result.run_id, result.sync_id = run_id, sync_id(dag_id, run_id, service)
            key = "return_value" if result.success else "failure"
            self._xcom(run, dag_id, run_id, last, key, result.to_dict(), at)
            if result.success and not result.dry_run and dag_id.startswith("backup_sync"):
                self._event(f"backup_sync.{service}", dag_id, run_id, f"{service}.sync", end or at, extra(result))
        return run_id

    def write(self) -> None:
        from airflow.models.asset import (
            AssetAliasModel,
            AssetEvent,
            AssetModel,
            asset_alias_asset_event_association_table,
        )
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import insert, select

        with create_session() as session:
            for alias in sorted({row["alias"] for row in self.rows.get("event", [])}):
                kept = session.scalar(select(AssetAliasModel.id).where(AssetAliasModel.name == alias))
                if kept is None:
                    session.add(AssetAliasModel(name=alias, group="backup"))
                    session.flush()
                    kept = session.scalar(select(AssetAliasModel.id).where(AssetAliasModel.name == alias))
                uri = f"sqlite:/backups/{alias}"
                asset = session.scalar(select(AssetModel.id).where(AssetModel.uri == uri))
                if asset is None:
                    session.add(AssetModel(name=uri, uri=uri, group="backup", extra={}))
                    session.flush()
                    asset = session.scalar(select(AssetModel.id).where(AssetModel.uri == uri))
                for row in self.rows["event"]:
                    if row["alias"] == alias:
                        row["asset_id"], row["alias_id"] = asset, kept
            links = [{"alias_id": row["alias_id"], "event_id": row["id"]} for row in self.rows.get("event", [])]
            for row in self.rows.get("event", []):
                row.pop("alias")
                row.pop("alias_id")
            for model, name in (
                (DagRun, "dag_run"),
                (TaskInstance, "task"),
                (XComModel, "xcom"),
                (AssetEvent, "event"),
            ):
                if self.rows.get(name):
                    session.execute(insert(model.__table__), self.rows[name])
            if links:
                session.execute(insert(asset_alias_asset_event_association_table), links)
        self.rows.clear()

    def _add(self, kind: str, **row: Any) -> None:
        self.rows.setdefault(kind, []).append(row)

    def _task(self, dag_id: str, run_id: str, task_id: str, state: str, at: datetime, end: datetime | None) -> None:
        ended = end if state not in ("running", "queued") else None
        self._add(
            "task", dag_id=dag_id, run_id=run_id, task_id=task_id, state=state, start_date=at, end_date=ended, pool="default_pool",
            try_number=1, dag_version_id=self.versions.get(dag_id),
        )  # fmt: skip

    def _xcom(self, run: int, dag_id: str, run_id: str, task_id: str, key: str, value: Any, at: datetime) -> None:
        self._add(
            "xcom", dag_run_id=run, dag_id=dag_id, run_id=run_id, task_id=task_id, key=key, value=value, timestamp=at
        )

    def _event(self, alias: str, dag_id: str, run_id: str, task_id: str, at: datetime, what: Mapping[str, Any]) -> None:
        self.next_event += 1
        self._add(
            "event", id=self.next_event, alias=alias, extra=dict(what), source_dag_id=dag_id, source_run_id=run_id,
            source_task_id=task_id, timestamp=at,
        )  # fmt: skip


def result(service: str, at: datetime, *, error: str | None = None, **values: Any) -> SyncResult:
    """What a run left that began at ``at`` and took a minute."""
    made = SyncResult(
        sync_id("", "", service), service, started_at=at, started_by="scheduled", run_number=1, pairing="checked"
    )
    for name, value in values.items():
        setattr(made, name, value)
    made.complete() if error is None else made.fail(error)
    made.completed_at = at + timedelta(seconds=60)
    return made

"""The DAG ``backup_sync``, every declared service every night or on demand; and one like it for each other schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, TriggerRule, chain
from airflow.sdk.configuration import conf

from backup_sync.dags.ground import SYNC_DAG, Ground, service_param, summed_up
from backup_sync.model.schedules import cron_of
from backup_sync.operators import (
    ApproveDeletesOperator,
    DeleteApprovedOperator,
    InitializeBackupOperator,
    RecordHistoryOperator,
    SummaryOperator,
    SyncOperator,
    refuse_mistakes,
)
from backup_sync.operators.notify import late
from backup_sync.settings import Settings

WAITING = 100
"""Runs of a DAG that may be active at once, where some wait for an approval."""

DOC = """
### backup_sync
Keeps the live backup of each declared service in step with its source: new records are inserted, changed ones
updated, and those gone from the source deleted. Each service has its own chain (`initialize → sync →
record_history`), so one that fails does not hold up the others; `summary` then fails the run.

A run mirrors the source **as it is now**. A backfill runs once for each date and each of these runs copies the
present; none recreates the past.

**To look first, run `backup_plan`**: it says what a sync would do and can write nothing. Unpausing this DAG starts the
run of the last midnight, for real. To keep a service from being written to, run `backup_hold`.

Deletes so many that they look like an accident are withheld and the run fails; see *Allow deletes*.
"""


def build(dag_file: str) -> dict[str, DAG]:
    """DAGs by id: ``backup_sync`` with the schedule of the settings, and ``backup_sync_hourly`` and so on for services with another."""
    ground = Ground.read(dag_file)
    groups: dict[str, list[str]] = {SYNC_DAG: []}
    schedules = {SYNC_DAG: ground.settings.schedule}
    for service, running in ground.declared.running.items():
        dag_id = ground.dag_of(service)
        groups.setdefault(dag_id, []).append(service)
        schedules.setdefault(dag_id, running.schedule if ground.settings.enabled else None)
    return {dag_id: _dag(ground, dag_id, schedules[dag_id], services) for dag_id, services in groups.items()}


def _dag(ground: Ground, dag_id: str, schedule: str | None, services: Sequence[str]) -> DAG:
    settings, cron = ground.settings, cron_of(schedule)
    longest = [one for name in services if (one := ground.declared.running[name].dagrun_timeout) is not None]
    usual = conf.getint("core", "max_active_runs_per_dag", fallback=16)
    asking = any(ground.declared.running[name].approve_deletes for name in services)
    with DAG(
        dag_id=dag_id,
        description="Keep the backup databases in step with the operational ones",
        doc_md=DOC,
        schedule=schedule,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        # A run that waits for an approval is active, and must not keep the next ones from beginning.
        max_active_runs=max(WAITING, usual) if asking else usual,
        deadline=_deadline(settings),
        dagrun_timeout=timedelta(seconds=max(longest)) if longest else settings.dagrun_timeout,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        default_args={
            **ground.retrying(),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(hours=1),
            "execution_timeout": settings.execution_timeout,
        },
        params={
            "service": service_param(services, "Back up all services of this DAG, or one of them."),
            "force": Param(
                False,
                type="boolean",
                title="Force",
                description="Rewrite every record, changed or not (all count as updated).",
            ),
            "dry_run": Param(
                False,
                type="boolean",
                title="Dry run",
                description="Count what would be done and write nothing, not even history. While this DAG is paused, run "
                "backup_plan instead: a paused DAG runs nothing, and unpausing it starts the missed run for real.",
            ),
            "allow_deletes": Param(
                None,
                type=["null", "integer"],
                minimum=0,
                title="Allow deletes",
                description="This run may delete so many records, and no more, though they look like an accident: the number "
                "that the run named that withheld them.",
            ),
            "accept_source": Param(
                False,
                type="boolean",
                title="Accept source",
                description="Accept the current source for the backup, for this run only.",
            ),
        },
    ) as dag:
        chains = {service: _chain(ground, service, cron) for service in services}
        if dag_id == SYNC_DAG:
            chains |= refuse_mistakes(ground.declared, settings)
        summary = SummaryOperator(
            task_id="summary", chains=chains, schedule=cron, trigger_rule=TriggerRule.ALL_DONE, retries=0
        )
        summed_up(dag, chains, summary)
    return dag


def _deadline(settings: Settings) -> Any:
    """Airflow's own alert (experimental in 3.3) where somebody is to be told of a run that takes long; it goes on all the same."""
    if settings.deadline is None or not settings.on_stale:
        return None
    from airflow.sdk.definitions.callback import SyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, settings.deadline, SyncCallback(late))


def _chain(ground: Ground, service: str, cron: str | None) -> list[str]:
    """The tasks of one service; their ids, last first."""
    how = {"service": service, "config": ground.config, "only": "{{ params.service }}", **ground.run(service)}
    with TaskGroup(service):
        initialize = InitializeBackupOperator(
            task_id="initialize",
            dry_run="{{ params.dry_run }}",
            accept_source="{{ params.accept_source }}",
            **how,
        )
        sync = SyncOperator(
            task_id="sync",
            force="{{ params.force }}",
            dry_run="{{ params.dry_run }}",
            allow_deletes="{{ params.allow_deletes }}",
            schedule=cron,
            fresh_within=ground.promise(service),
            # Also behind a skipped task: the log of a skipped sync says why.
            trigger_rule=TriggerRule.NONE_FAILED,
            # Backfill and manual runs are different runs of this DAG; this keeps their syncs apart.
            max_active_tis_per_dag=1,
            **how,
        )
        asking = (
            _asking(ground, service, cron, how, sync.task_id)
            if ground.declared.running[service].approve_deletes
            else []
        )
        middle = [task.task_id for task in asking]
        record_history = RecordHistoryOperator(
            task_id="record_history",
            after=[*middle[:1], sync.task_id, initialize.task_id],
            dry_run="{{ params.dry_run }}",
            trigger_rule=TriggerRule.ALL_DONE,
            **{name: value for name, value in how.items() if name != "only"},
        )
        chain(initialize, sync, *reversed(asking), record_history)
    return [record_history.task_id, *middle, sync.task_id, initialize.task_id]


def _asking(ground: Ground, service: str, cron: str | None, how: dict[str, Any], asked: str) -> list[Any]:
    """The tasks that let withheld deletes through once a person approves, last first."""
    running = ground.declared.running[service]
    approve = ApproveDeletesOperator(
        task_id="approve",
        service=service,
        asked=asked,
        approvers=running.approvers,
        response_timeout=timedelta(seconds=running.approve_within),
        # The sync that withheld something has failed.
        trigger_rule=TriggerRule.ALL_DONE,
        retries=0,
        execution_timeout=None,  # that of the section would be taken for the time to answer in
    )
    delete = DeleteApprovedOperator(
        task_id="delete",
        asked=asked,
        approve=approve.task_id,
        force="{{ params.force }}",
        dry_run="{{ params.dry_run }}",
        allow_deletes="{{ params.allow_deletes }}",
        schedule=cron,
        max_active_tis_per_dag=1,
        **how,
    )
    return [delete, approve]

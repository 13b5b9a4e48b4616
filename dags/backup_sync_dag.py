"""The DAG ``backup_sync``: every declared service, every night or on demand. Wiring only."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param, TaskGroup, TriggerRule

from backup_sync.model.config import config_path, read_services
from backup_sync.operators import (
    InitializeBackupOperator,
    RecordHistoryOperator,
    SummaryOperator,
    SyncOperator,
    refuse_mistakes,
)
from backup_sync.settings import read_settings

CONFIG = config_path(__file__)
DECLARED = read_services(CONFIG)
SETTINGS = read_settings()

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

with DAG(
    dag_id="backup_sync",
    description="Keep the backup databases in step with the operational ones",
    doc_md=DOC,
    schedule=SETTINGS.schedule,
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    dagrun_timeout=SETTINGS.dagrun_timeout,
    render_template_as_native_obj=True,
    tags=["backup", *DECLARED.services],
    default_args={
        "retries": SETTINGS.retries,
        "retry_delay": timedelta(seconds=SETTINGS.retry_delay),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": SETTINGS.execution_timeout,
    },
    params={
        "service": Param(
            "all",
            enum=["all", *DECLARED.services],
            title="Service",
            description="Back up all declared services, or one of them.",
        ),
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
    chains = {}
    for service in DECLARED.services:
        with TaskGroup(service) as group:
            initialize = InitializeBackupOperator(
                task_id="initialize",
                service=service,
                config=CONFIG,
                only="{{ params.service }}",
                dry_run="{{ params.dry_run }}",
                accept_source="{{ params.accept_source }}",
            )
            sync = SyncOperator(
                task_id="sync",
                service=service,
                config=CONFIG,
                only="{{ params.service }}",
                force="{{ params.force }}",
                dry_run="{{ params.dry_run }}",
                allow_deletes="{{ params.allow_deletes }}",
                schedule=SETTINGS.cron,
                # Also behind a skipped task: the log of a skipped sync says why.
                trigger_rule=TriggerRule.NONE_FAILED,
                # Backfill and manual runs are different runs of this DAG; this keeps their syncs apart.
                max_active_tis_per_dag=1,
            )
            record_history = RecordHistoryOperator(
                task_id="record_history",
                service=service,
                config=CONFIG,
                after=[sync.task_id, initialize.task_id],
                dry_run="{{ params.dry_run }}",
                trigger_rule=TriggerRule.ALL_DONE,
            )
            initialize >> sync >> record_history
        chains[service] = [record_history.task_id, sync.task_id, initialize.task_id]

    chains |= refuse_mistakes(DECLARED, SETTINGS)

    summary = SummaryOperator(
        task_id="summary",
        chains=chains,
        schedule=SETTINGS.cron,
        trigger_rule=TriggerRule.ALL_DONE,
        retries=0,
    )
    for tasks in chains.values():
        dag.get_task(tasks[0]) >> summary

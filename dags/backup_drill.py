"""The DAG ``backup_drill``: can the backups be restored, and how long does it take? Wiring only."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param, TriggerRule

from backup_sync.model.config import config_path, read_services
from backup_sync.operators import DrillOperator, SummaryOperator, refuse_mistakes
from backup_sync.settings import read_settings

CONFIG = config_path(__file__)
DECLARED = read_services(CONFIG)
SETTINGS = read_settings()
DRILLED = [name for name, entry in DECLARED.services.items() if entry.get("drill")]

with DAG(
    dag_id="backup_drill",
    description="Restore each backup into a scratch database, compare it, and drop it",
    doc_md="Restores each service that names a scratch connection (`drill`), compares its whole content with the backup, "
    "measures how long it took, and drops it again. Neither source nor copy are touched.",
    schedule="@monthly" if DRILLED else None,
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    is_paused_upon_creation=False,
    render_template_as_native_obj=True,
    tags=["backup", *DRILLED],
    default_args={"retries": SETTINGS.retries, "retry_delay": timedelta(seconds=SETTINGS.retry_delay)},
    params={
        "service": Param(
            "all",
            enum=["all", *DRILLED],
            title="Service",
            description="All that name a scratch connection, or one of them.",
        ),
        "share": Param(
            "all",
            type="string",
            pattern=r"^(all|1/[1-9][0-9]{0,3})$",
            title="Share",
            description="How much of the records to restore: all, or 1/10 and so on.",
        ),
    },
) as dag:
    chains = {}
    for service in DRILLED:
        DrillOperator(
            task_id=service,
            service=service,
            config=CONFIG,
            only="{{ params.service }}",
            share="{{ params.share }}",
        )
        chains[service] = [service]
    chains |= refuse_mistakes(DECLARED)
    summary = SummaryOperator(
        task_id="summary", job="drill", chains=chains, trigger_rule=TriggerRule.ALL_DONE, retries=0
    )
    for tasks in chains.values():
        dag.get_task(tasks[0]) >> summary

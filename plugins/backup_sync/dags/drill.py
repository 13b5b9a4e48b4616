"""The DAG ``backup_drill``: can the backups be restored, and how long does it take?"""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import DAG, Param, TriggerRule

from backup_sync.dags.ground import Ground, share_param, summed_up
from backup_sync.operators import DrillOperator, SummaryOperator, refuse_mistakes


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = [name for name, entry in ground.declared.services.items() if entry.get("drill")]
    with DAG(
        dag_id="backup_drill",
        description="Restore each backup into a scratch database, compare it, and drop it",
        doc_md="Restores each service that names a scratch connection (`drill`), compares its whole content with the backup, "
        "measures how long it took, and drops it again. Neither source nor copy are touched.",
        schedule="@monthly" if services and ground.settings.enabled else None,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        default_args=ground.retrying(),
        params={
            "service": Param(
                "all",
                enum=["all", *services],
                title="Service",
                description="All that name a scratch connection, or one of them.",
            ),
            "share": share_param("How much of the records to restore: all, or 1/10 and so on."),
        },
    ) as dag:
        chains = {}
        for service in services:
            DrillOperator(
                task_id=service,
                service=service,
                config=ground.config,
                only="{{ params.service }}",
                share="{{ params.share }}",
                **ground.run(service),
            )
            chains[service] = [service]
        chains |= refuse_mistakes(ground.declared)
        summary = SummaryOperator(
            task_id="summary", job="drill", chains=chains, trigger_rule=TriggerRule.ALL_DONE, retries=0
        )
        summed_up(dag, chains, summary)
    return {dag.dag_id: dag}

"""The DAG ``backup_plan``: what a sync would do, per service. It can only look."""

from __future__ import annotations

from airflow.sdk import DAG, TriggerRule

from backup_sync.dags.ground import Ground, service_param, summed_up
from backup_sync.operators import PlanOperator, SummaryOperator, refuse_mistakes


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    with DAG(
        dag_id="backup_plan",
        description="Say what a sync would do; writes nothing",
        doc_md="Compares each source with its backup and says what a sync would create, alter, insert, update and delete. "
        "It fails where that sync would fail. Nothing is written, not even history, so it can be run at any time, and "
        "whether `backup_sync` is paused makes no difference.",
        schedule=None,
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        params={
            "service": service_param(services),
        },
    ) as dag:
        chains = {}
        for service in services:
            PlanOperator(
                task_id=service,
                service=service,
                config=ground.config,
                only="{{ params.service }}",
                **ground.run(service),
            )
            chains[service] = [service]
        chains |= refuse_mistakes(ground.declared)
        summary = SummaryOperator(task_id="summary", chains=chains, trigger_rule=TriggerRule.ALL_DONE)
        summed_up(dag, chains, summary)
    return {dag.dag_id: dag}

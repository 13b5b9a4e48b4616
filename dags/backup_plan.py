"""The DAG ``backup_plan``: what a sync would do, per service. It can only look."""

from __future__ import annotations

from airflow.sdk import DAG, Param, TriggerRule

from backup_sync.model.config import config_path, read_services
from backup_sync.operators import PlanOperator, SummaryOperator, refuse_mistakes

CONFIG = config_path(__file__)
DECLARED = read_services(CONFIG)

with DAG(
    dag_id="backup_plan",
    description="Say what a sync would do; writes nothing",
    doc_md="Compares each source with its backup and says what a sync would create, alter, insert, update and delete. "
    "It fails where that sync would fail. Nothing is written, not even history, so it can be run at any time, and "
    "whether `backup_sync` is paused makes no difference.",
    schedule=None,
    is_paused_upon_creation=False,
    render_template_as_native_obj=True,
    tags=["backup", *DECLARED.services],
    params={
        "service": Param(
            "all",
            enum=["all", *DECLARED.services],
            title="Service",
            description="All declared services, or one of them.",
        ),
    },
) as dag:
    chains = {}
    for service in DECLARED.services:
        PlanOperator(task_id=service, service=service, config=CONFIG, only="{{ params.service }}")
        chains[service] = [service]
    chains |= refuse_mistakes(DECLARED)
    summary = SummaryOperator(task_id="summary", chains=chains, trigger_rule=TriggerRule.ALL_DONE)
    for tasks in chains.values():
        dag.get_task(tasks[0]) >> summary

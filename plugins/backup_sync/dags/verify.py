"""The DAG ``backup_verify``: is a backup what its source is, byte for byte?"""

from __future__ import annotations

from airflow.sdk import DAG, Param, TriggerRule

from backup_sync.dags.ground import Ground, service_param, share_param, summed_up
from backup_sync.operators import SummaryOperator, VerifyOperator, refuse_mistakes


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    with DAG(
        dag_id="backup_verify",
        description="Compare the whole content of the backups with their sources",
        doc_md="Compares every column and property of each record with the source, byte for byte, and fails where a backup "
        "differs in a way that no sync would see. What differs is looked at again after a while, so sources may be in use. "
        "Nothing is written but the result, unless *Repair* is set. `backup_sync` checks a share like this every night where a "
        "service sets `verify`.",
        schedule=None,
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        default_args=ground.retrying(),
        params={
            "service": service_param(services),
            "share": share_param("How much of the records to compare: all, or the next 1/7, 1/30 and so on."),
            "repair": Param(
                False,
                type="boolean",
                title="Repair",
                description="Mend what differs, by a run that compares whole records.",
            ),
            "against": Param(
                "source",
                enum=["source", "seal"],
                title="Against",
                description="seal: find out without the source whether anybody but a run changed the backup.",
            ),
        },
    ) as dag:
        chains = {}
        for service in services:
            VerifyOperator(
                task_id=service,
                service=service,
                config=ground.config,
                only="{{ params.service }}",
                share="{{ params.share }}",
                repair="{{ params.repair }}",
                against="{{ params.against }}",
                **ground.run(service),
            )
            chains[service] = [service]
        chains |= refuse_mistakes(ground.declared)
        summary = SummaryOperator(
            task_id="summary", job="verify", chains=chains, trigger_rule=TriggerRule.ALL_DONE, retries=0
        )
        summed_up(dag, chains, summary)
    return {dag.dag_id: dag}

"""The DAG ``backup_hold``: keep every run of a service from writing to its backup, until it is released."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from backup_sync.dags.ground import Ground
from backup_sync.operators import HoldOperator, refuse_mistakes


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    with DAG(
        dag_id="backup_hold",
        description="Keep the runs of a service from writing to its backup, or let them write again",
        doc_md="A hold stands in the backup itself, so it stops every run: scheduled, manual, backfill, and those of another "
        "Airflow. Their sync is skipped with the reason, until the hold is released or over. Once this has succeeded, no "
        "run is writing any more. `backup_plan` can still look.",
        schedule=None,
        is_paused_upon_creation=False,
        tags=ground.tags(services),
        params={
            "service": Param(
                enum=["all", *services],
                type="string",
                title="Service",
                description="The service to hold, or all of them.",
            ),
            "reason": Param(
                "",
                type="string",
                title="Reason",
                description="Why. Those whose run is skipped read it, so name no secrets.",
            ),
            "until": Param(
                None,
                type=["null", "string"],
                format="date-time",
                title="Until",
                description="When the hold expires. Empty: it stays until it is released.",
            ),
            "release": Param(False, type="boolean", title="Release", description="End the hold instead."),
        },
    ) as dag:
        for service in services:
            HoldOperator(
                task_id=service,
                service=service,
                config=ground.config,
                only="{{ params.service }}",
                reason="{{ params.reason }}",
                until="{{ params.until }}",
                release="{{ params.release }}",
                **ground.run(service),
            )
        refuse_mistakes(ground.declared)
    return {dag.dag_id: dag}

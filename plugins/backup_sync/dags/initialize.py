"""The DAG ``backup_initialize``: create the backup databases, schemas, tables and containers, and nothing else."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from backup_sync.dags.ground import Ground, service_param
from backup_sync.operators import InitializeBackupOperator, refuse_mistakes


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    with DAG(
        dag_id="backup_initialize",
        description="Create what the backups lack; copies nothing",
        doc_md="Creates the backup databases, schemas, tables, containers and histories that are missing. "
        "What is there already is left as it is, so it can be run at any time.",
        schedule=None,
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        params={
            "service": service_param(services),
            "dry_run": Param(
                False, type="boolean", title="Dry run", description="Say what would be created, and create nothing."
            ),
            "accept_source": Param(
                False,
                type="boolean",
                title="Accept source",
                description="Accept the current sources for the backups, for this run only.",
            ),
        },
    ) as dag:
        for service in services:
            InitializeBackupOperator(
                task_id=service,
                service=service,
                config=ground.config,
                only="{{ params.service }}",
                dry_run="{{ params.dry_run }}",
                accept_source="{{ params.accept_source }}",
                **ground.run(service),
            )
        refuse_mistakes(ground.declared)
    return {dag.dag_id: dag}

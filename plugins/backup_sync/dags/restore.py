"""The DAG ``backup_restore``: bring records back, after a person has seen what would be written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule

from backup_sync.dags.ground import Ground, summed_up
from backup_sync.operators import (
    ApproveRestoreOperator,
    CarryOutRestoreOperator,
    PlanRestoreOperator,
    SummaryOperator,
    refuse_mistakes,
)


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    with DAG(
        dag_id="backup_restore",
        description="Bring records back from a backup; lists the restore points where no service is named",
        doc_md="`plan` says what would be written; `approve` waits for a person; `restore` writes that and no more, checks it, and "
        "lets the copy take over what came back. What the target held before is kept, so that a restore can be undone. Without "
        "a service, `plan` lists the restore points of every service.",
        schedule=None,
        is_paused_upon_creation=False,
        render_template_as_native_obj=True,
        tags=ground.tags(services),
        max_active_tasks=4,
        params={
            "service": Param(
                None,
                enum=[None, *services],
                type=["null", "string"],
                title="Service",
                description="Whose records to bring back. Empty: list the restore points of all services.",
            ),
            "as_of": Param(
                None,
                type=["null", "string"],
                title="As of",
                description="A moment (2026-11-24T00:00:00Z), the SyncId of a run, or before:<SyncId>. Empty: the backup as it is now.",
            ),
            "undo": Param(
                None,
                type=["null", "string"],
                title="Undo",
                description="The SyncId of a restore: bring back what its target held before.",
            ),
            "target": Param(
                None,
                type=["null", "string"],
                title="Target",
                description="The connection to restore to. Empty: the service's source.",
            ),
            "table": Param(
                None,
                type=["null", "string"],
                title="Table or container",
                description="Where to there. Empty: the service's table or container.",
            ),
            "keys": Param(
                None,
                type=["null", "array"],
                title="Keys",
                description='Only these records: [7, 8], or [["order-7", "customer-3"]] for keys of several parts (of a document its id '
                "and its partition key).",
            ),
            "where": Param(
                None,
                type=["null", "object"],
                title="Where",
                description='Only records with these values: {"City": "Kiruna"}.',
            ),
            "columns": Param(
                None,
                type=["null", "array"],
                title="Columns",
                description="Only these columns, of records that the target has.",
            ),
            "only": Param(
                None,
                enum=[None, "missing", "changed", "extra"],
                type=["null", "string"],
                title="Only",
                description="Only records that the target lacks, has otherwise, or has beyond that state.",
            ),
            "delete": Param(
                False,
                type="boolean",
                title="Delete",
                description="Remove records that the target has and that state has not. Otherwise they stay.",
            ),
            "accept_obstacles": Param(
                False,
                type="boolean",
                title="Accept obstacles",
                description="Write although triggers or foreign keys of the target may change more than the plan says.",
            ),
            "confirm": Param(
                None,
                type=["null", "string"],
                title="Confirm",
                description="The id of a plan that was seen before: if it is still the same, nobody is asked.",
            ),
        },
    ) as dag:
        asked: dict[str, Any] = {
            "config": ground.config,
            "service": "{{ params.service }}",
            "as_of": "{{ params.as_of }}",
            "undo": "{{ params.undo }}",
            "target": "{{ params.target }}",
            "name": "{{ params.table }}",
            "keys": "{{ params['keys'] }}",
            "where": "{{ params.where }}",
            "columns": "{{ params.columns }}",
            "only_these": "{{ params.only }}",
            "delete": "{{ params.delete }}",
            "accept_obstacles": "{{ params.accept_obstacles }}",
        }
        plan = PlanRestoreOperator(task_id="plan", **asked)
        approve = ApproveRestoreOperator(task_id="approve", confirm="{{ params.confirm }}")
        restore = CarryOutRestoreOperator(
            task_id="restore",
            retries=ground.settings.retries,
            retry_delay=timedelta(seconds=ground.settings.retry_delay),
            **asked,
        )
        chains = {"restore": [restore.task_id, plan.task_id]} | refuse_mistakes(ground.declared)
        summary = SummaryOperator(
            task_id="summary", job="restore", chains=chains, trigger_rule=TriggerRule.ALL_DONE, retries=0
        )
        plan >> approve >> restore
        summed_up(dag, chains, summary)
    return {dag.dag_id: dag}

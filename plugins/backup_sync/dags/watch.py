"""The DAG ``backup_watch``: tell people of backups that are stale. There is none unless ``on_stale`` says whom to tell."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import DAG

from backup_sync.dags.ground import Ground
from backup_sync.operators import WatchOperator


def build(dag_file: str) -> dict[str, DAG]:
    ground = Ground.read(dag_file)
    services = list(ground.declared.services)
    if not ground.settings.on_stale or not services:
        return {}
    with DAG(
        dag_id="backup_watch",
        description="Tell people of backups whose last success is older than they promise",
        doc_md="Looks every hour at the last success of each service, and fails while one is older than its `fresh_within`. It opens no "
        "database. Whom it tells says `on_stale` in the section `[backup_sync]`.",
        schedule="@hourly" if ground.settings.enabled else None,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=ground.tags(services),
    ) as dag:
        WatchOperator(task_id="watch", promises={name: ground.promise(name) for name in services}, retries=0)
    return {dag.dag_id: dag}

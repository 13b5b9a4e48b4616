"""The Airflow DAG backup_plan."""

from backup_sync.dags.plan import build

globals().update(build(__file__))

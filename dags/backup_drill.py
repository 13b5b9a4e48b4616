"""The Airflow DAG backup_drill."""

from backup_sync.dags.drill import build

globals().update(build(__file__))

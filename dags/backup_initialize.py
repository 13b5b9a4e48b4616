"""The Airflow DAG backup_initialize."""

from backup_sync.dags.initialize import build

globals().update(build(__file__))

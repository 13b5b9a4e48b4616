"""The Airflow DAG backup_hold."""

from backup_sync.dags.hold import build

globals().update(build(__file__))

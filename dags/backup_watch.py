"""The Airflow DAG backup_watch."""

from backup_sync.dags.watch import build

globals().update(build(__file__))

"""The Airflow DAG backup_sync, and one for each other schedule."""

from backup_sync.dags.sync import build

globals().update(build(__file__))

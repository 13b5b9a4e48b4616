"""The Airflow DAG backup_restore."""

from backup_sync.dags.restore import build

globals().update(build(__file__))

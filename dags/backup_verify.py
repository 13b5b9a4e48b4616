"""The Airflow DAG backup_verify."""

from backup_sync.dags.verify import build

globals().update(build(__file__))

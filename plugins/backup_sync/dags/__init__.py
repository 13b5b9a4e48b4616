"""The DAGs, made from a services file. A file in the DAGs folder builds its own in three lines:

\"\"\"The Airflow DAG backup_sync.\"\"\"
from backup_sync.dags.sync import build
globals().update(build(__file__))
"""

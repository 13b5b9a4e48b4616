"""backup_sync: live, queryable backup databases, kept in step by Apache Airflow."""

__version__ = "0.1.0"

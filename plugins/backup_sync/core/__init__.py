"""The Airflow-free heart: what a sync is, told once for every kind of store."""

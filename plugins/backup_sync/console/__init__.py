"""What people look at: pages, health and metrics, served by Airflow's API server.

It reads what Airflow holds of the runs (results, asset events, states) and starts runs as the one who asks. It opens no database of
a service, and shows no value of a record.
"""

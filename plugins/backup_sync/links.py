"""Addresses of the console, and the link to it from a task in Airflow's UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

PREFIX = "/backup"


def console() -> str:
    """The path of the console, below the one at which Airflow is served (``/airflow/backup``)."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + PREFIX


def required_action(ti: Any) -> str:
    """The address at which a person answers what a task asks; below the root where Airflow's own address is not configured."""
    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    dag, run, task = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    return f"{base}/dags/{dag}/runs/{run}/tasks/{task}/required_actions"


class ConsoleLink(BaseOperatorLink):
    """From the task of a service to the console's page of its run."""

    name = "Backup"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Called as the task ends, in its process."""
        run = {"dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "service": operator.service}
        return f"{console()}/run?{urlencode(run)}"

"""Addresses of the console, and the link to it from a task in Airflow's UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

PREFIX = "/backup"


def console() -> str:
    """The path of the console, below the one at which Airflow is served (``/airflow/backup``)."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/") + PREFIX


class ConsoleLink(BaseOperatorLink):
    """From the task of a service to the console's page of its run."""

    name = "Backup"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Called as the task ends, in its process."""
        run = {"dag_id": ti_key.dag_id, "run_id": ti_key.run_id, "service": operator.service}
        return f"{console()}/run?{urlencode(run)}"

"""What all DAGs stand on: the services file beside the DAG file, the settings, and how each service is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from backup_sync.model.config import Declared, config_path, read_services
from backup_sync.model.fresh import promise_of
from backup_sync.model.schedules import cron_of, name_of
from backup_sync.settings import Settings, read_settings

SYNC_DAG = "backup_sync"


@dataclass(frozen=True)
class Ground:
    """``config``: the services file. Reading it raises nothing: what is wrong in it becomes a task that fails."""

    config: Path
    declared: Declared
    settings: Settings

    @classmethod
    def read(cls, dag_file: str) -> Ground:
        """``dag_file``: the file in the DAGs folder, beside which the services file is looked for."""
        config = config_path(dag_file)
        return cls(config, read_services(config), read_settings())

    def tags(self, services: Iterable[str]) -> list[str]:
        """Of a DAG: its services, and the tags that they are given."""
        names = list(services)
        own = [tag for name in names for tag in self.declared.running[name].tags]
        return list(dict.fromkeys(["backup", *names, *own]))

    def run(self, service: str) -> dict[str, Any]:
        """The arguments of a task that say how Airflow runs it, as far as the service says so."""
        running = self.declared.running[service]
        found = {
            "retries": running.retries,
            "retry_delay": _span(running.retry_delay),
            "execution_timeout": _span(running.execution_timeout),
            "pool": running.pool,
            "priority_weight": running.priority_weight,
            "owner": running.owner,
            "sync_dag": self.dag_of(service),
        }
        return {name: value for name, value in found.items() if value is not None}

    def promise(self, service: str) -> float:
        """How old the last success of a service may become, in seconds. Of one that is declared twice, as usual: its tasks say so."""
        return promise_of(self.declared.services.get(service, {})).total_seconds()

    def dag_of(self, service: str) -> str:
        """The id of the DAG that syncs a service: ``backup_sync``, or another one if the service sets its own schedule."""
        own = self.declared.running[service].schedule
        if own is None or cron_of(own) == cron_of(self.settings.usual):
            return SYNC_DAG
        return f"{SYNC_DAG}_{name_of(own)}"

    def retrying(self) -> dict[str, Any]:
        """The default arguments of tasks that are tried again."""
        settings = self.settings
        return {"retries": settings.retries, "retry_delay": timedelta(seconds=settings.retry_delay)}


def service_param(services: Sequence[str], description: str = "All declared services, or one of them.") -> Param:
    return Param("all", enum=["all", *services], title="Service", description=description)


def share_param(description: str) -> Param:
    return Param("all", type="string", pattern=r"^(all|1/[1-9][0-9]{0,3})$", title="Share", description=description)


def summed_up(dag: DAG, chains: Mapping[str, Sequence[str]], summary: Any) -> None:
    """Put the summary behind the last task of each chain. ``chains``: task ids, last first."""
    for tasks in chains.values():
        dag.get_task(tasks[0]) >> summary


def _span(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds is not None else None

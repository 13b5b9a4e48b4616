"""The section ``[backup_sync]`` of airflow.cfg (or ``AIRFLOW__BACKUP_SYNC__…`` in the environment)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from airflow.sdk.configuration import conf

SECTION = "backup_sync"
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Settings:
    """``schedule``: a cron text or preset, None when switched off. ``retry_delay``: seconds before the first retry.
    ``execution_timeout``, ``dagrun_timeout``: how long a task and a run may take; None: as long as they want."""

    schedule: str | None
    retries: int
    retry_delay: float
    execution_timeout: timedelta | None
    dagrun_timeout: timedelta | None

    @property
    def cron(self) -> str | None:
        """The schedule as five cron fields."""
        return PRESETS.get(self.schedule, self.schedule) if self.schedule else None


def read_settings() -> Settings:
    """Raises AirflowConfigException for a value of the wrong type (it shows as the DAG's import error)."""
    enabled = conf.getboolean(SECTION, "enabled", fallback=True)
    return Settings(
        schedule=conf.get(SECTION, "schedule", fallback="@daily") if enabled else None,
        retries=conf.getint(SECTION, "retries", fallback=2),
        retry_delay=conf.getfloat(SECTION, "retry_delay", fallback=60.0),
        execution_timeout=_span(conf.getfloat(SECTION, "execution_timeout", fallback=0.0)),
        dagrun_timeout=_span(conf.getfloat(SECTION, "dagrun_timeout", fallback=0.0)),
    )


def _span(seconds: float) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds > 0 else None

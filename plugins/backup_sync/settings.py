"""The section ``[backup_sync]`` of airflow.cfg (or ``AIRFLOW__BACKUP_SYNC__…`` in the environment)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowConfigException

from backup_sync.model.schedules import FORM, cron_of, is_schedule

T = TypeVar("T")

SECTION = "backup_sync"
SHORTEST_TOKEN = 20
NOTIFIER = "the import path of a notifier, or a JSON object with it as 'notifier' and its arguments"

TOKEN = f"a token of {SHORTEST_TOKEN} characters or more, without spaces"


@dataclass(frozen=True)
class Settings:
    """``enabled``: whether anything is scheduled at all. ``usual``: the schedule of services that name none, a cron text or preset.
    ``retry_delay``: seconds before the first retry.
    ``execution_timeout``, ``dagrun_timeout``: how long a task and a run may take; None: as long as they want.
    ``deadline``: after which the notifier of ``on_stale`` is told of a run that has not ended; None: never.
    ``on_failure``, ``on_withheld``, ``on_stale``: which notifier is used (:mod:`backup_sync.operators.notify`); empty: none.
    ``watch_token``: whoever brings it may ask for health and metrics; empty: only users of Airflow may.
    ``docs``: where the pages of the docs are, for messages: a path or an address.
    ``problems``: for each option that cannot be read, and whose default stands in for it, one sentence."""

    enabled: bool
    usual: str
    retries: int
    retry_delay: float
    execution_timeout: timedelta | None
    dagrun_timeout: timedelta | None
    docs: str
    deadline: timedelta | None = None
    # What may hold a secret is not shown where the settings are.
    on_failure: str = field(default="", repr=False)
    on_withheld: str = field(default="", repr=False)
    on_stale: str = field(default="", repr=False)
    watch_token: str = field(default="", repr=False)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def schedule(self) -> str | None:
        """What runs of services that name no schedule are scheduled by; None: nothing is scheduled."""
        return self.usual if self.enabled else None

    @property
    def cron(self) -> str | None:
        """The schedule as five cron fields."""
        return cron_of(self.schedule)


def read_settings() -> Settings:
    """Raises nothing: with a DAG that cannot be read no run would fail, and nobody would notice."""
    problems: dict[str, str] = {}

    def read(option: str, default: T, get: Callable[..., Any], needs: str, good: Callable[[Any], bool]) -> T:
        try:
            found = get(SECTION, option, fallback=default)
            if good(found):
                return found
        except (AirflowConfigException, ValueError):
            pass
        problems[option] = (
            f"[{SECTION}] {option} has to be {needs}; until then it counts as {default if default != '' else 'none'}"
        )
        return default

    seconds = "a number of seconds, 0 or more"
    enabled = read("enabled", True, conf.getboolean, "True or False", lambda value: True)
    schedule = read("schedule", "@daily", conf.get, FORM, is_schedule)
    return Settings(
        enabled=enabled,
        usual=schedule,
        retries=read("retries", 2, conf.getint, "a whole number, 0 or more", _not_negative),
        retry_delay=read("retry_delay", 60.0, conf.getfloat, seconds, _not_negative),
        execution_timeout=_span(read("execution_timeout", 0.0, conf.getfloat, seconds, _not_negative)),
        dagrun_timeout=_span(read("dagrun_timeout", 0.0, conf.getfloat, seconds, _not_negative)),
        deadline=_span(read("deadline", 0.0, conf.getfloat, seconds, _not_negative)),
        docs=conf.get(SECTION, "docs", fallback="docs"),
        on_failure=read("on_failure", "", conf.get, NOTIFIER, _is_notifier),
        on_withheld=read("on_withheld", "", conf.get, NOTIFIER, _is_notifier),
        on_stale=read("on_stale", "", conf.get, NOTIFIER, _is_notifier),
        watch_token=read("watch_token", "", conf.get, TOKEN, _is_token),
        problems=problems,
    )


def _is_notifier(text: str) -> bool:
    """Raises ValueError where it is none."""
    from backup_sync.model.notifier import path_of

    return not text.strip() or bool(path_of(text))


def _is_token(text: str) -> bool:
    return not text or (len(text) >= SHORTEST_TOKEN and not re.search(r"\s", text))


def _not_negative(value: float) -> bool:
    return 0 <= value < 10**9


def _span(seconds: float) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds > 0 else None

"""How Airflow is to run the tasks of a service: the block ``airflow`` of its entry. Read whenever a DAG file is parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from backup_sync.model.schedules import FORM, is_schedule

APPROVE_WITHIN = 12 * 3_600.0


@dataclass(frozen=True)
class Running:
    """``schedule``: when its syncs run; None: as the section [backup_sync] says. ``retries``, ``retry_delay`` and
    ``execution_timeout`` (seconds) of its tasks, ``dagrun_timeout`` (seconds) of the runs of its schedule; None: likewise. ``pool``,
    ``priority_weight``, ``owner``, ``tags``: as Airflow calls them. ``approve_deletes``: a run that withholds deletes asks a person;
    ``approvers``: these users, none: whoever may answer; ``approve_within``: seconds after which the answer is no."""

    schedule: str | None = None
    retries: int | None = None
    retry_delay: float | None = None
    execution_timeout: float | None = None
    dagrun_timeout: float | None = None
    pool: str | None = None
    priority_weight: int | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    approve_deletes: bool = False
    approvers: tuple[str, ...] = ()
    approve_within: float = APPROVE_WITHIN


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 10**9


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= 100


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


SECONDS = "a number of seconds above 0"
NAMES = "a list of names of up to 100 characters"
CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "schedule": (lambda value: isinstance(value, str) and is_schedule(value), FORM),
    "retries": (lambda value: _whole(value) and 0 <= value < 10**6, "a whole number, 0 or more"),
    "retry_delay": (_seconds, SECONDS),
    "execution_timeout": (_seconds, SECONDS),
    "dagrun_timeout": (_seconds, SECONDS),
    "pool": (_text, "the name of a pool"),
    "priority_weight": (lambda value: _whole(value) and abs(value) < 2**31, "a whole number"),
    "approve_deletes": (lambda value: isinstance(value, bool), "true or false"),
    "approvers": (_texts, NAMES),
    "approve_within": (_seconds, SECONDS),
    "owner": (_text, "a name"),
    "tags": (_texts, NAMES),
}


def parse_running(block: Any) -> Running:
    """The block as it stands in the file; None: there is none. Raises ValueError in words that follow the service's name."""
    if block is None:
        return Running()
    if not isinstance(block, dict):
        raise ValueError("'airflow' must be a mapping of settings")
    known = [one.name for one in fields(Running)]
    for name, value in block.items():
        if name not in CHECKS:
            raise ValueError(f"'airflow' has an unknown setting '{name}' (known: {', '.join(known)})")
        good, form = CHECKS[name]
        if not good(value):
            raise ValueError(f"airflow.{name} has to be {form}")
    found = dict(block)
    for name in ("tags", "approvers"):
        found[name] = tuple(found.get(name, ()))
    return Running(**found)

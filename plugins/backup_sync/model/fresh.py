"""How old the last success of a service may become: its promise ``fresh_within``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from backup_sync.model.keep import parse_time

USUAL = "26h"
"""Of a service that says nothing: a day, and two hours for the run."""


def promise_of(entry: Mapping[str, Any]) -> timedelta:
    """The promise of an entry of the services file as it stands there. One that cannot be read counts as the usual one: it
    fails the service's tasks, with the message that names it."""
    try:
        return parse_time(str(entry.get("fresh_within", USUAL)))
    except ValueError:
        return parse_time(USUAL)


def stale_since(succeeded: datetime, promise: timedelta) -> datetime:
    """When a backup whose last success ended at ``succeeded`` is (or was) older than its promise."""
    return succeeded + promise


def span(time: timedelta) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``3 h``, ``2 d``."""
    seconds = max(0, int(time.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        # 26 h says more than 1 d.
        if seconds >= length * (2 if unit == "d" else 1):
            return f"{seconds // length} {unit}"
    return f"{seconds} s"

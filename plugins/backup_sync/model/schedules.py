"""Cron schedules: which texts are one, what their moments are, and what a DAG of one is called."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
LONGEST = 60
FORM = f"five cron fields or one of {', '.join(PRESETS)}"
"""What a schedule looks like, for messages."""


def is_schedule(text: str) -> bool:
    if text in PRESETS:
        return True
    from croniter import croniter  # Airflow's own cron reader

    return len(text.split()) == 5 and bool(croniter.is_valid(text))


def cron_of(schedule: str | None) -> str | None:
    """A schedule as five cron fields."""
    return PRESETS.get(schedule, " ".join(schedule.split())) if schedule else None


def name_of(schedule: str) -> str:
    """A schedule as part of a DAG's name: ``hourly``, or its fields with what no name may hold in letters (``0_by6_x_x_x``)."""
    cron = cron_of(schedule)
    for preset, fields in PRESETS.items():
        if cron == fields:
            return preset.lstrip("@")
    text = str(cron).replace("*/", "by").replace("*", "x").replace(",", "and").replace("-", "to").replace("/", "by")
    text = text.replace("?", "any").replace("#", "th")
    name = re.sub(r"[^A-Za-z0-9]+", "_", text)
    # Airflow's ids end somewhere.
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}_{hashlib.sha256(str(cron).encode()).hexdigest()[:8]}"


def next_run(schedule: str | None, after: datetime) -> datetime | None:
    """The next moment of a cron schedule after ``after`` (aware), or None if there is no schedule."""
    if not schedule:
        return None
    from croniter import croniter

    return croniter(schedule, after).get_next(datetime)


def moments_between(schedule: str, after: datetime, before: datetime) -> int:
    """How many moments of a cron schedule lie between two (aware) ones; 1,000 at most are counted."""
    from croniter import croniter

    moments = croniter(schedule, after)
    count = 0
    while count < 1_000 and moments.get_next(datetime) < before:
        count += 1
    return count

"""The moments of a cron schedule."""

from __future__ import annotations

from datetime import datetime


def next_run(schedule: str | None, after: datetime) -> datetime | None:
    """The next moment of a cron schedule after ``after`` (aware), or None if there is no schedule."""
    if not schedule:
        return None
    from croniter import croniter  # Airflow's own cron reader

    return croniter(schedule, after).get_next(datetime)


def moments_between(schedule: str, after: datetime, before: datetime) -> int:
    """How many moments of a cron schedule lie between two (aware) ones; 1,000 at most are counted."""
    from croniter import croniter

    moments = croniter(schedule, after)
    count = 0
    while count < 1_000 and moments.get_next(datetime) < before:
        count += 1
    return count

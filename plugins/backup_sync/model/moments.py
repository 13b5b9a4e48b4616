"""Moments in time, as text and as ``datetime``: always timezone-aware here, and always UTC as text."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """The present moment, timezone-aware, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment: datetime | None) -> str | None:
    """``2024-12-07T00:00:00Z``: UTC, with microseconds only when there are any."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def parse(value: str | datetime) -> datetime:
    """A moment from ISO 8601 text, or from what a database driver makes of one; UTC unless it says otherwise.

    More than six digits of a second are cut. Raises ValueError for what is no moment.
    """
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().replace("Z", "+00:00")[:32])
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)

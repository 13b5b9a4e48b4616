"""What the histories of all stores have in common: an attempt carries on from what the earlier ones wrote down."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from backup_sync.model.result import SyncResult


def resume(run: SyncResult, earlier: dict[str, Any] | None) -> bool:
    """Carry on from an earlier attempt of the same run: its counts are part of this run's, its start is the start.

    Returns whether there was one that did not succeed.
    """
    if earlier is None:
        return False
    run.inserted = earlier["InsertedCount"]
    run.updated = earlier["UpdatedCount"]
    run.deleted = earlier["DeletedCount"]
    started = parse_moment(earlier["StartedAt"])
    assert started is not None
    run.started_at = started
    run.attempt = max(run.attempt, earlier["Attempt"] + 1)
    return not earlier["Success"]


def parse_moment(value: Any) -> datetime | None:
    """A moment as any store gives it back (ISO text or datetime, UTC unless it says otherwise), timezone-aware."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00")[:32])
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)

"""The run history as the SQL stores keep it: one row for each (service, run), found by its SyncId."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from backup_sync.core.result import COMPLETED, FAILED, IN_PROGRESS, SyncResult, iso, utc_now

# name, kind (each dialect knows the type), nullable. The first seven are a contract with those who query the table.
HISTORY_COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("SyncId", "uuid", False),
    ("SyncedAt", "moment", False),
    ("InsertedCount", "count", False),
    ("UpdatedCount", "count", False),
    ("DeletedCount", "count", False),
    ("Success", "flag", False),
    ("ErrorMessage", "text", True),
    ("SkippedCount", "count", False),
    ("WithheldCount", "count", False),
    ("RejectedCount", "count", False),
    ("AheadCount", "count", False),
    ("StartedAt", "moment", False),
    ("CompletedAt", "moment", True),
    ("Attempt", "count", False),
    ("RunId", "text", False),
    ("ServiceName", "text", False),
)


def to_row(run: SyncResult) -> list[Any]:
    """The values of HISTORY_COLUMNS; moments as ISO text in UTC. A run that has not ended is no success."""
    return [
        str(run.sync_id),
        _moment(run.completed_at or utc_now()),
        run.inserted,
        run.updated,
        run.deleted,
        int(run.success),
        run.error_message,
        run.skipped,
        run.withheld,
        run.rejected,
        run.ahead,
        _moment(run.started_at),
        _moment(run.completed_at),
        run.attempt,
        run.run_id,
        run.service_name,
    ]


def from_row(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of HISTORY_COLUMNS in the names of :meth:`SyncResult.to_dict`."""
    found = dict(zip((name for name, _, _ in HISTORY_COLUMNS), row, strict=True))
    found["SyncId"] = str(UUID(str(found["SyncId"])))
    found["Success"] = bool(found["Success"])
    for name in ("SyncedAt", "StartedAt", "CompletedAt"):
        found[name] = iso(_parse(found[name]))
    found["Status"] = COMPLETED if found["Success"] else FAILED if found["CompletedAt"] else IN_PROGRESS
    return found


def resume(run: SyncResult, earlier: dict[str, Any] | None) -> None:
    """Carry on from an earlier attempt of the same run: its counts are part of this run's, its start is the start."""
    if earlier is None:
        return
    run.inserted = earlier["InsertedCount"]
    run.updated = earlier["UpdatedCount"]
    run.deleted = earlier["DeletedCount"]
    started = _parse(earlier["StartedAt"])
    assert started is not None
    run.started_at = started
    run.attempt = max(run.attempt, earlier["Attempt"] + 1)


def _moment(value: datetime | None) -> str | None:
    """ISO text that SQL Server's DATETIME2 and SQLite read alike: no zone letter, UTC by contract."""
    return None if value is None else value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _parse(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00")[:32])
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)

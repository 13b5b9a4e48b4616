"""What the histories of all stores have in common: an attempt carries on from what the earlier ones wrote down."""

from __future__ import annotations

from typing import Any

from backup_sync.model.moments import iso, parse
from backup_sync.model.result import SyncResult, status_of


def resume(run: SyncResult, earlier: dict[str, Any] | None) -> bool:
    """Carry on from an earlier attempt of the same run: its counts are part of this run's, its start is the start.

    Returns whether there was one that did not succeed.
    """
    if earlier is None:
        return False
    run.inserted = earlier["InsertedCount"]
    run.updated = earlier["UpdatedCount"]
    run.deleted = earlier["DeletedCount"]
    run.started_at = parse(earlier["StartedAt"])
    run.attempt = max(run.attempt, earlier["Attempt"] + 1)
    run.run_number = max(run.run_number, earlier["RunNumber"] or 0)
    return not earlier["Success"]


def as_result(found: dict[str, Any]) -> dict[str, Any]:
    """A history record in the names and forms of :meth:`SyncResult.to_dict`, whatever form its store gave it back in."""
    found["Success"] = bool(found["Success"])
    for name in ("SyncedAt", "StartedAt", "CompletedAt", "VerifiedSince"):
        found[name] = iso(parse(found[name])) if found[name] is not None else None
    found["Status"] = status_of(found["Success"], found["CompletedAt"], found["ErrorMessage"])
    return found

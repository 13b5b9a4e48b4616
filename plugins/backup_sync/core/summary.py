"""The summary of a run: as data, and as the block that ends its log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from backup_sync.core.result import COMPLETED, iso, utc_now

RULE = "=" * 40


def build_summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """``{Success, Message, Results, Timestamp}`` from the results (:meth:`SyncResult.to_dict`) of a run."""
    failed = [result["ServiceName"] for result in results if result["Status"] != COMPLETED]
    good = len(results) - len(failed)
    if failed:
        message = f"{len(failed)} of {len(results)} services failed: {', '.join(failed)}"
    else:
        message = f"{good} of {len(results)} services completed"
    return {"Success": not failed, "Message": message, "Results": results, "Timestamp": iso(utc_now())}


def render_summary(
    summary: dict[str, Any], run_type: str, started: datetime, following: datetime | None
) -> Iterator[str]:
    """The lines of the block. ``run_type``: Airflow's (scheduled, manual, backfill …)."""
    results = summary["Results"]
    dry = " (dry run: nothing was written)" if any(result["DryRun"] for result in results) else ""
    yield RULE
    yield f"{run_type.partition('_')[0].capitalize()} sync started at {_second(started)}{dry}"
    yield RULE
    for result in results:
        yield result_line(result)
    yield RULE
    yield "Sync summary:"
    good = sum(result["Status"] == COMPLETED for result in results)
    yield f"  Success: {good}, Failed: {len(results) - good}"
    totals = {name: sum(result[f"{name}Count"] for result in results) for name in ("Inserted", "Updated", "Deleted")}
    yield "  Total " + ", ".join(f"{name}: {count}" for name, count in totals.items())
    yield RULE
    yield f"Next scheduled sync at {_second(following)}" if following else "No next sync is scheduled"


def result_line(result: dict[str, Any]) -> str:
    """One service's line: its counts, the reason if it failed, and what a person should look at."""
    counts = ["Inserted", "Updated", "Deleted", "Skipped"]
    # The unusual ones are named only when there are any, so that they are noticed.
    counts += [name for name in ("Withheld", "Rejected", "Ahead") if result[f"{name}Count"]]
    text = ", ".join(f"{name}: {result[f'{name}Count']}" for name in counts)
    if result.get("Notice"):
        text += f". Note: {result['Notice']}"
    if result["Status"] == COMPLETED:
        return f"✓ {result['ServiceName']} sync completed. {text}"
    return f"✗ {result['ServiceName']} sync failed: {result['ErrorMessage']} {text}"


def _second(moment: datetime) -> str:
    return str(iso(moment.replace(microsecond=0)))

"""What runs add to Airflow's own metrics (StatsD, OpenTelemetry): counters only. A gauge that a task sends vanishes with it, or stays for
ever; how things are now is asked of the console (``/backup/metrics``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COUNTED = ("Inserted", "Updated", "Deleted", "Withheld", "Rejected")


def count(results: Iterable[Mapping[str, Any]], job: str) -> None:
    """Count the results (:meth:`SyncResult.to_dict`) of a run, and their records. ``job``: ``sync``, ``verify`` …

    ``backup_sync.<service>.<job>.<status>`` and ``backup_sync.<service>.<operation>``; with tags where Airflow sends tags."""
    try:
        from airflow.sdk.observability import stats
    except ImportError:
        return
    incr = getattr(stats, "incr", None) or stats.Stats.incr  # the second one before Airflow 3.3
    for result in results:
        if result["DryRun"]:
            continue
        service = result["ServiceName"]
        incr(f"backup_sync.{service}.{job}.{result['Status'].lower()}", tags={"service": service})
        for name in COUNTED:
            if records := result[f"{name}Count"]:
                tags = {"service": service, "operation": name.lower()}
                incr(f"backup_sync.{service}.{name.lower()}", records, tags=tags)

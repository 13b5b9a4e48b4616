"""The asset events of syncs, restores and drills: which backup is fresh, which target was restored.

A backup's address is known only once its connection is, and that is in the task and not where the DAG file is parsed. So a task has
an *asset alias* as its outlet, and names the asset as it ends
(https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/assets.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from backup_sync.model.traces import alias_of, drill_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.model.result import SyncResult
    from backup_sync.stores.base import Store

GROUP = "backup"
TOLD = (
    "SyncId",
    "RunId",
    "RunNumber",
    "ServiceName",
    "StartedAt",
    "CompletedAt",
    "InsertedCount",
    "UpdatedCount",
    "DeletedCount",
    "SkippedCount",
    "WithheldCount",
    "RejectedCount",
    "AheadCount",
    "DriftCount",
    "VerifiedShare",
    "VerifiedSince",
    "RestorableSince",
    "UndoEntries",
    "RequestCharge",
    "Mode",
    "Notice",
)
"""What an event carries of a result. No keys, and no values of a record."""


RESTORED = AssetAlias(name="backup_sync_restored", group=GROUP)
"""The targets of restores."""


def alias(service: str) -> AssetAlias:
    """What the syncs of a service make fresh."""
    return AssetAlias(name=alias_of(service), group=GROUP)


def drilled(service: str) -> Asset:
    """The asset ``backup_sync.drill.<service>``. What a drill makes is dropped again, so it has no address."""
    return Asset(name=drill_of(service), group=GROUP)


def tell(context: Context, outlet: AssetAlias, store: Store, result: SyncResult) -> None:
    """Say that the place of ``store`` is as ``result`` says, once this task has succeeded. A dry run has nothing to say."""
    if result.dry_run or not store.uri:
        return
    context["outlet_events"][outlet].add(Asset(uri=store.uri, group=GROUP), extra=extra(result))


def extra(result: SyncResult) -> dict[str, Any]:
    """JSON-ready, with ``Seconds``: how long it took over all attempts."""
    found = result.to_dict()
    seconds = (result.completed_at - result.started_at).total_seconds() if result.completed_at else 0.0
    return {name: found[name] for name in TOLD} | {"Seconds": round(seconds, 3)}

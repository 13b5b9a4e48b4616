"""backup_sync: live, queryable backup databases, kept in step by Apache Airflow.

What is in ``__all__`` is the public API: it changes only with an entry in the changelog. A name is imported when it is
first asked for, since a DAG file is parsed every few seconds and needs no more than the operators.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from backup_sync.hooks import open_stores
    from backup_sync.model.config import config_path, load_service, read_services
    from backup_sync.model.errors import BackupSyncError
    from backup_sync.model.result import SyncResult, sync_id
    from backup_sync.model.service import Service, parse_service
    from backup_sync.operators import (
        ApproveDeletesOperator,
        ApproveRestoreOperator,
        CarryOutRestoreOperator,
        DeleteApprovedOperator,
        DrillOperator,
        HoldOperator,
        InitializeBackupOperator,
        PlanOperator,
        PlanRestoreOperator,
        RecordHistoryOperator,
        SummaryOperator,
        SyncOperator,
        VerifyOperator,
        WatchOperator,
        refuse_mistakes,
    )
    from backup_sync.walk.drill import drill
    from backup_sync.walk.initialize import initialize
    from backup_sync.walk.record import record_history
    from backup_sync.walk.repair import repair
    from backup_sync.walk.sync import Options, sync
    from backup_sync.walk.verify import verify

__all__ = [
    "ApproveDeletesOperator",
    "ApproveRestoreOperator",
    "BackupSyncError",
    "CarryOutRestoreOperator",
    "DeleteApprovedOperator",
    "DrillOperator",
    "HoldOperator",
    "InitializeBackupOperator",
    "Options",
    "PlanOperator",
    "PlanRestoreOperator",
    "RecordHistoryOperator",
    "Service",
    "SummaryOperator",
    "SyncOperator",
    "SyncResult",
    "VerifyOperator",
    "WatchOperator",
    "config_path",
    "drill",
    "initialize",
    "load_service",
    "open_stores",
    "parse_service",
    "read_services",
    "record_history",
    "refuse_mistakes",
    "repair",
    "sync",
    "sync_id",
    "verify",
]

_ROOMS = {
    "hooks": ("open_stores",),
    "model.config": ("config_path", "load_service", "read_services"),
    "model.errors": ("BackupSyncError",),
    "model.result": ("SyncResult", "sync_id"),
    "model.service": ("Service", "parse_service"),
    "walk.drill": ("drill",),
    "walk.initialize": ("initialize",),
    "walk.record": ("record_history",),
    "walk.repair": ("repair",),
    "walk.sync": ("Options", "sync"),
    "walk.verify": ("verify",),
}
"""Where the names live that are not operators."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = next((room for room, names in _ROOMS.items() if name in names), "operators")
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

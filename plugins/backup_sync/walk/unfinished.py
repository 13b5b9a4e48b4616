"""A restore that was begun and not ended: until it is, no other run writes to the backup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backup_sync.model.errors import FatalError

STATE = "restore"
"""Among a backup's states: which restore that is."""


def check(service: str, states: Mapping[str, Any], *, but: str = "") -> None:
    """Raise FatalError where a restore was not finished; ``but``: the SyncId of one that may go on, or is being undone."""
    found = states.get(STATE)
    if found and found["sync_id"] != but:
        raise FatalError(
            f"{service}: the restore {found['run_id']} was not finished; clear its task 'restore', which carries on, or undo it "
            f"with undo={found['sync_id']}"
        )

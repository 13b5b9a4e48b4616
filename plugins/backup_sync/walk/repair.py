"""Mend what a verify finds: by an ordinary run that compares whole records, with its guard and its history of records."""

from __future__ import annotations

import threading
from contextlib import suppress

from backup_sync.model.errors import DriftFound
from backup_sync.model.result import SyncResult
from backup_sync.model.verdicts import DRIFT, VERDICTS
from backup_sync.stores.base import Store
from backup_sync.walk.progress import Heard
from backup_sync.walk.sync import Options, sync
from backup_sync.walk.verify import verify


def repair(
    source: Store,
    backup: Store,
    result: SyncResult,
    *,
    of: int = 1,
    stop: threading.Event | None = None,
    heard: Heard | None = None,
) -> None:
    """Verify one of ``of`` shares, and if anything differs there, bring the whole backup in step with its source.

    ``result`` is filled in as by :func:`backup_sync.walk.sync.sync`, and says what the verify found. Raises what both raise, but
    for DriftFound.
    """
    with suppress(DriftFound):
        verify(source, backup, result, of=of, stop=stop, heard=heard)
    found = result.verified
    if found is None or not any(found[verdict.capitalize()]["Count"] for verdict in VERDICTS):
        return
    sync(backup.service, source, backup, result, Options(content=True), stop=stop, heard=heard)
    if drift := found[DRIFT.capitalize()]["Count"]:
        result.note(f"mended {drift} records that drifted")
    result.drift = 0

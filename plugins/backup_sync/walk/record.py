"""Write down what a run did, also when it failed."""

from __future__ import annotations

import threading

from backup_sync.model.errors import BackupSyncError, PairingRefused
from backup_sync.model.faults import point
from backup_sync.model.result import HELD, PAIRING_CHECKED, SyncResult
from backup_sync.stores.base import Store
from backup_sync.walk import hold, pairing
from backup_sync.walk import stop as stopping


def record_history(
    backup: Store, run: SyncResult, *, source: Store | None = None, stop: threading.Event | None = None
) -> None:
    """Write the run's history record. For ``stop`` see :func:`backup_sync.walk.sync.sync`.

    With ``source`` a run that did not get as far as finding out whose backup it is finds that out now. Raises
    PairingRefused, and has written nothing, where it is another's. Where the source does not answer, a record that is there
    already is left as it is: it may be that of a run of the same name elsewhere. A run that found the backup held asks
    nothing of the source, which may be why there is a hold.

    What the record holds of earlier attempts stays: a sync that was killed never said what it had done, and one that
    failed before it could begin knows nothing of what the others had committed.
    """
    if run.status == HELD:
        if not pairing.is_of(run.service_name, pairing.states_of(backup)):
            return
        source = None
    certain = source is None or run.pairing == PAIRING_CHECKED or _is_ours(source, backup)
    committed = SyncResult(run.sync_id, run.service_name)
    backup.journal.resume(committed)
    if not certain and committed.attempt > 1:
        return
    run.started_at = min(run.started_at, committed.started_at)
    for name in ("inserted", "updated", "deleted", "run_number"):
        setattr(run, name, max(getattr(run, name), getattr(committed, name)))
    point("before history")
    stopping.check(stop, run.service_name)
    backup.journal.save(run)


def _is_ours(source: Store, backup: Store) -> bool:
    """Whether this is the backup of this source, for certain. Raises PairingRefused if for certain it is not."""
    try:
        pairing.check(source, backup, pairing.states_of(backup))
        return True
    except PairingRefused:
        raise
    except BackupSyncError:
        return False


def record_verify(backup: Store, run: SyncResult) -> None:
    """Write the record of a run that looked at the whole content; not while the backup is held."""
    if hold.of(pairing.states_of(backup)) is None:
        point("before history")
        backup.journal.save(run)

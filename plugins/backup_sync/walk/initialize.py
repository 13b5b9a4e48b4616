"""Make a backup ready for its source."""

from __future__ import annotations

import threading

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.keep import STATE
from backup_sync.stores.base import Store
from backup_sync.walk import hold, pairing
from backup_sync.walk import stop as stopping


def initialize(
    source: Store,
    backup: Store,
    *,
    dry_run: bool = False,
    accept_source: bool = False,
    run_id: str = "",
    stop: threading.Event | None = None,
) -> list[str]:
    """Make the backup ready for the source: database, schema, table or container, history, pairing.

    Returns what was created (with ``dry_run``: what would be), in words; an empty list when all was there.
    ``accept_source``: the run called ``run_id`` may pair the backup with this source in place of another.
    Raises, before anything is created, ConfigurationError when the source cannot be backed up or the two ends do not fit,
    PairingRefused when the backup is the copy of something else, and Held. For ``stop`` see :func:`backup_sync.walk.sync.sync`.
    """
    if source.kind != backup.kind:
        raise ConfigurationError(
            f"source is {source.kind} and backup is {backup.kind}: both connections of a service must be of one type"
        )
    states = pairing.states_of(backup)
    if not dry_run:
        hold.check(backup.service, states)
    shape = source.catalog.describe()
    if pairing.STATE not in states:
        pairing.check_source(source, backup)
    due = pairing.check(source, backup, states, accept=accept_source, run_id=run_id)
    if source.check_fields:
        source.check_fields(matched=not due)
    stopping.check(stop, backup.service.name)
    if not dry_run and STATE in states and not backup.catalog.exists():
        backup.journal.keep_state(STATE, None)  # what there is of a history is of a copy that is no more
    created = backup.catalog.create(shape, dry_run=dry_run)
    if backup.undo and backup.service.keep:
        created += backup.undo.create(dry_run=dry_run)
    if (due or accept_source) and not dry_run:
        pairing.write(source, backup, states, accepted_by=run_id if accept_source else "")
    return created

"""Take the backup for one run: is it the right one, does it fit, is it free?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.result import PAIRING_CHECKED, SyncResult
from backup_sync.stores.base import Reader, Store, Writer
from backup_sync.walk import hold, pairing, points, seal, unfinished, withheld
from backup_sync.walk.points import Keeping
from backup_sync.walk.withheld import Withheld


@dataclass(frozen=True)
class Target:
    """The backup, opened for one run.

    ``empty``: it holds nothing, so that there is nothing to compare. ``unfilled``: fields that its records may lack.
    ``resumed``: an earlier attempt of this run wrote something. ``withheld``: what earlier runs withheld. ``keeping``: what
    is kept of what it replaces. ``check_lock`` raises where the lock may have been lost; None: it cannot be.
    """

    reader: Reader
    writer: Writer
    empty: bool
    unfilled: Sequence[str]
    resumed: bool
    withheld: Withheld
    keeping: Keeping | None
    check_lock: Callable[[], None] | None


def take(
    source: Store,
    backup: Store,
    result: SyncResult,
    shape: Any,
    states: Mapping[str, Any],
    *,
    dry_run: bool,
    force: bool,
    content: bool,
    newest: bool,
    held: ExitStack,
    over: threading.Event,
    check: Callable[[], None],
) -> Target:
    """Check that this is the backup of this source, and unless this is a dry run lock it and begin the run's record.

    ``states``: those of the backup, as they were read before. ``newest``: only if no other run has begun since this one.
    ``held``: gives the lock back. ``over``: set when nobody waits for this any more. Raises PairingRefused, Held, LockHeld, and ConfigurationError or FatalError where records of
    ``shape`` cannot be written.
    """
    service = backup.service
    pairing.check(source, backup, states)
    lacking = backup.catalog.check_fit(shape, planned=dry_run)
    resumed, check_lock = False, None
    if not dry_run:
        check()
        if pairing.STATE not in states:
            raise ConfigurationError(
                f"{backup.label}: the backup of {service.name} is not paired with its source yet; run the DAG "
                "backup_initialize first"
            )
        check_lock = held.enter_context(backup.lock.hold(result, service.lock_wait_seconds))
        if over.is_set():
            held.close()  # nobody waits for this thread any more, nor gives the lock back
        check()
        # Read again: while this run waited, another one may have paired it with another source or withheld something,
        # and a hold may be set.
        states = backup.journal.states()
        hold.check(service, states)
        unfinished.check(service.name, states)
        if pairing.check(source, backup, states):
            pairing.write(source, backup, states)
        result.pairing = PAIRING_CHECKED
        if pairing.accepted_by(result.run_id, states):
            result.mode = ", ".join(filter(None, [result.mode, "accepted another source"]))
        if newest:
            points.check_newest(service.name, result, states)
        result.run_number = points.number(backup, result, states)
        seal.void(backup, states, result.run_number)
        resumed = backup.journal.begin(result)
    unfilled = backup.unfilled.pending(shape, lacking) if backup.unfilled else ()
    reader = backup.reader(shape, compare_also=unfilled, lacking=lacking, content=content)
    empty = reader.empty()
    keeping = None if dry_run else points.begin(backup, result, states, empty=empty, force=force)
    writer = backup.writer(shape, keep=keeping.entries if keeping else None)
    known = Withheld.from_value(states.get(withheld.STATE))
    return Target(reader, writer, empty, unfilled, resumed, known, keeping, check_lock)

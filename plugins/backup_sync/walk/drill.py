"""Practise a restore: into a scratch database, compared in its whole content, timed, and dropped again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from backup_sync.model.diff import WHOLE
from backup_sync.model.errors import FatalError
from backup_sync.model.faults import point
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.keep import Kept, parse_time
from backup_sync.model.moments import iso, parse, utc_now
from backup_sync.model.result import PAIRING_CHECKED, SyncResult
from backup_sync.model.service import Service
from backup_sync.stores.base import Reader, Store
from backup_sync.walk import pairing
from backup_sync.walk import stop as stopping
from backup_sync.walk.find import Finder
from backup_sync.walk.pipeline import read_ahead
from backup_sync.walk.progress import Progress

STATE = "drill"
"""Among a backup's states: when it was last restored for practice, how much of it, and how long that took."""


def drill(
    backup: Store, scratch: Store, result: SyncResult, *, of: int = 1, stop: threading.Event | None = None
) -> None:
    """Restore one of ``of`` shares of a backup into ``scratch``, compare the two, and drop ``scratch``, which nothing else may use.

    With a history of records it is the newest restore point that is restored, so that runs may go on meanwhile. ``result``
    is filled in, and Completed on return. Raises FatalError where what came out is not what the backup holds.
    """
    service = backup.service
    result.mode = f"drilled into {scratch.label}"

    def check() -> None:
        stopping.check(stop, service.name)

    states = pairing.check_ours(backup)
    result.pairing = PAIRING_CHECKED
    shape = scratch.catalog.meet(backup.catalog.describe(), set()).shape
    scratch.catalog.drop()  # what a killed attempt of this run left behind
    scratch.catalog.create(shape)
    try:
        number = _newest_point(backup, states)
        wanted = _wanted(backup, shape, number)
        within, _ = wanted.portion(None, 1 / of)
        begun = time.monotonic()
        records = _copy(wanted, scratch, shape, within, check)
        seconds = time.monotonic() - begun
        point("after drill")
        wrong = _different(
            wanted, scratch.reader(shape, content=True, stamps=False, filtered="none"), within, result, check
        )
    finally:
        scratch.catalog.drop()
    if wrong:
        raise FatalError(
            f"{service.name}: of {records} records that were restored into {scratch.label} {wrong} are not what the backup holds; "
            "a restore would not bring back what is there: run backup_verify, and report it if that finds nothing"
        )
    share = "" if of == 1 else f" (one of {of} shares)"
    result.note(f"restored {records} records{share} in {seconds:.1f} s, and all of them are what the backup holds")
    backup.journal.keep_state(
        STATE, {"at": iso(utc_now()), "records": records, "seconds": seconds, "of": of, "number": number}
    )
    result.complete()


def overdue(service: Service, states: Mapping[str, Any]) -> str:
    """What to say of a service whose last drill is older than it promises; empty where all is well."""
    if service.drill is None:
        return ""
    last = states.get(STATE)
    if last is None:
        return "it was never proved that this backup can be restored: run backup_drill"
    if utc_now() - parse(last["at"]) > parse_time(service.drill_within):
        return (
            f"the last drill that proved that this backup can be restored was at {last['at'][:16]}Z: run backup_drill"
        )
    return ""


def _newest_point(backup: Store, states: Mapping[str, Any]) -> int | None:
    """The number of the newest restore point; not that of a run that is still writing. None: there is no history of records."""
    if backup.undo is None or KEPT not in states:
        return None
    kept = Kept.from_value(states[KEPT])
    return max((one.number for one in backup.journal.points().numbered if kept.holds(one.number)), default=None)


def _wanted(backup: Store, shape: Any, number: int | None) -> Reader:
    if backup.undo is None or number is None:
        return backup.reader(shape, content=True, stamps=False)
    return backup.undo.reader(shape, number, content=True, stamps=False)


def _copy(wanted: Reader, scratch: Store, shape: Any, within: Any, check: Callable[[], None]) -> int:
    writer, copied = scratch.writer(shape), 0
    reading = read_ahead(wanted.records(within))
    try:
        for records in reading:
            check()
            applied = writer.apply(records, [])
            copied += applied.inserted + applied.updated
    finally:
        reading.close()
    return copied


def _different(wanted: Reader, there: Reader, within: Any, result: SyncResult, check: Callable[[], None]) -> int:
    """Records that are not the same on both sides."""
    finder = Finder(
        wanted,
        there,
        (WHOLE,),
        force=False,
        written=lambda _: frozenset(),
        progress=Progress(result),
        check=check,
        limits=wanted.limits,
    )
    wrong = 0
    for found in finder.find(there.readable(wanted.readable(wanted.cut(within, wanted.limits.range_records)))):
        wrong += sum(map(len, finder.differing(found)))
    return wrong

"""Restore points: runs are numbered, what they replace is kept, and what is no longer needed is removed.

The numbers and what there is of a history stand in the backup's states, and are read and written under the run's lock.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backup_sync.model import verdicts
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.faults import point
from backup_sync.model.keep import RUN, STATE, Kept, Point
from backup_sync.model.moments import iso, parse, utc_now
from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Keep, Store
from backup_sync.walk import pairing, seal, unfinished

log = logging.getLogger(__name__)

SYNC_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

HELD = "held points"
"""The state that names those which stay whatever their age, by number."""

RESTORES = "restores"
"""The state that says where a restore wrote and which columns it left alone, by its number: whoever undoes it has to do the same."""


def number(backup: Store, run: SyncResult, states: Mapping[str, Any]) -> int:
    """Give a run its number: one more than the highest. A retry keeps its run's, unless another run has begun meanwhile."""
    newest = states.get(RUN)
    if newest and newest["sync_id"] == str(run.sync_id):
        return int(newest["number"])
    highest = int(newest["number"]) if newest else backup.undo.highest() if backup.undo else 0
    value = {"number": highest + 1, "sync_id": str(run.sync_id), "at": iso(run.started_at)}
    backup.journal.keep_state(RUN, value)
    return highest + 1


def check_newest(service: str, run: SyncResult, states: Mapping[str, Any]) -> None:
    """Raise FatalError if another run has begun since this one: what was found then is no longer what is to be done."""
    newest = states.get(RUN)
    if newest and newest["sync_id"] != str(run.sync_id):
        raise FatalError(
            f"{service}: another run has begun since these deletes were withheld, so their approval is void; nothing was deleted. If "
            "that run withheld them too, it asks for itself"
        )


@dataclass(frozen=True)
class Keeping:
    """What a run knows of the history of records as it begins. It holds the lock, so that nobody else changes it.

    ``entries``: how the writer has to keep what it replaces; None: it need not. ``points``, ``held``: of the runs before.
    ``drift``: the last verify found that the backup is not what its source is, so that nothing may be removed.
    """

    kept: Kept
    entries: Keep | None
    points: Sequence[Point]
    held: Collection[int]
    drift: bool


def begin(backup: Store, run: SyncResult, states: Mapping[str, Any], *, empty: bool, force: bool) -> Keeping | None:
    """Begin to keep what this run replaces; None: the service keeps nothing.

    ``states``: as they were before the run got its number. ``empty``: the copy holds nothing. A first load makes no
    entries: restore points begin with it. A run that keeps nothing ends all restore points before it, and so does one that
    finds the copy empty, unless it was a run that left it so (:func:`end`).
    """
    if backup.undo is None:
        return None
    before = Kept.from_value(states[STATE]) if STATE in states else None
    if backup.service.keep is None:
        if before is not None:
            backup.journal.keep_state(STATE, None)
            run.note("keep_history is off: restore points older than this run are gone")
        return None
    found = backup.journal.points()
    kept = before
    if kept is not None and RUN in states and found.unnumbered and found.unnumbered > parse(states[RUN]["at"]):
        run.note("a run of an earlier version wrote to the backup: restore points older than this run are gone")
        kept = None
    # A restore that died may have left it empty as well; nobody else has written since.
    fresh = empty and not (kept is not None and (kept.emptied or unfinished.STATE in states))
    if fresh:
        if kept is not None and kept.since < run.run_number:
            run.note("the backup was empty: restore points older than this run are gone")
        kept = Kept(run.run_number)
    elif kept is None:
        kept = Kept(run.run_number - 1)
    if not empty:
        kept = replace(kept, emptied=False)
    if kept != before:
        backup.journal.keep_state(STATE, kept.to_value())
    drift = bool(states.get(verdicts.STATE, {}).get("drift"))
    entries = None if fresh else Keep(run.run_number, str(run.sync_id), exact=force)
    return Keeping(kept, entries, found.numbered, list(map(int, states.get(HELD, {}))), drift)


def end(backup: Store, keeping: Keeping, *, empty: bool) -> Keeping:
    """What this run leaves behind. ``empty``: the copy holds nothing now."""
    kept = replace(keeping.kept, emptied=empty)
    if kept != keeping.kept:
        backup.journal.keep_state(STATE, kept.to_value())
    return replace(keeping, kept=kept)


@dataclass(frozen=True)
class RestorePoint:
    """The state of the copy at the end of a run. ``whole``: the run succeeded. ``held``: why it stays whatever its age."""

    number: int
    sync_id: str
    run_id: str
    at: str
    inserted: int
    updated: int
    deleted: int
    whole: bool
    held: str | None


def listed(backup: Store, most: int = 1_000) -> list[RestorePoint]:
    """The restore points of a service among its newest runs, newest first."""
    states = pairing.check_ours(backup)
    if STATE not in states:
        return []
    kept, held = Kept.from_value(states[STATE]), states.get(HELD, {})
    return [
        RestorePoint(
            number=run["RunNumber"],
            sync_id=run["SyncId"],
            run_id=run["RunId"],
            at=run["CompletedAt"] or run["StartedAt"],
            inserted=run["InsertedCount"],
            updated=run["UpdatedCount"],
            deleted=run["DeletedCount"],
            whole=run["Success"],
            held=held.get(str(run["RunNumber"])),
        )
        for run in backup.journal.newest(most)
        if run["RunNumber"] and kept.holds(run["RunNumber"])
    ]


NEWEST = 10_000
"""Runs that are looked through for one of a SyncId."""


def number_of(backup: Store, sync_id: str) -> int:
    """The number of a run. Raises ConfigurationError where the history has no run of this SyncId that has one."""
    for run in backup.journal.newest(NEWEST):
        if run["SyncId"].lower() == sync_id.lower() and run["RunNumber"]:
            return int(run["RunNumber"])
    raise ConfigurationError(
        f"{backup.service.name}: the history has no run {sync_id} that wrote to this backup; list the restore points "
        "(backup_restore without a service)"
    )


def point_of(backup: Store, text: str) -> int | None:
    """The number of the run whose state is meant: that of a SyncId, the one before it (``before:<SyncId>``), or the last one that
    had succeeded at a moment (ISO 8601, UTC unless it says otherwise). None, for an empty text: the backup as it is.

    Raises ConfigurationError for anything else, and where there is no such run.
    """
    text = text.strip()
    if not text:
        return None
    before, _, rest = text.partition(":")
    if before == "before":
        return number_of(backup, rest.strip()) - 1
    if SYNC_ID.fullmatch(text):
        return number_of(backup, text)
    try:
        at = parse(text)
    except ValueError:
        raise ConfigurationError(
            f"as_of={text} is no moment (2026-11-24T00:00:00Z), no SyncId and no before:<SyncId>; correct it"
        ) from None
    found = [point for point in backup.journal.points().numbered if point.at <= at]
    if not found:
        raise ConfigurationError(f"{backup.service.name}: no run had succeeded by {iso(at)}; choose a later moment")
    return max(point.number for point in found)


def hold(backup: Store, number: int, reason: str, run: SyncResult) -> None:
    """Keep a restore point whatever its age. Raises ConfigurationError where there is none of that number."""
    pairing.check_ours(backup)
    with backup.lock.hold(run, backup.service.lock_wait_seconds):
        states = backup.journal.states()
        if STATE not in states or not Kept.from_value(states[STATE]).holds(number) or number > states[RUN]["number"]:
            raise ConfigurationError(f"{backup.service.name}: there is no restore point {number}; list them first")
        backup.journal.keep_state(HELD, {**states.get(HELD, {}), str(number): reason})


def release(backup: Store, number: int, run: SyncResult) -> None:
    """Let a restore point that was held grow old. Raises ConfigurationError where it is not held."""
    pairing.check_ours(backup)
    with backup.lock.hold(run, backup.service.lock_wait_seconds):
        held = dict(backup.journal.states().get(HELD, {}))
        if held.pop(str(number), None) is None:
            raise ConfigurationError(f"{backup.service.name}: restore point {number} is not held")
        backup.journal.keep_state(HELD, held or None)


def forget(backup: Store, key: Sequence[Any], run: SyncResult) -> int:
    """Remove one record from the history of records, of which a record is left in the history of runs (without the key).

    What the copy holds now stays: it follows the source. Returns how many entries there were.
    """
    pairing.check_ours(backup)
    if backup.undo is None:
        return 0
    with backup.lock.hold(run, backup.service.lock_wait_seconds):
        gone = backup.undo.forget(key)
        backup.journal.keep_state(seal.STATE, None)  # what was sealed can no longer be rebuilt
        run.mode = "forgot one key"
        run.note(f"removed {gone} entries of one key from the history of records")
        run.complete()
        backup.journal.save(run)
    return gone


def prune(backup: Store, run: SyncResult, keeping: Keeping, *, mended: bool = False) -> None:
    """Remove what is older than the service keeps it. At the end of a run that succeeded, under its lock.

    ``mended``: the run has compared whole records, so that no drift is left.
    """
    keep = backup.service.keep
    assert keep is not None
    points, left = [*keeping.points, Point(run.run_number, utc_now())], keeping.kept
    if keeping.drift and not mended:
        run.note("nothing of the history of records was removed, since the last verify found drift")
    else:
        left = keep.left(keeping.kept, points, keeping.held, utc_now())
        if left != keeping.kept or left.due:
            shrink(backup, left)
    assert backup.undo is not None
    run.undo_entries = backup.undo.count()
    run.restorable_since = min(point.at for point in points if left.holds(point.number))


def shrink(backup: Store, left: Kept) -> None:
    """Remove the entries that are not needed for what is to be left. Under a run's lock."""
    assert backup.undo is not None
    # First what is said to be there, then the entries: a run that is killed in between has promised too little.
    backup.journal.keep_state(STATE, left.to_value())
    point("before cut")
    gone = backup.undo.cut(left.since)
    if backup.log is not None:
        restores = backup.journal.states().get(RESTORES, {})
        still = {number: one for number, one in restores.items() if int(number) > left.since}
        if still != restores:
            backup.journal.keep_state(RESTORES, still)
        backup.log.cut(left.since)
    for first, last in left.due:
        point("before thin")
        gone += backup.undo.thin(first, last)
    backup.journal.keep_state(STATE, replace(left, due=()).to_value())
    log.info("%s: removed %d entries of the history of records", backup.service.name, gone)

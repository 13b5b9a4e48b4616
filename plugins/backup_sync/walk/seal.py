"""Was the backup touched? A *seal* is the digest of a range of the backup as a run left it.

Later runs change the backup, and keep what they replace. So the state that was sealed can be rebuilt at any time, and if its
digest is another one, somebody else than a run changed the backup or its history of records. The source is not asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from backup_sync.model.keep import RUN, Kept
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.verdicts import Verified
from backup_sync.stores.base import Reader, Store

STATE = "seal"
"""Among a backup's states: what was sealed, a range for each share of the records (see :mod:`backup_sync.model.verdicts`)."""

Left = tuple[int, int, str]
"""By which run a backup was left as it is: its number, its attempt, and when it ended."""


def left_by(backup: Store) -> Left | None:
    """The newest run, if it has ended; None: one may be writing."""
    newest = backup.journal.states().get(RUN, {}).get("number")
    for run in backup.journal.newest() if newest else []:
        if run["RunNumber"] == newest:
            return (run["RunNumber"], run["Attempt"], run["CompletedAt"]) if run["CompletedAt"] else None
    return None


def place(
    backup: Store, number: int, share: int, of: int, after: Any, upto: Any, unchanged: Callable[[], bool] | None
) -> None:
    """Seal a range, the share of this number among ``of``, as run ``number`` left it.

    ``unchanged``: asked when the digest is there: whether no run has begun meanwhile; None: none can.
    """
    shape = backup.catalog.describe()
    reader = backup.reader(shape, content=True)
    count, digest = reader.content_digest(reader.between(after, upto))
    if unchanged is not None and not unchanged():
        return
    known = backup.journal.states().get(STATE) or {}
    ranges = list(known["ranges"]) if known.get("shape") == _shape(shape) and known.get("of") == of else [None] * of
    at = iso(utc_now())
    ranges[share] = {"after": after, "upto": upto, "number": number, "count": count, "digest": digest, "at": at}
    backup.journal.keep_state(STATE, {"shape": _shape(shape), "of": of, "ranges": ranges})


def check(backup: Store, states: Mapping[str, Any], found: Verified, going_on: Callable[[], None]) -> None:
    """Compare what was sealed with what can be rebuilt of it now; counts the ranges in ``found``.

    A seal says nothing any more once the copy has other columns, or the state that it is of can no longer be rebuilt.
    ``going_on``: called in between; raises once the task has to end.
    """
    known = states.get(STATE)
    shape = backup.catalog.describe()
    if not known or known["shape"] != _shape(shape):
        return
    for range_ in filter(None, known["ranges"]):
        going_on()
        reader = _as_of(backup, shape, states, range_["number"])
        if reader is None:
            continue
        count, digest = reader.content_digest(reader.between(range_["after"], range_["upto"]))
        if backup.journal.states().get(STATE) != known:
            continue  # a run was retried or a new seal was placed meanwhile
        found.sealed += 1
        found.records += count
        found.touched += (count, digest) != (range_["count"], range_["digest"])


def void(backup: Store, states: Mapping[str, Any], number: int) -> None:
    """The run of this number goes on: what it had left is not what it will leave."""
    known = states.get(STATE)
    if known and any(range_ and range_["number"] >= number for range_ in known["ranges"]):
        ranges = [range_ if range_ and range_["number"] < number else None for range_ in known["ranges"]]
        backup.journal.keep_state(STATE, {**known, "ranges": ranges})


def _as_of(backup: Store, shape: Any, states: Mapping[str, Any], number: int) -> Reader | None:
    """Reads the state that a run left; None: it cannot be rebuilt."""
    if backup.undo and KEPT in states and Kept.from_value(states[KEPT]).holds(number):
        return backup.undo.reader(shape, number, content=True)
    if states.get(RUN, {}).get("number") == number:
        return backup.reader(shape, content=True)
    return None


def _shape(shape: Any) -> str:
    """A shape in few characters. Of what its fields say, not of how they are compared."""
    columns = getattr(shape, "columns", None)
    told = [[column.name, column.type, column.collation] for column in columns] if columns else repr(shape)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]

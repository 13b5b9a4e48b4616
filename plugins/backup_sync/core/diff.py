"""Pure: two sets of (key, stamp) in, changes out. No I/O, no order assumed, equality of keys is all it needs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

Key = tuple[Hashable, ...]
Stamp = tuple[Any, ...]

SAME, CHANGED, AHEAD = "same", "changed", "ahead"
UNFILLED = "unfilled"
"""The rule of a field that the backup was given after its records (``Store.unfilled``)."""


@dataclass
class Changes:
    """What has to be done to one range of the backup."""

    inserts: list[Key] = field(default_factory=list)
    updates: list[Key] = field(default_factory=list)
    deletes: list[Key] = field(default_factory=list)
    ahead: list[Key] = field(default_factory=list)
    skipped: int = 0


def diff(
    source: Mapping[Key, Stamp], backup: Mapping[Key, Stamp], rules: tuple[str, ...], *, force: bool = False
) -> Changes:
    """Compare one range of both stores.

    ``rules`` names, for each position of the stamps, when it counts as changed: ``higher``, ``newer`` or
    ``different``, or ``UNFILLED`` for a field that no service names. With ``force`` every record that both sides hold is an update.
    """
    changes = Changes()
    for key, stamp in source.items():
        other = backup.get(key)
        if other is None:
            changes.inserts.append(key)
        elif force:
            changes.updates.append(key)
        elif stamp == other:
            changes.skipped += 1
        else:
            verdict = compare(stamp, other, rules)
            if verdict == CHANGED:
                changes.updates.append(key)
            elif verdict == AHEAD:
                changes.ahead.append(key)
            else:
                changes.skipped += 1
    changes.deletes = [key for key in backup if key not in source]
    return changes


def compare(source: Stamp, backup: Stamp, rules: tuple[str, ...]) -> str:
    """``CHANGED`` if any rule says so; else ``AHEAD`` if the backup is higher or newer somewhere; else ``SAME``."""
    verdict, unfilled = SAME, False
    for new, old, rule in zip(source, backup, rules, strict=True):
        if new == old:
            continue
        if rule == "different":
            return CHANGED
        if rule == UNFILLED:
            unfilled = True
            continue
        order = _order(new, old, moments=rule == "newer")
        if order > 0:
            return CHANGED
        if order < 0:
            verdict = AHEAD
    # A copy that is ahead is the guard's affair, also with a column that it lacks: filling it in sets the rest back.
    return CHANGED if unfilled and verdict == SAME else verdict


def _order(new: Any, old: Any, *, moments: bool) -> int:
    """1, 0 or -1. An absent value is lower than any other, so a stamp that appears for the first time is a change."""
    if new is None or old is None:
        return (new is not None) - (old is not None)
    if moments:
        new, old = moment(new), moment(old)
    try:
        return (new > old) - (new < old)
    except TypeError:
        # Two kinds of value in one field (a number here, text there) have no order: what differs is a change.
        return 1


def moment(value: Any) -> Any:
    """Text in ISO 8601 as (UTC seconds, fraction digits), so that ``…00Z``, ``…00.000Z`` and offsets compare right.

    The fraction stays text, right-padded, because Python's datetime would cut .NET's seventh digit. What is not
    ISO text (an epoch number, another format) is returned as it came.
    """
    if not isinstance(value, str):
        return value
    head, dot, tail = value.partition(".")
    digits = ""
    if dot:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        head += tail[len(digits) :]
    head = head.replace(" +", "+").replace(" -", "-")  # SQL Server writes a blank before the offset
    try:
        parsed = datetime.fromisoformat(head.replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        return value
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=timezone.utc)
    return (parsed.timestamp(), digits.rstrip("0"))

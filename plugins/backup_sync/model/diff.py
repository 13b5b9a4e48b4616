"""Pure: two sets of (key, stamp) in, changes out. No I/O, no order assumed, equality of keys is all it needs."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

Key = tuple[Hashable, ...]
Stamp = tuple[Any, ...]


class Absent(Enum):
    """Stands for a field that a record does not have; null is a value."""

    MISSING = "missing"


MISSING = Absent.MISSING
SAME, CHANGED, FILLED, AHEAD = "same", "changed", "filled", "ahead"
WHOLE = "whole"
"""The rule of the part of a stamp that stands for the whole record: a change, unless a field that is to be filled in explains it."""

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
    filled: int = 0
    """Updates that only fill in a field that the backup lacked."""


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
            if verdict in (CHANGED, FILLED):
                changes.updates.append(key)
                changes.filled += verdict == FILLED
            elif verdict == AHEAD:
                changes.ahead.append(key)
            else:
                changes.skipped += 1
    changes.deletes = [key for key in backup if key not in source]
    return changes


def compare(source: Stamp, backup: Stamp, rules: tuple[str, ...]) -> str:
    """``AHEAD`` if the backup is higher or newer in any ordered field, whatever else differs; else ``CHANGED`` if any
    rule says so; else ``FILLED`` if a field that no service names has to be filled in; else ``SAME``.

    A copy that is ahead is the guard's affair, also where another field changed or has to be filled in: writing the
    record sets that field back.
    """
    verdict, content = SAME, False
    for new, old, rule in zip(source, backup, rules, strict=True):
        if new == old:
            continue
        if rule == UNFILLED:
            verdict = FILLED if verdict == SAME else verdict
            continue
        if rule == WHOLE:
            content = True
            continue
        if rule == "different":
            verdict = CHANGED
            continue
        order = _order(new, old, moments=rule == "newer")
        if order < 0:
            return AHEAD
        if order > 0:
            verdict = CHANGED
    return CHANGED if content and verdict == SAME else verdict


def _order(new: Any, old: Any, *, moments: bool) -> int:
    """1, 0 or -1; 1 also for what differs and has no order. Both are known to differ.

    An absent value is lower than any other, so a stamp that appears for the first time is a change.
    """
    here, there = (value is not None and value is not MISSING for value in (new, old))
    if not (here and there):
        return here - there or 1
    if moments:
        new, old = moment(new), moment(old)
    if new is None or old is None:
        return 1  # no moment of a known form, so neither is known to be the newer
    try:
        return (new > old) - (new < old)
    except TypeError:
        # Two kinds of value in one field (a number here, text there) have no order: what differs is a change.
        return 1


_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?)? ?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII | re.IGNORECASE
)
"""Dates and times in the extended form of ISO 8601; SQL Server writes a blank before the offset."""


def moment(value: Any) -> Any:
    """A moment as something that can be compared; None for what is no moment of a known form.

    ISO 8601 text becomes (UTC seconds, fraction digits), so that ``…00Z``, ``…00.000Z`` and offsets compare right; without
    an offset it is UTC. The fraction stays text, right-padded, because Python's datetime would cut .NET's seventh digit.
    Numbers (seconds or ticks since some epoch) are compared as they are. Any other text has no order that is known:
    as text, 31.12.2023 would be newer than 01.01.2024.
    """
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return value
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return None
    day, time, fraction, offset = found.groups()
    offset = (offset or "Z").upper().replace(":", "")
    zone = "+00:00" if offset == "Z" else f"{offset[:3]}:{offset[3:] or '00'}"
    try:
        parsed = datetime.fromisoformat(f"{day}T{time or '00:00'}{zone}")
    except ValueError:
        return None
    return ((parsed - _EPOCH).total_seconds(), (fraction or "").rstrip("0"))


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

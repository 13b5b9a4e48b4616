"""How long a backup's history of records is kept, and which restore points that leaves.

A *restore point* is the end of a run: the state of the copy that can be rebuilt exactly. All of them are kept for a time;
of the older ones the last of each day, week or month (UTC) may be kept longer, as grandfather, father and son rotate tapes.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import accumulate, pairwise
from typing import Any

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
LONGEST = timedelta(days=365 * 100)


def _day(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month, moment.day


def _week(moment: datetime) -> tuple[int, ...]:
    return tuple(moment.isocalendar()[:2])


def _month(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month


PERIODS = {"daily": _day, "weekly": _week, "monthly": _month}


@dataclass(frozen=True)
class Point:
    """A restore point: the number of a run that succeeded, and when it ended (aware)."""

    number: int
    at: datetime


Gap = tuple[int, int]

STATE, RUN = "undo", "run"
"""Among a backup's states: a :class:`Kept`, and the number and SyncId of the newest run."""

ABSENT = "absent "


def absent(name: str) -> str:
    """The state that says of a column (by its folded name) which states of the copy lack it, or its values: ``between``, pairs of
    the first and the last number. The last is None as long as that is so. A digest of the name, since states have short names."""
    return ABSENT + hashlib.sha256(name.encode()).hexdigest()[:16]


def lacking(states: Mapping[str, Any], number: int | None) -> set[str]:
    """Columns (folded) that the state at the end of a run lacks; of the copy as it is, where that is None."""

    def holds(first: int, last: int | None) -> bool:
        return last is None if number is None else first <= number and (last is None or number <= last)

    found = (value for state, value in states.items() if state.startswith(ABSENT))
    return {one["column"] for one in found if any(holds(*some) for some in one["between"])}


@dataclass(frozen=True)
class Kept:
    """What there is of a history of records.

    ``since``: the oldest number that can be rebuilt. ``gaps``: of (from, to); the numbers between the two cannot. ``due``:
    those of the gaps that may still hold entries that nobody needs. ``emptied``: it was a run that left the copy without a
    record, so that finding it empty is no sign that somebody else emptied it.
    """

    since: int
    gaps: tuple[Gap, ...] = ()
    due: tuple[Gap, ...] = ()
    emptied: bool = False

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Kept:
        gaps, due = (tuple((int(first), int(last)) for first, last in value.get(name, ())) for name in ("gaps", "due"))
        return cls(int(value["since"]), gaps, due, bool(value.get("emptied")))

    def to_value(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"since": self.since, "gaps": list(self.gaps), "due": list(self.due), "emptied": self.emptied}

    def holds(self, number: int) -> bool:
        """Whether the state at the end of this run can be rebuilt."""
        return number >= self.since and not any(first < number < last for first, last in self.gaps)


@dataclass(frozen=True)
class KeepHistory:
    """``all``: for how long every restore point is kept. ``thinned``: for how long the last one of each period is."""

    all: timedelta
    thinned: Mapping[str, timedelta]

    def left(self, kept: Kept, points: Sequence[Point], held: Iterable[int], now: datetime) -> Kept:
        """What is to be left of a history.

        ``points``: of runs that succeeded, in any order. ``held``: numbers that are kept whatever their age. A point stays
        as long as some moment within its time is answered by it: the newest one older than the limit is still what the
        copy looked like at the limit.
        """
        found = {point.number: point for point in points if kept.holds(point.number)}
        # What was there before all that is known, whatever it was, is older than any limit.
        found.setdefault(kept.since, Point(kept.since, datetime.min.replace(tzinfo=timezone.utc)))
        known = [found[number] for number in sorted(found)]
        whole = _from(known, now - self.all)
        chosen = {number for number in held if kept.holds(number)} | {known[whole].number}
        for period, time in self.thinned.items():
            first = _from(known, now - time)
            last = {PERIODS[period](point.at.astimezone(timezone.utc)): point.number for point in known[first:]}
            chosen |= {*last.values(), known[first].number}
        stay = sorted(number for number in chosen if number <= known[whole].number)
        # Gaps among what is kept whole: made while the setting was shorter.
        gaps = [gap for gap in kept.gaps if gap[0] >= stay[-1]]
        gaps += [(first, last) for first, last in pairwise(stay) if last - first > 1]
        due = {*kept.due, *gaps}.difference(set(kept.gaps) - set(kept.due)).intersection(gaps)
        return replace(kept, since=stay[0], gaps=tuple(sorted(gaps)), due=tuple(sorted(due)))


def _from(points: Sequence[Point], limit: datetime) -> int:
    """Index of the point that says what the copy looked like at a moment; the first one's if all are younger.

    Clocks may step back, numbers do not: a point counts as no older than those before it, so that rather more is kept.
    """
    return max(0, bisect_right(list(accumulate((point.at for point in points), max)), limit) - 1)


def parse_time(text: str) -> timedelta:
    """``36h``, ``30d``, ``8w`` or ``2y``. Raises ValueError in words that follow the setting's name."""
    found = re.fullmatch(r"(\d{1,6})([hdwy])", text)
    if not found or int(found[1]) == 0:
        raise ValueError(f"write a time as a number and h, d, w or y (36h, 30d, 8w, 2y), not '{text}'")
    return min(int(found[1]) * UNITS[found[2]], LONGEST)


def parse_keep(value: str | Mapping[str, str]) -> KeepHistory:
    """``30d``, or ``{all: 14d, daily: 60d, monthly: 2y}``. Raises ValueError in words that follow the setting's name."""
    if isinstance(value, str):
        return KeepHistory(parse_time(value), {})
    if "all" not in value:
        raise ValueError("name 'all': for how long every restore point is kept")
    if unknown := sorted(value.keys() - {"all", *PERIODS}):
        raise ValueError(f"unknown field '{unknown[0]}' (known: all, {', '.join(PERIODS)})")
    times = {name: parse_time(text) for name, text in value.items()}
    return KeepHistory(times.pop("all"), times)

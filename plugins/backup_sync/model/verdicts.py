"""What comparing the whole content of a backup with its source says, and what of it was compared when."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from backup_sync.model.moments import iso, parse

LAG, DRIFT, MISSING, EXTRA = "lag", "drift", "missing", "extra"
"""Verdicts on a record. *Lag*: the next sync will mend it. *Drift*: the content differs and the stamp does not, so that no
sync would ever see it. *Missing*, *extra*: the backup lacks it, or has one that the source has not; the next sync mends that."""
VERDICTS = (LAG, DRIFT, MISSING, EXTRA)
SAMPLES = 20
"""Keys that are named for each verdict."""

BY_SEAL = "verified by its seal"
"""The mode of a run that asked the seal and not the source."""

STATE = "verify"
"""Among a backup's states: a :class:`Rolling`."""


@dataclass
class Verified:
    """``records``: of the source that were compared. ``keys``: some for each verdict. ``fields``: how many records drifted in
    each column or property. ``touched``: ranges of the backup that somebody changed since they were sealed, of
    ``sealed`` that could be checked."""

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[list[Any]]] = field(default_factory=dict)
    fields: Counter[str] = field(default_factory=Counter)
    sealed: int = 0
    touched: int = 0

    def add(self, verdict: str, key: Sequence[Any], names: Sequence[str] = ()) -> None:
        """One record. ``names``: the columns or properties that differ."""
        self.counts[verdict] += 1
        keys = self.keys.setdefault(verdict, [])
        if len(keys) < SAMPLES:
            keys.append([part.hex() if isinstance(part, bytes) else part for part in key])
        if verdict == DRIFT:
            self.fields.update(names)

    def to_value(self) -> dict[str, Any]:
        """JSON-ready: ``{"Records": 7, "Drift": {"Count": 1, "Keys": [[3]], "Fields": {"Email": 1}}, "Lag": …}``."""
        value: dict[str, Any] = {"Records": self.records, "Sealed": self.sealed, "Touched": self.touched}
        for verdict in VERDICTS:
            value[verdict.capitalize()] = {"Count": self.counts[verdict], "Keys": self.keys.get(verdict, [])}
        value[DRIFT.capitalize()]["Fields"] = dict(self.fields.most_common())
        return value


@dataclass(frozen=True)
class Rolling:
    """Which shares of the records were compared when.

    ``of``: so many shares make up all of them. ``position``: where the next one begins (a position of
    :meth:`backup_sync.stores.base.Reader.portion`). ``times``: when those of this round were compared; ``before``: those of the round
    before, none where there was none. ``drift``: how many records were found to drift, and not mended yet; ``anywhere``: by
    comparing all of them, so that only doing that again can say that they no longer do.
    """

    of: int
    position: Any = None
    times: tuple[datetime, ...] = ()
    before: tuple[datetime, ...] = ()
    drift: int = 0
    anywhere: bool = False

    @classmethod
    def from_value(cls, value: Mapping[str, Any] | None, of: int) -> Rolling:
        """What was kept, made to fit ``of`` shares."""
        if not value:
            return cls(of)
        times, before = (tuple(map(parse, value[name])) for name in ("times", "before"))
        found = cls(int(value["of"]), value["position"], times, before, int(value["drift"]), bool(value["anywhere"]))
        if found.of == of:
            return found
        since = found.since
        # The next share is another one than that which drifted, and cannot say that it no longer does.
        return cls(
            of, before=(since,) if since else (), drift=found.drift, anywhere=found.anywhere or bool(found.drift)
        )

    def to_value(self) -> dict[str, Any]:
        """JSON-ready."""
        times, before = (list(map(iso, moments)) for moments in (self.times, self.before))
        return {
            "of": self.of,
            "position": self.position,
            "times": times,
            "before": before,
            "drift": self.drift,
            "anywhere": self.anywhere,
        }

    @property
    def part(self) -> float:
        """The next share, as a part of what is left of this round: the last one is all of the rest, however it grew."""
        return 1 / max(1, self.of - len(self.times))

    def after(self, drift: int, position: Any, at: datetime) -> Rolling:
        """The next share was compared, up to ``position``; ``drift``: records of it that drift. If there are any, the same share
        is the next one again, until it is as it should be."""
        all_ = self.of == 1
        if drift:
            return replace(self, drift=drift, anywhere=self.anywhere or all_)
        left = 0 if all_ or not self.anywhere else self.drift
        times = (*self.times, at)
        if position is None:
            return Rolling(self.of, before=times, drift=left, anywhere=bool(left))
        return Rolling(self.of, position, times, self.before, left, bool(left))

    @property
    def share(self) -> float:
        """How much was compared at least once, 0..1."""
        return 1.0 if self.before else len(self.times) / self.of

    @property
    def since(self) -> datetime | None:
        """All records were compared since then; None: not all yet.

        Inserts and deletes move the borders of shares, so the last share that this round has compared still counts as old.
        """
        if not self.before:
            return None
        again = max(0, len(self.times) * len(self.before) // self.of - 1)
        return min((*self.before[again:], *self.times))


def parse_share(text: str) -> int:
    """7 for ``1/7``, 1 for ``all``. Raises ValueError in words that follow the setting's name."""
    found = re.fullmatch(r"all|1/([1-9]\d{0,3})", text)
    if not found:
        raise ValueError(f"write the share as 1/7, 1/30 and so on, or all, not '{text}'")
    return int(found[1] or 1)

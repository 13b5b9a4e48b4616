"""How the backups are: what runs and events say of each service, judged. Knows neither Airflow nor HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backup_sync.model.fresh import span, stale_since
from backup_sync.model.moments import parse
from backup_sync.model.result import HELD as HELD_STATUS
from backup_sync.model.verdicts import BY_SEAL, VERDICTS

RUNNING, SUCCEEDED, FAILED, SKIPPED = "running", "succeeded", "failed", "skipped"
"""What a run came to for a service. A skipped one was not asked for, or is held."""

GOOD, STALE, NEVER, WITHHELD, DRIFTED, HELD = "good", "stale", "never", "withheld", "drifted", "held"
"""What is said of a service, besides :data:`FAILED`. Only the first asks nothing of anybody."""


@dataclass(frozen=True)
class Event:
    """A success: when Airflow heard of it, what it carries (``extra`` of :mod:`backup_sync.operators.assets`), and its run."""

    at: datetime
    extra: Mapping[str, Any]
    dag_id: str
    run_id: str

    @property
    def ended(self) -> datetime:
        return _moment(self.extra.get("CompletedAt")) or self.at

    @property
    def began(self) -> datetime:
        """The backup is at least as new as its source was then."""
        return _moment(self.extra.get("StartedAt")) or self.at


@dataclass(frozen=True)
class Attempt:
    """One run, as far as it is about one service. ``result``: what it left (:meth:`SyncResult.to_dict`), if it did. ``progress``: how
    far a running one is (:class:`backup_sync.walk.progress.Progress`). ``plan``: of a restore (:meth:`Planned.to_value`). ``asks``: the task that
    waits for a person; empty: none. ``tasks``: task ids
    in their order, and their states."""

    service: str
    dag_id: str
    run_id: str
    state: str
    started: datetime
    ended: datetime | None
    result: Mapping[str, Any] | None = None
    progress: Mapping[str, Any] | None = None
    plan: Mapping[str, Any] | None = None
    asks: str = ""
    tasks: Sequence[tuple[str, str]] = ()

    @property
    def dry(self) -> bool:
        return bool(self.result and self.result.get("DryRun"))

    @property
    def held(self) -> bool:
        return bool(self.result and self.result.get("Status") == HELD_STATUS)

    @property
    def counts(self) -> bool:
        """Whether it was a run of this service: it was asked for, and to write."""
        return not self.dry and (self.state != SKIPPED or self.held)

    @property
    def settles(self) -> bool:
        """Whether what was found before it no longer counts. A seal that is whole does not take back what a comparison found."""
        return self.state != RUNNING and not (self.state == SUCCEEDED and (self.result or {}).get("Mode") == BY_SEAL)

    @property
    def seconds(self) -> float | None:
        return (self.ended - self.started).total_seconds() if self.ended else None

    def count(self, name: str) -> int:
        """One of the counts of its result: ``Inserted``, ``Withheld`` …; 0 without a result."""
        return int((self.result or {}).get(f"{name}Count") or 0)

    @property
    def problem(self) -> str:
        """What went wrong, in one sentence; empty if nothing did."""
        if self.state != FAILED:
            return ""
        said = (self.result or {}).get("ErrorMessage")
        if said:
            return str(said)
        if all(state == "success" for _, state in self.tasks):
            return "The run was ended before it was done: by its dagrun_timeout, or by somebody"
        return "A task of it failed and left no message; see its log"


@dataclass(frozen=True)
class Known:
    """What is known of a service. ``success``: its last one. ``attempt``: its last run that ended; ``running``: one that has not.
    ``verify``: its last run of ``backup_verify`` that ended. ``drill``: its last drill that succeeded."""

    service: str
    dag_id: str
    promise: timedelta
    paused: bool
    success: Event | None = None
    attempt: Attempt | None = None
    running: Attempt | None = None
    verify: Attempt | None = None
    drill: Event | None = None

    def state(self, now: datetime) -> str:
        """One of :data:`GOOD` …: what is worst first."""
        if self.attempt is not None and self.attempt.state == FAILED:
            return WITHHELD if self.attempt.count("Withheld") else FAILED
        if (self.verify is not None and self.verify.state == FAILED) or self.drift_left:
            return DRIFTED
        if self.attempt is not None and self.attempt.held:
            return HELD
        if self.success is None:
            return NEVER
        return STALE if self.stale(now) else GOOD

    def stale(self, now: datetime) -> bool:
        """Whether its last success is older than it may become; also where there was none."""
        return self.success is None or now > stale_since(self.success.ended, self.promise)

    def behind(self, now: datetime) -> timedelta | None:
        """What happened in the source for so long may not be in the backup."""
        return now - self.success.began if self.success else None

    def told(self, name: str) -> Any:
        """What the newest of its results says: of the last attempt, or of the last success where that one says nothing."""
        newest = (self.attempt.result or {}).get(name) if self.attempt else None
        return newest if newest is not None else (self.success.extra.get(name) if self.success else None)

    @property
    def verified_share(self) -> float:
        """How much of the records was compared whole at least once, 0..1."""
        return float(max((self._told_of_content("VerifiedShare")), default=0.0))

    @property
    def verified_since(self) -> datetime | None:
        """All records were compared since then; None: not all of them yet."""
        return max(filter(None, map(_moment, self._told_of_content("VerifiedSince"))), default=None)

    def _told_of_content(self, name: str) -> list[Any]:
        results = [self.verify.result if self.verify else None, self.attempt.result if self.attempt else None]
        results.append(self.success.extra if self.success else None)
        return [result[name] for result in results if result and result.get(name)]

    @property
    def restorable_since(self) -> datetime | None:
        """The oldest state that can be restored; None: there is no history of records."""
        return _moment(self.told("RestorableSince"))

    @property
    def verdicts(self) -> dict[str, int] | None:
        """Records by verdict, of what compared whole records last; None: nothing did."""
        found = self._compared
        if found is None:
            return None
        return {verdict: int((found.get(verdict.capitalize()) or {}).get("Count", 0)) for verdict in VERDICTS}

    @property
    def drift_left(self) -> int:
        """Records that drifted before the last comparison, which was of others."""
        return int((self._compared or {}).get("Left") or 0)

    @property
    def _compared(self) -> Mapping[str, Any] | None:
        for attempt in sorted(filter(None, (self.verify, self.attempt)), key=lambda one: one.started, reverse=True):
            found: Mapping[str, Any] | None = (attempt.result or {}).get("Verified")
            if found:
                return found
        return None


def headline(states: Sequence[str]) -> str:
    """One sentence on all of them."""
    bad = sum(state != GOOD for state in states)
    if not states:
        return "No service is declared"
    if not bad:
        return "All backups are good"
    return f"{bad} of {len(states)} {'needs' if bad == 1 else 'need'} you"


def sentence(known: Known, now: datetime) -> str:
    """What there is to say of a service."""
    state = known.state(now)
    last = f"last success {span(now - known.success.ended)} ago" if known.success else "it has never succeeded"
    if state in (FAILED, WITHHELD) and known.attempt is not None:
        return f"{known.attempt.problem} ({last})"
    if state == DRIFTED:
        left = f"{known.drift_left} records drifted, and the last comparison was of others; run backup_verify"
        return (known.verify.problem if known.verify is not None else "") or left
    if state == HELD and known.attempt is not None:
        return f"Held: {(known.attempt.result or {}).get('Notice') or 'nothing is written'} ({last})"
    if state == NEVER:
        return "Not backed up yet" + (f"; {known.dag_id} is paused" if known.paused else "")
    if state == STALE:
        why = f"; {known.dag_id} is paused" if known.paused else ""
        return f"{last[0].upper()}{last[1:]}, promised within {span(known.promise)}{why}"
    return f"{last[0].upper()}{last[1:]}"


def _moment(value: Any) -> datetime | None:
    return parse(value) if isinstance(value, str) and value else None

"""A hold keeps every run of a service from writing to its backup, whatever starts it, until it is released.

It stands in the backup itself: another Airflow, a schedule that was forgotten and a person in a hurry find it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from backup_sync.model.errors import ConfigurationError, Held, LockHeld
from backup_sync.model.moments import iso, parse, utc_now
from backup_sync.model.result import SyncResult
from backup_sync.model.service import Service
from backup_sync.stores.base import Store
from backup_sync.walk import pairing

STATE = "hold"
"""Its name among the backup's states."""


@dataclass(frozen=True)
class Hold:
    """Why nothing is written. ``since``, ``until``: moments as ISO text in UTC; without ``until`` it has to be released."""

    reason: str
    by: str
    since: str
    until: str | None = None

    def words(self) -> str:
        end = f"until {self.until}" if self.until else "until it is released"
        return f"held by {self.by} since {self.since}, {end}: {self.reason}"


def of(states: Mapping[str, Any]) -> Hold | None:
    """The hold among a backup's states that is in force now."""
    value = states.get(STATE)
    if value is None:
        return None
    found = Hold(**value)
    over = found.until is not None and parse(found.until) <= utc_now()
    return None if over else found


def check(service: Service, states: Mapping[str, Any]) -> None:
    """Raise Held where a backup with these states is held."""
    found = of(states)
    if found is not None:
        raise Held(f"{service.name}: the backup is {found.words()}; nothing was written")


def place(backup: Store, reason: str, *, by: str, until: datetime | None, run: SyncResult) -> Hold:
    """Hold the backup, and return when no run writes to it any more.

    ``until``: aware. Raises ConfigurationError for a backup that was never initialised or an end that is past, PairingRefused
    where it is another service's, and LockHeld while a run that began before goes on; the hold is there by then.
    """
    if until is not None and until <= utc_now():
        raise ConfigurationError(
            f"{backup.service.name}: the hold would be over already; name a later 'until', or none"
        )
    pairing.check_ours(backup)
    found = Hold(reason, by, iso(utc_now().replace(microsecond=0)) or "", iso(until))
    backup.journal.keep_state(STATE, asdict(found))
    try:
        with backup.lock.hold(run, backup.service.lock_wait_seconds):
            return found
    except LockHeld as error:
        raise LockHeld(f"the hold is in place, but one run still goes on: {error}") from None


def release(backup: Store) -> Hold | None:
    """Let runs write again. Returns the hold that was there, in force or not. Raises as :func:`place` does."""
    states = pairing.check_ours(backup)
    if STATE not in states:
        return None
    backup.journal.keep_state(STATE, None)
    return Hold(**states[STATE])

"""What one run of one service did: plain data that travels through XCom, logs and history."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from backup_sync.model.moments import iso, parse, utc_now

PENDING, IN_PROGRESS, COMPLETED, FAILED, HELD = "Pending", "InProgress", "Completed", "Failed", "Held"

PAIRING_CHECKED, PAIRING_REFUSED = "checked", "refused"

# Fixed once and for all: SyncIds made from it must stay the same across releases.
_NAMESPACE = uuid.UUID("6f0f5b52-2c2c-5d5b-9b7e-5a3c1d0c7e11")


def sync_id(dag_id: str, run_id: str, service: str) -> uuid.UUID:
    """The same run of the same service always has the same id, so a retry finds its own history record."""
    return uuid.uuid5(_NAMESPACE, f"{dag_id}\n{run_id}\n{service}")


@dataclass
class SyncResult:
    """One service in one run.

    ``inserted``, ``updated`` and ``deleted`` count what was really written, over all attempts of the run.
    ``skipped``: records that were left alone. ``withheld``: deletes that the guard would not let through.
    ``rejected``: source records that cannot be copied. ``ahead``: records whose backup stamp was higher than the
    source's; they are among the updated, or among the skipped if the guard stopped them.
    ``request_charge`` (Cosmos request units) and ``throttled`` (429 answers) cover both stores. ``notice``: what a person
    should look at though nothing failed. ``pairing``: whether the backup was found to be this service's (``checked``), or
    another's (``refused``: nothing may be written there, its history included); empty: the run did not get that far.
    ``mode``: what was special about the run, in words (``forced``, ``allowed 50 deletes``, ``planned`` …). ``started_by``: what
    started it (``scheduled``, ``manual by anna`` …). ``help``: for a failure, the page of the docs that says what to do.
    ``run_number``: its place among the runs that wrote to this backup; 0: it did not get that far. ``drift``: records whose
    content was found to differ though no sync would see it. ``verified``: what comparing the whole content found
    (:meth:`backup_sync.model.verdicts.Verified.to_value`); ``verified_share``: how much of the records was compared so at
    least once, 0..1, and ``verified_since``: all of them since then; None: not all yet. ``restorable_since``: when the run ended
    that left the oldest state that can be restored; None: there is no history of records. ``undo_entries``: how many entries
    it has. ``sync_dag``: the DAG that syncs this service; messages name it in the commands that they suggest. ``question``: what a person may be asked who would let the withheld deletes
    through (:func:`backup_sync.walk.withheld.question`); None: nothing, or it is not for an allowance to decide.
    """

    sync_id: uuid.UUID
    service_name: str
    status: str = PENDING
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    withheld: int = 0
    rejected: int = 0
    ahead: int = 0
    started_at: datetime = field(default_factory=utc_now)
    completed_at: datetime | None = None
    error_message: str | None = None
    attempt: int = 1
    run_id: str = ""
    dry_run: bool = False
    request_charge: float = 0.0
    throttled: int = 0
    notice: str | None = None
    pairing: str = ""
    mode: str = ""
    started_by: str = ""
    help: str = ""
    run_number: int = 0
    drift: int = 0
    verified: dict[str, Any] | None = None
    verified_share: float = 0.0
    verified_since: datetime | None = None
    restorable_since: datetime | None = None
    undo_entries: int | None = None
    sync_dag: str = "backup_sync"
    question: dict[str, Any] | None = None

    @property
    def total_processed(self) -> int:
        """Records written: inserted + updated + deleted."""
        return self.inserted + self.updated + self.deleted

    @property
    def success(self) -> bool:
        return self.status == COMPLETED

    def complete(self) -> None:
        self.status, self.completed_at, self.error_message = COMPLETED, utc_now(), None

    def fail(self, message: str) -> None:
        self.status, self.completed_at, self.error_message = FAILED, utc_now(), message

    def hold(self, reason: str) -> None:
        """Nothing was done, and on purpose."""
        self.status, self.completed_at, self.error_message, self.notice = HELD, utc_now(), None, reason

    def note(self, text: str) -> None:
        """Add to the notice; an empty text adds nothing."""
        self.notice = "; ".join(filter(None, [self.notice, text])) or None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, in the names that the summary and the REST API show (``InsertedCount`` …)."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, datetime):
                value = iso(value)
            elif isinstance(value, uuid.UUID):
                value = str(value)
            out[_public(item.name)] = value
        out["TotalProcessed"] = self.total_processed
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SyncResult:
        """The inverse of :meth:`to_dict`."""
        values = {item.name: data[_public(item.name)] for item in fields(cls) if _public(item.name) in data}
        values["sync_id"] = uuid.UUID(values["sync_id"])
        for name in ("started_at", "completed_at", "verified_since", "restorable_since"):
            if values.get(name):
                values[name] = parse(values[name])
        return cls(**values)


def status_of(success: bool, completed_at: Any, error_message: str | None) -> str:
    """The status of a run according to its history record."""
    if success:
        return COMPLETED
    if completed_at is None:
        return IN_PROGRESS
    return FAILED if error_message is not None else HELD


_COUNTS = {"inserted", "updated", "deleted", "skipped", "withheld", "rejected", "ahead", "throttled", "drift"}


def _public(name: str) -> str:
    pascal = "".join(part.capitalize() for part in name.split("_"))
    return f"{pascal}Count" if name in _COUNTS else pascal

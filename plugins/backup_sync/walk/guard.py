"""How much loss is too much.

A mirror that copies an accident is no backup: an emptied, half-restored or mis-filtered source looks exactly like a lot
of deletes, and a source restored from an old copy like a lot of records with lower stamps. So a run finds everything out
first, all that the backup would lose by it is judged together, and what is withheld stays withheld (``withheld.py``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from backup_sync.model.errors import BackupSyncError, DeletesWithheld, SetBackWithheld, TooManyRejected, UpdatesWithheld
from backup_sync.model.loss import LossLimits

MOST_UPDATES = 0.5
MOST_UPDATES_FROM = 1_000
"""A run that changes more than this share of a backup of more than so many records says so."""

FOREIGN = 1 / 3
"""Where losses are too many and more than this share of the source is new or other to the backup, it is another data set."""


@dataclass(frozen=True)
class Findings:
    """What a comparison came up with, in records; nothing of it has been written.

    ``source`` and ``target``: how many each side holds. ``updates``: without those that are ahead, or only fill in a new
    column. ``held`` and
    ``held_ahead``: of the deletes and of those ahead, records that an earlier run withheld; ``since``: that run.
    """

    source: int
    target: int
    inserts: int = 0
    updates: int = 0
    ahead: int = 0
    deletes: int = 0
    held: int = 0
    held_ahead: int = 0
    since: str = ""


@dataclass(frozen=True)
class Verdict:
    """``problem``: what the run has to raise in the end; None: all may be written. ``writes``: whether the inserts and
    updates may be written all the same."""

    problem: BackupSyncError | None = None
    writes: bool = True


def judge(
    service: str,
    limits: LossLimits,
    found: Findings,
    *,
    allow_deletes: int | None,
    force: bool,
    dag: str = "backup_sync",
) -> Verdict:
    """Whether the backup may lose what a run found.

    ``allow_deletes``: so many deletes were allowed by a person, and no more; never those of an empty source.
    ``force``: a person asked for every record to be rewritten, so that none is ahead and updates say nothing.
    """
    updates = 0 if force else found.updates
    losses = found.ahead + found.deletes
    foreign = found.inserts + updates + found.ahead > FOREIGN * found.source

    def nothing_left(losses: int) -> bool:
        # Half gone and half changed is a night of a tiny table, unless others came in their place.
        return bool(losses) and losses + updates >= found.target and losses + bool(found.inserts) > updates

    other = nothing_left(losses) or (foreign and limits.exceeded(losses, found.target))

    def deletes(reason: str) -> Verdict:
        told = "nothing was written" if other else "inserts and updates were applied"
        if not found.source:
            told = "nothing was deleted"
        set_back = f" and {found.ahead} records that are newer in the backup" if found.ahead else ""
        call = _call(dag, service, allow_deletes=found.deletes, **({"force": True} if found.ahead else {}))
        way = (
            "A source that reads as empty never empties its backup: find out what happened to it"
            if not found.source
            else f"If the records are really gone, run once with allow_deletes={found.deletes}: {call}"
        )
        return Verdict(
            DeletesWithheld(
                f"{service}: withheld {found.deletes} deletes{set_back} from a backup of {found.target} records because "
                f"{reason}; {told}. {way}"
            ),
            writes=not other,
        )

    def set_back(reason: str) -> Verdict:
        told = "nothing was written" if other else "they were left alone and nothing was deleted"
        also = {"allow_deletes": found.deletes} if found.deletes else {}
        return Verdict(
            SetBackWithheld(
                f"{service}: {found.ahead} records of the backup are newer than the source's, {reason}; {told}. If the source "
                f"is right, run once with force=true: {_call(dag, service, force=True, **also)}; if the backup is, restore the source "
                "from it"
            ),
            writes=not other,
        )

    if found.deletes and not found.source:
        return deletes("the source reads as empty")
    if found.held_ahead:
        return set_back(f"and {found.held_ahead} of them were withheld before (since {found.since})")
    if limits.exceeded(found.ahead, found.target):
        return set_back(
            f"which is {limits.words(found.ahead, found.target)}, as if the source had been restored from an old copy"
        )
    allowed = allow_deletes is not None and found.deletes <= allow_deletes
    if allow_deletes is not None and not allowed:
        return deletes(f"this run may delete {allow_deletes} at most")
    if found.held and not allowed:
        return deletes(f"{found.held} of them were withheld before (since {found.since}) and are still gone")
    losses -= found.deletes if allowed else 0
    if limits.exceeded(losses, found.target):
        together = ", together with the records that are newer in the backup" if found.ahead else ""
        return deletes(f"that is {limits.words(losses, found.target)}{together}")
    if nothing_left(losses):
        reason = "the run would leave nothing of the backup as it is"
        return deletes(reason) if found.deletes else set_back(f"and {reason}")
    if limits.ask_updates and not force and many_updates(found.updates, found.target):
        return Verdict(
            UpdatesWithheld(
                f"{service}: {found.updates} of {found.target} records of the backup would change at once, and guard.updates of "
                f"the service is withhold; nothing was written. If the change is meant, run once with force=true: "
                f"{_call(dag, service, force=True, **({'allow_deletes': found.deletes} if found.deletes else {}))}"
            ),
            writes=False,
        )
    return Verdict()


def many_updates(updates: int, backup: int) -> bool:
    """Whether a run changes so much of a backup that a person should know (an UPDATE without WHERE, ransomware)."""
    return backup > MOST_UPDATES_FROM and updates > MOST_UPDATES * backup


def check_rejected(service: str, read: int, rejected: int, limits: LossLimits) -> None:
    """Raise TooManyRejected if none of ``read`` source records could be copied, or too many could not."""
    if rejected and (rejected >= read or limits.exceeded(rejected, read)):
        how_many = "none" if rejected >= read else f"{rejected}"
        raise TooManyRejected(
            f"{service}: {how_many} of the source's {read} records {'could' if rejected >= read else 'could not'} be copied; "
            "the log names them and says why; mend them in the source or raise 'rejects' of the service. Nothing "
            "was deleted"
        )


def _call(dag: str, service: str, **parameters: object) -> str:
    """The call that makes an exception for one run, as it is typed."""
    return f"airflow dags trigger {dag} --conf '{json.dumps({'service': service, **parameters})}'"

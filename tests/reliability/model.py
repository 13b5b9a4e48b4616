"""What a run has to leave behind, said in a few lines that know nothing of cuts, digests, batches or drivers."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from backup_sync.model.errors import BackupSyncError, DeletesWithheld, SetBackWithheld

GUARD = {"share": 0.2, "count": 3, "ceiling": 9}
Content = dict[int, tuple[int, str | None]]


@dataclass(frozen=True)
class Held:
    """Keys that the guard withheld: as deletes, and as records that are newer in the backup."""

    deletes: frozenset[int] = frozenset()
    ahead: frozenset[int] = frozenset()


NOTHING_HELD = Held()


@dataclass
class Plan:
    """What a run should do, from what the two sides hold and what was withheld before."""

    after: Content
    held: Held
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    ahead: int = 0
    withheld: int = 0
    problem: type[BackupSyncError] | None = None


def plan(
    source: Content,
    backup: Content,
    *,
    held: Held = NOTHING_HELD,
    force: bool = False,
    allow: int | None = None,
    done: Set[int] = frozenset(),
    watches_text: bool = False,
    unfilled: Set[int] = frozenset(),
    whole: bool = False,
    by_content: bool = False,
) -> Plan:
    """``done``: keys that were written since the run began, which its retry need not force again. ``watches_text``:
    another text is a change as well. ``unfilled``: keys whose copies lack a column, which is no reason for doubt.
    ``whole``: whole records are compared, so that this is a change as any other.
    ``by_content``: that is all there is to compare, so that nothing is ahead."""
    both = source.keys() & backup.keys()
    inserts, gone = source.keys() - backup.keys(), backup.keys() - source.keys()
    ahead = {key for key in both if source[key][0] < backup[key][0] and not (force or by_content)}
    changed = {key for key in both - ahead if source[key][0] > backup[key][0]}
    if by_content:
        changed = {key for key in both if source[key] != backup[key]}
    if watches_text:
        changed |= {key for key in both - ahead if source[key][1] != backup[key][1]}
    told = set() if by_content else set(changed)
    if whole:
        changed |= {key for key in both - ahead if source[key][1] != backup[key][1]}
    # What is filled in differs in its content as well, and nobody can tell whether it differs otherwise.
    updates = len(changed - (unfilled - told if whole else frozenset()))
    changed |= unfilled & both - ahead
    if force:
        updates = 0  # what changes by order of a person says nothing of the source
        changed = {
            key
            for key in both
            if not (key in done and stamp(source, key, watches_text) == stamp(backup, key, watches_text))
        }

    def many(found: int) -> bool:
        return found > GUARD["count"] and (found > GUARD["share"] * len(backup) or found > GUARD["ceiling"])

    foreign = 3 * (len(inserts) + updates + len(ahead)) > len(source)

    def leaves_nothing(losses: int) -> bool:
        return bool(losses) and losses + updates >= len(backup) and losses + bool(inserts) > updates

    nothing = leaves_nothing(len(ahead) + len(gone)) or (foreign and many(len(ahead) + len(gone)))
    problem: type[BackupSyncError] | None = None
    allowed = allow is not None and len(gone) <= allow
    losses = len(ahead) + (0 if allowed else len(gone))
    if gone and not source:
        problem = DeletesWithheld
    elif ahead & held.ahead or many(len(ahead)):
        problem = SetBackWithheld
    elif (allow is not None and not allowed) or (gone & held.deletes and not allowed) or many(losses):
        problem = DeletesWithheld
    elif leaves_nothing(losses):
        problem = DeletesWithheld if gone else SetBackWithheld

    made = Plan(dict(backup), held, ahead=len(ahead), problem=problem)
    writes: set[int] = set()
    if problem is None:
        writes = inserts | changed | ahead
        made.deleted, made.held = len(gone), Held()
        for key in gone:
            del made.after[key]
    else:
        made.withheld, made.held = len(gone), Held(frozenset(gone), frozenset(ahead))
        if not nothing:
            writes = inserts | changed
    made.inserted = len(writes & inserts)
    made.updated = len(writes - inserts)
    made.skipped = len(source) - len(writes)
    made.after.update({key: source[key] for key in writes})
    return made


def stamp(content: Content, key: int, watches_text: bool) -> tuple[Any, ...]:
    return content[key] if watches_text else content[key][:1]

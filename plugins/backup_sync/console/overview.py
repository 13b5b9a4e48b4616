"""What is known of all services, in a few queries for each DAG, however many services and runs it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy.orm import Session

from backup_sync.console import declared, runs
from backup_sync.console.board import RUNNING, Attempt, Known
from backup_sync.console.declared import DRILL, VERIFY, Declared
from backup_sync.model.traces import alias_of, drill_of

FIRST, MORE, MOST = 3, 50, 1_000
"""Runs of a DAG that are looked at first, in each further step, and at all. Those that skipped all that is asked for do not count."""


def known(session: Session, readable: Collection[str], only: str | None = None) -> list[Known]:
    """Of each service that may be looked at, or of the one called ``only``."""
    found = [one for one in declared.services(session, readable) if only in (None, one.service)]
    names = [one.service for one in found]
    # An asset of somebody else may be called as the alias of a service is; it says nothing of the backup.
    events = runs.newest_events(session, list(map(alias_of, names)), list(map(drill_of, names)))
    syncs: dict[str, list[Attempt]] = {}
    for dag_id in {one.dag_id for one in found}:
        syncs |= _newest(session, dag_id, [one for one in found if one.dag_id == dag_id])
    verifies = _newest(session, VERIFY, found) if VERIFY in readable else {}
    return [
        Known(
            service=one.service,
            dag_id=one.dag_id,
            promise=one.promise,
            paused=one.paused,
            success=events.get(alias_of(one.service)),
            attempt=_first(syncs.get(one.service, ()), running=False),
            running=_first(syncs.get(one.service, ()), running=True),
            verify=_first(verifies.get(one.service, ()), running=False),
            drill=events.get(drill_of(one.service)) if DRILL in readable else None,
        )
        for one in found
    ]


def _newest(session: Session, dag_id: str, wanted: Collection[Declared]) -> dict[str, list[Attempt]]:
    """The newest runs of each service, newest first, back to one that settles how it is. A run that was for other services says
    nothing of this one, so it takes as many runs as it takes."""
    open_ = {one.service for one in wanted}
    found: dict[str, list[Attempt]] = {}
    before, seen, step = None, 0, FIRST
    while open_ and seen < MOST:
        tasks = runs.tasks_of(open_)
        rows = runs.runs(session, [dag_id], step, before=before, of=tasks)
        if not rows:
            break
        attempts = runs.attempts(session, rows, tasks)
        for row in rows:
            for service in sorted(open_):
                attempt = attempts.get((row.id, service))
                if attempt is None or not attempt.counts:
                    continue
                found.setdefault(service, []).append(attempt)
                if attempt.settles:
                    open_.discard(service)
        before, seen, step = rows[-1].id, seen + len(rows), MORE
    return found


def _first(attempts: Iterable[Attempt], *, running: bool) -> Attempt | None:
    return next((one for one in attempts if (one.state == RUNNING if running else one.settles)), None)

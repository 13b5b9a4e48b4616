"""What a backup knows of what it is a backup of.

The first ``initialize`` writes the *pairing* beside the history: the service, what identifies source and backup by their
servers' own words, and the service's definition. Every later writer has to match it. Connections are
settings that people mistype, swap and copy between environments, and a mirror follows them blindly.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from backup_sync.model.errors import ConfigurationError, PairingRefused
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.names import without_case
from backup_sync.model.service import Service
from backup_sync.stores.base import Identity, Store

log = logging.getLogger(__name__)

STATE = "pairing"
"""Its name among the backup's states."""

WHERE_SINCE = "whereSince"
"""In a pairing whose 'where' was another one before: the first sync that ended with this one, by its number; None: none has yet."""

REMEMBERED_RUNS = 100
"""Runs that have accepted another source and may not do so again."""


def check(source: Store, backup: Store, states: Mapping[str, Any], *, accept: bool = False, run_id: str = "") -> bool:
    """Whether the pairing has to be written, because there is none yet or it changed; False: it stands as it is.

    Writes nothing. ``states``: those of the backup (:func:`states_of`). ``accept``: the run called ``run_id`` may accept what
    differs; once, so that neither its retry nor clearing it later accepts what is behind the connections
    *then*.

    Raises PairingRefused, in one sentence that says what differs, unless the backup is this service's copy of this source,
    or is empty, or was made by an earlier version of this package for this service.
    """
    service = backup.service
    if backup.catalog.is_at(source.catalog):
        raise PairingRefused(
            f"{service.name}: connections {source.label} and {backup.label} lead to the same place, {_place(source.catalog.identity())}; "
            "a store cannot be its own backup"
        )
    if not backup.catalog.exists():
        check_mask(source, backup, states)
        return True
    recorded = states.get(STATE)
    if recorded is None:
        if accept or backup.catalog.vacant() or backup.journal.has_success():
            check_mask(source, backup, states)
            return True
        raise PairingRefused(
            f"{backup.label}: what is there at {_place(backup.catalog.identity())} was not made by backup_sync for service "
            f"{service.name}, and is not empty; does the connection point at an operational store? If it is to be written "
            "over all the same, run backup_initialize once with accept_source=true"
        )
    found = _differences(recorded, source, backup)
    spent = run_id in recorded["acceptedBy"]
    if found and (spent or not accept):
        again = " (this run has accepted another one before; start a new run to accept this one)" if accept else ""
        raise PairingRefused(
            f"{backup.label}: the backup at {_place(backup.catalog.identity())} is not the one of this source and service: "
            f"{'; '.join(found)}. Correct the connection or the services file; if the change is meant, run "
            f"backup_initialize once with accept_source=true{again}"
        )
    # Last: it says what to drop, which has to be this service's.
    masked_anew = check_mask(source, backup, states)
    if found:
        log.warning("%s: accepted another source for this run: %s", backup.label, "; ".join(found))
    return bool(found) or masked_anew or _tells_more(_value(source, backup), recorded)


def check_source(source: Store, backup: Store) -> None:
    """Raise PairingRefused if the source is itself a backup: the connections are swapped, most likely.

    Asked before a first pairing. A place that was written by mistake may hold a history of ours, and looks like a backup.
    """
    if STATE in states_of(source):
        raise PairingRefused(
            f"{source.label}: what is there at {_place(source.catalog.identity())} is itself a backup made by backup_sync, and not a "
            f"source; are connections {source.label} and {backup.label} of service {backup.service.name} swapped?"
        )


def is_of(service: str, states: Mapping[str, Any]) -> bool:
    """Whether a backup with these states was paired for this service, whatever its source is."""
    return STATE in states and states[STATE]["service"] == service


def accepted_by(run_id: str, states: Mapping[str, Any]) -> bool:
    """Whether the run of this id accepted another source for the backup."""
    return run_id in states.get(STATE, {}).get("acceptedBy", [])


def states_of(store: Store) -> Mapping[str, Any]:
    """What a store remembers of its copy; nothing where its database is not there yet."""
    return store.journal.states() if store.catalog.identity() else {}


def write(source: Store, backup: Store, seen: Mapping[str, Any], *, accepted_by: str = "") -> None:
    """Write down what belongs together from now on.

    ``seen``: the states that were checked. Raises PairingRefused if somebody else paired the backup since then.
    """
    before = seen.get(STATE)
    value = {**_value(source, backup), "pairedAt": iso(utc_now()), "acceptedBy": [accepted_by] if accepted_by else []}
    if before is None:
        if not backup.journal.keep_state(STATE, value, new=True):
            check(source, backup, backup.journal.states())
        return
    if backup.journal.states().get(STATE) != before:
        check(source, backup, backup.journal.states())
        return
    if _typed(before["definition"]["where"]) != _typed(value["definition"]["where"]):
        value[WHERE_SINCE] = None
    elif WHERE_SINCE in before:
        value[WHERE_SINCE] = before[WHERE_SINCE]
    value["acceptedBy"] = [*before["acceptedBy"], *value["acceptedBy"]][-REMEMBERED_RUNS:]
    for end in ("source", "backup"):  # what a server does not say tonight is kept
        value[end] = {**before[end], **{name: said for name, said in value[end].items() if said is not None}}
    backup.journal.keep_state(STATE, value)


def _value(source: Store, backup: Store) -> dict[str, Any]:
    return {
        "service": backup.service.name,
        "kind": backup.kind,
        "source": dict(source.catalog.identity()),
        "backup": dict(backup.catalog.identity()),
        "definition": _definition(source, backup.service),
    }


def _masks(source: Store, service: Service) -> dict[str, str]:
    """Column → how it is masked, and by which key."""
    return {
        name: f"hash {source.mask_print}" if kind == "hash" else kind for name, kind in sorted(service.mask.items())
    }


def masked(states: Mapping[str, Any]) -> Mapping[str, str]:
    """The columns whose values the backup was never given, as the services file called them."""
    found: Mapping[str, str] = states.get(STATE, {}).get("definition", {}).get("mask", {})
    return found


def check_mask(source: Store, backup: Store, states: Mapping[str, Any]) -> bool:
    """Whether columns are masked otherwise than was written down.

    Raises PairingRefused if so while the copy or one of its histories still holds them as they were; nobody can accept that.
    """
    service = backup.service
    before = {without_case(name): kind for name, kind in masked(states).items()}
    now = {without_case(name): kind for name, kind in _masks(source, service).items()}
    excluded = set(map(without_case, service.exclude))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name) and name not in excluded]
    if names and backup.holding and (tables := backup.holding(names)):
        raise PairingRefused(
            f"{backup.label}: 'mask' or its key is another one than when {', '.join(tables)} there {'was' if len(tables) == 1 else 'were'} "
            f"filled, so that {', '.join(names)} is held otherwise; drop {'it' if len(tables) == 1 else 'them'} and run "
            "backup_initialize, which begins anew"
        )
    return bool(names)


def where_held(backup: Store, states: Mapping[str, Any], number: int | None) -> bool:
    """Whether the state at the end of a run (None: the backup as it is) was made with the 'where' that the services file has now.
    If not, what it lacks may never have been asked for."""
    recorded = states[STATE]
    if _typed(recorded["definition"]["where"]) != _typed(dict(backup.service.where)):
        return False
    since = recorded.get(WHERE_SINCE, 0)
    return since is not None and (number is None or number >= since)


def where_used(backup: Store, seen: Mapping[str, Any], number: int) -> None:
    """The sync of this number brought the copy in step with its source by the 'where' that the pairing has. ``seen``: the states
    as it began."""
    if seen.get(STATE, {}).get(WHERE_SINCE, 0) is None:
        backup.journal.keep_state(STATE, {**backup.journal.states()[STATE], WHERE_SINCE: number})


def _tells_more(now: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether the ends say something about themselves that was not written down."""
    return any(
        said is not None and recorded[end].get(name) != said
        for end in ("source", "backup")
        for name, said in now[end].items()
    )


def _definition(source: Store, service: Service) -> dict[str, Any]:
    """What decides which records belong into the copy, by which key, and what it must not hold."""
    masks = {"mask": _masks(source, service)} if service.mask else {}
    return {
        **masks,
        "table": service.table,
        "container": service.container,
        "key": sorted(service.key) if service.key else None,
        "where": dict(sorted(service.where.items())),
    }


def _differences(recorded: Mapping[str, Any], source: Store, backup: Store) -> list[str]:
    """What sets the two ends and the service apart from what was written down, in words."""
    now = _value(source, backup)
    found = []
    if recorded["service"] != now["service"]:
        found.append(f"it belongs to service {recorded['service']}, and this is service {now['service']}")
    if recorded["kind"] != now["kind"]:
        found.append(f"it was made from {recorded['kind']}, and this is {now['kind']}")
    else:
        for end, store in (("source", source), ("backup", backup)):
            if not store.catalog.same(recorded[end], now[end]):
                found.append(
                    f"its {end} was {_place(recorded[end])}, and {store.label} leads to {_place(now[end], recorded[end])}"
                )
    before, after = recorded["definition"], now["definition"]
    if before["key"] != after["key"]:
        found.append(f"its key was {_listed(before['key'])}, and is {_listed(after['key'])} now")
    if _typed(before["where"]) != _typed(after["where"]):
        lost = (
            "rows that are not in this one would leave the copy"
            if after["table"]
            else "the documents of that one would be stranded"
        )
        found.append(f"its 'where' was another one, and {lost}")
    return found


def _typed(where: Mapping[str, Any]) -> str:
    """As JSON, which knows true from 1; in Python they are equal."""
    return json.dumps(where, sort_keys=True)


def _listed(key: list[str] | None) -> str:
    return ", ".join(key) if key else "the primary key"


def _place(identity: Identity, other: Identity | None = None) -> str:
    """An identity in words; with another one only what is not the same there, and the first word."""
    items = list(identity.items())
    shown = [(n, v) for n, v in items if v is not None and (other is None or n == items[0][0] or other.get(n) != v)]
    return ", ".join(f"{name} {value}" for name, value in shown) or "a place that does not exist yet"


def check_ours(backup: Store) -> Mapping[str, Any]:
    """The states of the backup, for certain of this service. Asks nothing of the source: it may be what went wrong.

    Raises ConfigurationError for a backup that was never initialised, and PairingRefused where it is another service's.
    """
    service = backup.service
    states = states_of(backup)
    recorded = states.get(STATE)
    if recorded is None:
        raise ConfigurationError(
            f"{backup.label}: the backup of {service.name} was never initialised; run the DAG backup_initialize first"
        )
    if recorded["service"] != service.name:
        raise PairingRefused(
            f"{backup.label}: the backup there belongs to service {recorded['service']}, and this is service {service.name}"
        )
    return states

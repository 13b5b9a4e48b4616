"""Operations on single documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import charges
from .containers import Container, resource_id
from .errors import bad_request, check_request_size, not_found, precondition_failed
from .hashes import UNDEFINED
from .jsontext import MAX_DEPTH, SYSTEM_PROPERTIES, Member, members, plain, too_deep
from .partition import canonical
from .rules import check_ttl
from .storage import Resource, Store


@dataclass
class Outcome:
    """What became of an operation; `resource` is the document read or written."""

    status: int
    resource: Resource | None
    charge: float
    epk: str
    etag: str = ""


@dataclass
class Conditions:
    """The etags that a request asks to find (`match`) or not to find (`none_match`)."""

    match: str | None = None
    none_match: str | None = None

    def check(self, found: Resource) -> None:
        """412 if the stored document is not the one the client expects."""
        if self.match and self.match not in ("*", found.etag):
            raise precondition_failed()
        if self.none_match and self.none_match in ("*", found.etag):
            raise precondition_failed()


def create(store: Store, container: Container, key: str | None, body: str) -> Outcome:
    """Store a new document; 409 if there is one of its id in its logical partition."""
    return _inserted(store, container, *_accepted(container, key, body))


def upsert(store: Store, container: Container, key: str | None, body: str, conditions: Conditions) -> Outcome:
    """Store a document, new or in place of the one of its id."""
    parts, components = _accepted(container, key, body)
    old = store.get(container.seq, canonical(components), resource_id(parts))
    if old is None:
        return _inserted(store, container, parts, components)
    return _written(store, container, old, parts, conditions)


def replace(
    store: Store, container: Container, key: str | None, name: str, body: str, conditions: Conditions
) -> Outcome:
    """Store a document in place of the one of that id; 404 if there is none."""
    parts, components = _accepted(container, key, body)
    old = _found(store, container, components, name)
    return _written(store, container, old, parts, conditions)


def read(store: Store, container: Container, key: str | None, name: str, none_match: str | None = None) -> Outcome:
    """One document; 304 without a body if the client has this version already."""
    components = _addressed(container, key)
    found = _found(store, container, components, name)
    if none_match and none_match in ("*", found.etag):
        return Outcome(304, None, charges.MISS, found.epk, found.etag)
    return Outcome(200, found, charges.read(len(found.body)), found.epk, found.etag)


def delete(store: Store, container: Container, key: str | None, name: str, conditions: Conditions) -> Outcome:
    """Remove a document; 404 if there is none."""
    found = _found(store, container, _addressed(container, key), name)
    conditions.check(found)
    store.delete(found)
    return Outcome(204, None, charges.write(len(found.body)), found.epk)


def put_raw(store: Store, container: Container, body: str) -> Resource:
    """Store an object as it is, without any rule about its id or partition key, to have damaged input to test with."""
    parts = members(plain(body))
    components = container.key.extract({name: member.value for name, member in parts.items()})
    name = parts["id"].value if "id" in parts else None
    place = container.place(container.key.effective(components), canonical(components))
    id_ = name if isinstance(name, str) else None
    old = store.get(container.seq, place.pk, id_) if id_ is not None else None
    with store.transaction():
        if old is not None:
            store.delete(old)
        return store.insert(place, id_, _texts(parts))


def _inserted(store: Store, container: Container, parts: dict[str, Member], components: list[Any]) -> Outcome:
    epk = container.key.effective(components)
    place = container.place(epk, canonical(components))
    with store.transaction():
        made = store.insert(place, resource_id(parts), _texts(parts))
        _hold_unique(store, container, made, parts)
    return Outcome(201, made, charges.write(len(made.body)), epk, made.etag)


def _written(
    store: Store, container: Container, old: Resource, parts: dict[str, Member], conditions: Conditions
) -> Outcome:
    conditions.check(old)
    with store.transaction():
        changed = store.update(old, container.place(old.epk, old.pk), resource_id(parts), _texts(parts))
        _hold_unique(store, container, changed, parts)
    return Outcome(200, changed, charges.write(len(changed.body), replaces=True), old.epk, changed.etag)


def _hold_unique(store: Store, container: Container, written: Resource, parts: dict[str, Member]) -> None:
    if container.unique:
        store.hold(written, container.unique.values({name: member.value for name, member in parts.items()}))


def _found(store: Store, container: Container, components: list[Any], name: str) -> Resource:
    found = store.get(container.seq, canonical(components), name)
    if found is None:
        raise not_found()
    return found


def check_size(body: str) -> None:
    """Raises what the service answers to a document, or to a whole batch, that is too large."""
    check_request_size(len(body.encode()))


def _accepted(container: Container, key: str | None, body: str) -> tuple[dict[str, Member], list[Any]]:
    """The parts and the partition key of a document to be written, if it keeps the rules."""
    text = plain(body)
    check_size(text)
    if too_deep(text):
        raise bad_request(f"The document is nested deeper than {MAX_DEPTH} levels.")
    parts = members(text)
    resource_id(parts)
    document = {name: member.value for name, member in parts.items()}
    if container.default_ttl is not None:
        check_ttl(document)
    components = container.key.extract(document)
    if key is None:
        raise bad_request("PartitionKey value must be supplied for this operation.")
    if canonical(container.key.parse(key) or []) != canonical(components):
        raise bad_request("PartitionKey extracted from document doesn't match the one specified in the header.", 1001)
    return parts, components


def _addressed(container: Container, key: str | None) -> list[Any]:
    if key is None:
        raise bad_request("PartitionKey value must be supplied for this operation.")
    components = container.key.parse(key)
    if components is None:
        components = [UNDEFINED] * len(container.key.paths)
    if not container.key.covers(components):
        raise bad_request("Partition key provided either doesn't correspond to definition in the collection.", 1001)
    return components


def _texts(parts: dict[str, Member]) -> dict[str, str]:
    return {name: member.text for name, member in parts.items() if name not in SYSTEM_PROPERTIES}

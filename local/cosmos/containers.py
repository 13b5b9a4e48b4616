"""Databases and containers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import OWNER_NOT_FOUND, bad_request, conflict, not_found
from .jsontext import dumps, loads, members
from .partition import PartitionKey
from .rules import UNIQUE_KEYS_ARE_FIXED, UniqueKeys, check_default_ttl
from .storage import ACCOUNT, Place, Resource, Store

_DEFAULTS: dict[str, Any] = {
    "indexingPolicy": {
        "indexingMode": "consistent",
        "automatic": True,
        "includedPaths": [{"path": "/*"}],
        "excludedPaths": [{"path": '/"_etag"/?'}],
    },
    "conflictResolutionPolicy": {
        "mode": "LastWriterWins",
        "conflictResolutionPath": "/_ts",
        "conflictResolutionProcedure": "",
    },
    "geospatialConfig": {"type": "Geography"},
}
# https://learn.microsoft.com/azure/cosmos-db/concepts-limits
_MAX_NAME = 255


@dataclass
class Container:
    """A container as its documents' operations need it."""

    resource: Resource
    path: str
    self_link: str
    key: PartitionKey
    unique: UniqueKeys
    default_ttl: int | None
    composites: list[list[tuple[str, bool]]]

    @property
    def seq(self) -> int:
        """The owner number of its documents."""
        return self.resource.seq

    @property
    def rid(self) -> str:
        """Its resource id."""
        return self.resource.rid

    def place(self, epk: str, pk: str) -> Place:
        """The place of a document in this container."""
        return Place(self.seq, self.rid, self.self_link, "docs", epk, pk)


class Containers:
    """Reads and changes databases and containers."""

    def __init__(self, store: Store):
        self._store = store
        self._known: dict[tuple[str, str], Container] = {}

    def database(self, name: str, sub_status: int = OWNER_NOT_FOUND) -> Resource:
        """A database by its id; 404 with that sub-status (0 where the request is about the database itself)."""
        found = self._store.get(ACCOUNT, "", name)
        if found is None:
            raise not_found(f"{'Owner resource' if sub_status else 'Resource'} does not exist: database.", sub_status)
        return found

    def container(self, database: str, name: str, sub_status: int = OWNER_NOT_FOUND) -> Container:
        """A container by its ids; 404 with that sub-status (0 where the request is about the container itself)."""
        known = self._known.get((database, name))
        if known is None:
            owner = self.database(database)
            found = self._store.get(owner.seq, "", name)
            if found is None:
                raise not_found(
                    f"{'Owner resource' if sub_status else 'Resource'} does not exist: container.", sub_status
                )
            link = f"{_self(owner)}colls/{found.rid}/"
            properties = loads(found.body)
            known = Container(
                found,
                f"dbs/{database}/colls/{name}",
                link,
                PartitionKey(properties["partitionKey"]),
                UniqueKeys(properties.get("uniqueKeyPolicy")),
                properties.get("defaultTtl"),
                _composites(properties["indexingPolicy"]),
            )
            self._known[(database, name)] = known
        return known

    def create_database(self, body: str) -> Resource:
        """A new database; 409 if there is one of that id."""
        parts = members(body)
        name = _named(parts)
        if self._store.get(ACCOUNT, "", name):
            raise conflict()
        return self._store.insert(Place(ACCOUNT, "", "", "dbs"), name, {"id": parts["id"].text})

    def delete_database(self, name: str) -> None:
        """Remove a database and all that is in it."""
        self._store.delete(self.database(name, 0))
        self._known.clear()

    def create_container(self, database: str, body: str) -> Resource:
        """A new container; 409 if there is one of that id."""
        owner = self.database(database)
        parts = members(body)
        name = _named(parts)
        if self._store.get(owner.seq, "", name):
            raise conflict()
        return self._store.insert(Place(owner.seq, owner.rid, _self(owner), "colls"), name, _properties(body))

    def replace_container(self, database: str, name: str, body: str) -> Resource:
        """New properties for a container; its id and partition key stay."""
        old = self.container(database, name, 0)
        parts = members(body)
        if resource_id(parts) != name:
            raise bad_request("The id of a container cannot be changed.")
        given = _properties(body)
        if loads(given["partitionKey"]) != loads(members(old.resource.body)["partitionKey"].text):
            raise bad_request("The partition key of a container cannot be changed.")
        # The SDK cannot send the unique keys along, so that leaving them out does not ask for a change.
        if "uniqueKeyPolicy" in given and UniqueKeys(loads(given["uniqueKeyPolicy"])).policy != old.unique.policy:
            raise bad_request(UNIQUE_KEYS_ARE_FIXED)
        if old.unique:
            given["uniqueKeyPolicy"] = dumps({"uniqueKeys": old.unique.policy})
        owner = self.database(database)
        changed = self._store.update(old.resource, Place(owner.seq, owner.rid, _self(owner), "colls"), name, given)
        self._known.clear()
        return changed

    def delete_container(self, database: str, name: str) -> None:
        """Remove a container and its documents."""
        self._store.delete(self.container(database, name, 0).resource)
        self._known.clear()


def resource_id(parts: dict[str, Any]) -> str:
    """The id of a resource that is to be stored; 400 if there is none or it breaks the rules."""
    if "id" not in parts:
        raise bad_request("The input content is invalid because the required property - id - is missing.")
    value = parts["id"].value
    if not isinstance(value, str) or not value:
        raise bad_request("The input content is invalid because the property id is not a string that names something.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise bad_request("The id holds an unpaired surrogate.") from None
    if size > 1023:
        raise bad_request(f"The id is too long: {size} bytes, where 1023 are allowed.")
    if any(character in value for character in "/\\#?"):
        raise bad_request("The id contains characters that are not allowed: '/', '\\', '#' and '?'.")
    return value


def _named(parts: dict[str, Any]) -> str:
    name = resource_id(parts)
    if len(name) > _MAX_NAME or name.endswith(" "):
        raise bad_request(
            f"The input name is invalid. Ensure to provide a unique non-empty string of at most {_MAX_NAME} characters "
            "that does not end with a blank."
        )
    return name


def _self(database: Resource) -> str:
    return f"dbs/{database.rid}/"


def _properties(body: str) -> dict[str, str]:
    parts = {name: member.text for name, member in members(body).items()}
    definition = loads(parts.get("partitionKey", "null"))
    PartitionKey(definition)
    UniqueKeys(loads(parts.get("uniqueKeyPolicy", "null")))
    if check_default_ttl(loads(parts.get("defaultTtl", "null"))) is None:
        parts.pop("defaultTtl", None)
    parts["partitionKey"] = dumps({"kind": "Hash", **definition})
    for name, value in _DEFAULTS.items():
        parts.setdefault(name, dumps(value))
    return parts


def _composites(policy: Any) -> list[list[tuple[str, bool]]]:
    """The composite indexes: for each its paths, and whether they descend."""
    found = policy.get("compositeIndexes") if isinstance(policy, dict) else None
    return [
        [(str(one.get("path")), one.get("order") == "descending") for one in index if isinstance(one, dict)]
        for index in found or []
    ]

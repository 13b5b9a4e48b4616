"""What an account says of its databases and containers, and making those that are missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from azure.cosmos import PartitionKey

from backup_sync.model.errors import FatalError
from backup_sync.stores.cosmos.account import Connection, CosmosError
from backup_sync.stores.cosmos.documents import Names, names_of


@dataclass(frozen=True)
class ContainerShape:
    """A container's partition key definition; ``kind`` is Hash or MultiHash (hierarchical)."""

    paths: tuple[str, ...]
    kind: str
    version: int

    @property
    def names(self) -> tuple[Names, ...]:
        """The paths as the names of their properties; the same path may be written in more ways than one."""
        return tuple(map(names_of, self.paths))


@dataclass(frozen=True)
class Found:
    """A container that is there. ``documents``: about how many it holds, of all kinds; None: it does not tell.
    ``ttl``: its default time to live in seconds, -1 where only documents have one, None where nothing expires;
    ``unique_keys``: the paths that are to be unique in a partition.

    ``rid`` and ``database_rid``: what the service itself calls it and its database. Either is made anew with what it
    names, so one that was dropped and made again has another.
    """

    shape: ContainerShape
    documents: int | None
    ttl: int | None = None
    unique_keys: tuple[str, ...] = ()
    rid: str | None = None
    database_rid: str | None = None


def find(connection: Connection, container: str) -> Found | None:
    """A container's definition; None if there is no such container or database."""
    handle = connection.container(container)
    try:
        properties = connection.run(connection.call(lambda: handle.read(populate_quota_info=True)))
    except CosmosError as error:
        if error.status == 404:
            return None
        raise connection.unexpected(error, f"reading container {container}") from None
    definition = properties["partitionKey"]
    shape = ContainerShape(
        paths=tuple(definition["paths"]),
        kind=definition.get("kind", "Hash"),
        version=int(definition.get("version") or 1),
    )
    link = str(properties.get("_self") or "").strip("/").split("/")  # dbs/<rid>/colls/<rid>
    database_rid = link[1] if link[0] == "dbs" and len(link) > 1 else None
    unique = (properties.get("uniqueKeyPolicy") or {}).get("uniqueKeys") or ()
    return Found(
        shape,
        documents_in(properties.get_response_headers()),
        ttl=properties.get("defaultTtl"),
        unique_keys=tuple(path for key in unique for path in key["paths"]),
        rid=properties.get("_rid") or None,
        database_rid=database_rid,
    )


def check_keeps(found: Found, label: str, container: str) -> None:
    """Refuse a container in which a copy would not last, or might not be taken: with a time to live or unique keys.

    Even a time to live that is on without a default (-1) makes documents expire that bring a ``ttl`` along
    (https://learn.microsoft.com/azure/cosmos-db/nosql/time-to-live). Unique keys hold between documents as they stand at
    any moment, which those of a copy do not until a run is through. Raises FatalError.
    """
    if found.ttl is not None:
        raise FatalError(
            f"{label}: container {container} has a time to live, so that what is kept in it expires; switch it off in the "
            "container's settings, or name another container"
        )
    if found.unique_keys:
        raise FatalError(
            f"{label}: container {container} has unique keys ({', '.join(found.unique_keys)}), which can refuse copies and "
            "cannot be removed; name another container"
        )


def documents_in(headers: Mapping[str, str]) -> int | None:
    """``documentsCount`` of the header x-ms-resource-usage; None if there is no such number."""
    usage = dict(part.partition("=")[::2] for part in headers.get("x-ms-resource-usage", "").split(";"))
    try:
        return int(usage["documentsCount"])
    except (KeyError, ValueError):
        return None


def database_exists(connection: Connection) -> bool:
    try:
        connection.run(connection.call(lambda: connection.database().read()))
        return True
    except CosmosError as error:
        if error.status == 404:
            return False
        raise connection.unexpected(error, f"reading database {connection.account.database}") from None


def make(connection: Connection, containers: Mapping[str, ContainerShape], *, database: bool) -> None:
    """Make containers, and with ``database`` the database first. What somebody else made meanwhile is left as it is."""
    client = connection.client()
    if database:
        _make(connection, lambda: client.create_database(connection.account.database))
    for name, shape in containers.items():
        # No default TTL: a copy's clock would start anew, and a backup that expires is none.
        paths: Any = list(shape.paths) if shape.kind == "MultiHash" else shape.paths[0]
        kind: Any = shape.kind
        key = PartitionKey(path=paths, kind=kind, version=shape.version)
        _make(connection, partial(connection.database().create_container, name, key))


def _make(connection: Connection, request: Callable[[], Awaitable[Any]]) -> None:
    try:
        connection.run(connection.call(request))
    except CosmosError as error:
        if error.status != 409:
            raise connection.unexpected(error, "creating a database or container") from None

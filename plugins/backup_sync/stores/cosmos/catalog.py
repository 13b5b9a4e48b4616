"""What an account says of its databases and containers, and which of them are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from backup_sync.model.declaring import Declarable
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.service import Service
from backup_sync.stores.base import Met
from backup_sync.stores.cosmos import checks
from backup_sync.stores.cosmos.account import Connection, CosmosError
from backup_sync.stores.cosmos.making import ContainerShape, drop, make
from backup_sync.stores.cosmos.queries import pages, question

HISTORY_SHAPE = ContainerShape(("/serviceName",), "Hash", 2)


@dataclass(frozen=True)
class Found:
    """A container that is there. ``documents``: about how many it holds, of all kinds; None: it does not say.
    ``ttl``: its default time to live in seconds, -1 where only documents have one, None where nothing expires;
    ``unique_keys``: the paths that are to be unique in a partition.

    ``rid`` and ``database_rid``: the service's own ids of it and of its database; one that was dropped and made again has
    another.
    """

    shape: ContainerShape
    documents: int | None
    ttl: int | None = None
    unique_keys: tuple[str, ...] = ()
    rid: str | None = None
    database_rid: str | None = None


class CosmosCatalog:
    """See :class:`backup_sync.stores.base.Catalog`. ``history``: the container beside the copy. ``copy``: this end holds it.
    ``later``: names of containers with the copy's partition key that are made after it."""

    def __init__(
        self, connection: Connection, service: Service, history: str, *, copy: bool, later: Collection[str] = ()
    ) -> None:
        self.connection, self.service, self.history, self.copy, self.later = connection, service, history, copy, later
        self.account, self.label = connection.account, connection.label
        self._found: Found | None = None

    def found(self) -> Found | None:
        """The container, asked for once: its partition key cannot change. None: not there (yet)."""
        if self._found is None:
            self._found = find(self.connection, self.account.container)
        return self._found

    # what it is

    def identity(self) -> dict[str, str | None]:
        """Where this is by the server's own word: the account's id, the names, and what the service calls database and
        container (None where they are not there, yet). An endpoint's name says nothing: a server may have many.
        """
        own = self.found()
        return {
            "account": self.connection.account_id(),
            "database": self.account.database,
            "container": self.account.container,
            "database_rid": own.database_rid if own else None,
            "rid": own.rid if own else None,
        }

    @staticmethod
    def same(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
        """Whether two identities are those of one container. One that is not there is no other's."""
        names = ("account", "database", "container", "database_rid", "rid")
        return bool(one.get("rid")) and all(one.get(name) == other.get(name) for name in names)

    def is_at(self, other: CosmosCatalog) -> bool:
        """Whether both lead to one container."""
        return self.same(self.identity(), other.identity())

    def exists(self) -> bool:
        return self.found() is not None

    def vacant(self) -> bool:
        """Whether the container holds no document at all, of any kind."""
        return not self.exists() or not self._any("", of_service=False)

    def describe(self) -> ContainerShape:
        own = self.found()
        if own is None:
            raise ConfigurationError(
                f"{self.label}: container {self.account.container} of database {self.account.database} does not exist; "
                "correct 'database_name' and 'collection_name' in the connection's extra"
            )
        return own.shape

    def check_fields(self, *, matched: bool = False) -> None:
        """Refuse fields of ``changed`` and ``where`` that no document has, unless the container is empty.

        ``matched``: the caller knows that documents once matched ``where``, so that none matches now is no misspelling.
        Raises ConfigurationError.
        """
        checks.check_fields(self.service, self.label, self.account.container, self._any, matched=matched)

    def _any(self, condition: str, *, of_service: bool) -> bool:
        """Whether there is a document like that, among the service's or among all."""
        return any_document(self.connection, self.service.where if of_service else {}, condition)

    # whether it fits, and making it

    def check_fit(self, shape: ContainerShape, *, planned: bool = False) -> tuple[str, ...]:
        """Documents bring all their properties along, so none is ever lacking."""
        own = self.found()
        if own is None:
            raise ConfigurationError(
                f"{self.label}: container {self.account.container} does not exist yet; run the DAG backup_initialize first"
            )
        check_keeps(own, self.label, self.account.container)
        mine = own.shape
        if (mine.names, mine.kind, mine.version) != (shape.names, shape.kind, shape.version):
            raise FatalError(
                f"{self.label}: container {self.account.container} is partitioned by {', '.join(mine.paths)} "
                f"({mine.kind} version {mine.version}) and the source by {', '.join(shape.paths)} ({shape.kind} version "
                f"{shape.version}); a partition key cannot be changed: name another container in the connection's extra"
            )
        return ()

    def create(self, shape: ContainerShape, *, dry_run: bool = False) -> list[str]:
        if self.exists():
            self.check_fit(shape)
        wanted = {self.account.container: shape, **({self.history: HISTORY_SHAPE} if self.copy else {})}
        found = {name: find(self.connection, name) for name in wanted}
        if beside := found.get(self.history):
            self._check_history(beside)
        missing = {name: shape for name, shape in wanted.items() if found[name] is None}
        if not missing:
            return []
        made = [] if database_exists(self.connection) else [f"database {self.account.database}"]
        if not dry_run:
            later = {name: shape for name in self.later if find(self.connection, name) is None}
            make(self.connection, missing, database=bool(made), later=later)
        return made + [f"container {name}" for name in missing]

    def meet(self, shape: ContainerShape, without: Set[str]) -> Met:
        if self.exists():
            self.check_fit(shape)
        return Met(shape)

    def obstacles(self) -> list[str]:
        return []

    def tables(self) -> list[tuple[str, str]]:
        return []

    def declarable(self) -> Declarable:
        raise ConfigurationError(f"{self.label}: documents have no catalog that entries could be made from")

    def drop(self) -> None:
        assert not self.copy
        name = self.account.container
        self._found = None
        if find(self.connection, name) is not None:
            drop(self.connection, name)

    def _check_history(self, found: Found) -> None:
        check_keeps(found, self.label, self.history)
        if found.shape.names != HISTORY_SHAPE.names:
            raise FatalError(
                f"{self.label}: container {self.history} is partitioned by {', '.join(found.shape.paths)} and cannot "
                f"hold the history; name another with 'history' in service {self.service.name}"
            )


def any_document(connection: Connection, where: Mapping[str, Any], condition: str = "") -> bool:
    """Whether there is a document that fulfils a condition ("": any). Pages may be empty before one comes."""
    text, parameters = question(where, "SELECT VALUE 1 FROM c", condition)
    with closing(pages(connection, text, parameters, None, 1, eager=False)) as found:
        return any(found)


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

"""Making databases and containers, dropping them, and what a person does where the connection may not.

With a token nobody may: Azure counts it as management, which no role for data covers
(https://learn.microsoft.com/azure/cosmos-db/troubleshoot-forbidden, "Non-data operations are not allowed"). Nor may a key
where the account keeps keys from metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from azure.cosmos import PartitionKey

from backup_sync.model.errors import ConnectionMistake
from backup_sync.stores.cosmos.account import Account, Connection, CosmosError
from backup_sync.stores.cosmos.documents import Names, names_of
from backup_sync.stores.cosmos.statuses import Forbidden

log = logging.getLogger(__name__)

GROUP = "<resource-group>"
"""In a command: what no connection says."""


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


def make(
    connection: Connection,
    containers: Mapping[str, ContainerShape],
    *,
    database: bool,
    later: Mapping[str, ContainerShape] | None = None,
) -> None:
    """Make containers, and with ``database`` the database first. What somebody else made meanwhile is left as it is.

    ``later``: those that are not there either, and are made after these. Raises ConnectionMistake where the connection may
    make nothing; then it names all that is still missing, and the log holds the commands that make it.
    """
    client, left = connection.client(), dict(containers)
    try:
        if database:
            _make(connection, lambda: client.create_database(connection.account.database))
            database = False
        for name, shape in containers.items():
            # No default TTL: a copy's clock would restart, and a backup that expires is none.
            paths: Any = list(shape.paths) if shape.kind == "MultiHash" else shape.paths[0]
            kind: Any = shape.kind
            key = PartitionKey(path=paths, kind=kind, version=shape.version)
            _make(connection, partial(connection.database().create_container, name, key))
            del left[name]
    except Forbidden:
        left |= later or {}
        missing = [f"database {connection.account.database}"] * database + [f"container {name}" for name in left]
        _tell(connection, commands(connection.account, left, database=database))
        raise ConnectionMistake(
            f"{connection.label}: Cosmos DB lets this connection create no database and no container (403), and there is no "
            f"{', no '.join(missing)} yet; create that with the commands in the log, or give the connection a key that may"
        ) from None


def _make(connection: Connection, request: Callable[[], Awaitable[Any]]) -> None:
    try:
        connection.run(connection.call(request))
    except CosmosError as error:
        if error.status != 409:
            raise connection.unexpected(error, "creating a database or container") from None


def drop(connection: Connection, name: str) -> None:
    """Drop a container that is there, with all that it holds. Raises ConnectionMistake where the connection may not."""
    database = connection.database()
    try:
        connection.run(connection.call(lambda: database.delete_container(name), write=True))
    except Forbidden:
        _tell(connection, [f"az cosmosdb sql container delete {_where(connection.account)} --name {quote(name)}"])
        raise ConnectionMistake(
            f"{connection.label}: Cosmos DB does not let this connection drop container {name} (403); drop it with the command "
            "in the log, and give the connection a key that may"
        ) from None


def commands(account: Account, containers: Mapping[str, ContainerShape], *, database: bool) -> list[str]:
    """Commands that make containers, and with ``database`` the database first, as :func:`make` does: no default TTL.

    Azure's command line takes one path for a partition key
    (https://learn.microsoft.com/cli/azure/cosmosdb/sql/container#az-cosmosdb-sql-container-create), so that hierarchical ones
    are for its PowerShell (https://learn.microsoft.com/powershell/module/az.cosmosdb/new-azcosmosdbsqlcontainer).
    """
    found = []
    if database:
        found.append(
            f"az cosmosdb sql database create {_where(account, inside=False)} --name {quote(account.database)}"
        )
    for name, shape in containers.items():
        if shape.kind == "MultiHash":
            paths = ",".join(map(_powershell, shape.paths))
            found.append(
                f"New-AzCosmosDBSqlContainer -ResourceGroupName {_powershell(GROUP)} -AccountName {_powershell(_name(account))} "
                f"-DatabaseName {_powershell(account.database)} -Name {_powershell(name)} -PartitionKeyKind MultiHash "
                f"-PartitionKeyPath @({paths}) -PartitionKeyVersion {shape.version}"
            )
        else:
            found.append(
                f"az cosmosdb sql container create {_where(account)} --name {quote(name)} --partition-key-path "
                f"{quote(shape.paths[0])} --partition-key-version {shape.version}"
            )
    return found


def _where(account: Account, *, inside: bool = True) -> str:
    database = f" --database-name {quote(account.database)}" if inside else ""
    return f"--resource-group {quote(GROUP)} --account-name {quote(_name(account))}{database}"


def _name(account: Account) -> str:
    """The account's name, which its address begins with."""
    return (urlsplit(account.endpoint).hostname or "").partition(".")[0]


def _powershell(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def _tell(connection: Connection, lines: Iterable[str]) -> None:
    log.warning("%s: what the connection may not do:\n%s", connection.label, "\n".join(lines))

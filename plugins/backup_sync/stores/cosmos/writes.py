"""Requests that write documents and delete them: many in flight, batches where they pay."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import FatalError
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Record
from backup_sync.stores.cosmos.account import Connection, CosmosError, all_of
from backup_sync.stores.cosmos.documents import Names, key_text, key_value, shown, value_at, weight_of_document

log = logging.getLogger(__name__)

BATCH_OPERATIONS = 100
"""The most that the service takes in one transactional batch."""
BATCH_WEIGHT = 1_500_000
"""Bytes of the documents of a batch: the service takes 2 MB, and one by one what is too much for a batch
(https://learn.microsoft.com/azure/cosmos-db/nosql/transactional-batch#limitations)."""
ABOUT_ONE = {400, 413}
"""What the service answers of a single document: one that breaks a rule, or that is too large."""


async def upsert_all(
    connection: Connection, documents: Sequence[Record], paths: Sequence[Names], *, batch_from: int = Limits.batch_from
) -> int:
    """How many were accepted. Documents that share a partition key value go by transactional batches.

    ``paths``: the container's partition key. ``batch_from``: documents that are a batch: one of two takes less than two
    documents one by one, and one of one takes more than one. What is refused is logged by its id and not counted. Raises FatalError for
    an answer that is not about a document.
    """
    by_value: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_value.setdefault(key_text([value_at(document, names) for names in paths]), []).append(document)
    work: list[Awaitable[int]] = []
    for value, group in by_value.items():
        for chunk in in_batches(group, batch_from):
            if len(chunk) >= batch_from:
                work.append(_upsert_batch(connection, value, chunk, paths))
            else:
                work.extend(_upsert(connection, value, document, paths) for document in chunk)
    return sum(await all_of(work))


def in_batches(group: Sequence[Record], batch_from: int) -> Iterator[list[Record]]:
    """Documents of one partition key value, so many at a time as one transactional batch takes."""
    if len(group) < batch_from:  # it goes alone whatever it holds; weighing would encode it once more
        yield list(group)
        return
    batch: list[Record] = []
    heavy = 0
    for document in group:
        held = weight_of_document(document)
        if batch and (len(batch) == BATCH_OPERATIONS or heavy + held > BATCH_WEIGHT):
            yield batch
            batch, heavy = [], 0
        batch.append(document)
        heavy += held
    yield batch


async def _upsert_batch(
    connection: Connection, value: str, documents: list[dict[str, Any]], paths: Sequence[Names]
) -> int:
    try:
        await batch(connection, value, documents)
        return len(documents)
    except CosmosError:
        # All or nothing was refused: one document of them, or the size of the whole. One by one shows which.
        return sum(await all_of(_upsert(connection, value, document, paths) for document in documents))


async def batch(
    connection: Connection,
    value: str,
    documents: list[dict[str, Any]],
    *,
    operation: str = "upsert",
    container: str | None = None,
) -> None:
    """One transactional batch. Raises CosmosError, and has written nothing, if any of it is refused."""
    handle = connection.container(container)
    operations = [(operation, (document,)) for document in documents]
    partition_key = key_value(("", value))
    await connection.call(lambda: handle.execute_item_batch(operations, partition_key, no_response=True), write=True)


async def _upsert(connection: Connection, value: str, document: dict[str, Any], paths: Sequence[Names]) -> int:
    container = connection.container()
    try:
        if found_by_sdk(value, document, paths):
            await connection.call(lambda: container.upsert_item(document, no_response=True), write=True)
        else:
            await batch(connection, value, [document])
        return 1
    except CosmosError as error:
        if error.status not in ABOUT_ONE:
            raise unexpected(connection, error, "writing a document") from None
        reason = (
            "is larger than the container takes"
            if error.status == 413
            else f"was refused ({error.status}, sub-status {error.sub_status})"
        )
        log.warning("%s: document %s %s; it is counted as rejected", connection.label, shown(document["id"]), reason)
        return 0


def found_by_sdk(value: str, document: dict[str, Any], paths: Sequence[Names]) -> bool:
    """Whether the SDK takes this partition key value out of the document when none is given, as it must for an upsert.

    It does not where a part of a hierarchical key is undefined, for which it says null, or where an array stands
    (``_ExtractPartitionKey`` of azure-cosmos 4.17.1). A batch is given the value.
    """
    if "{}" not in value:
        return True
    values = [value_at(document, names) for names in paths]
    return len(values) == 1 and not isinstance(values[0], list)


async def delete_all(connection: Connection, keys: Sequence[Key], name: str | None = None) -> int:
    """How many were there to be deleted. ``name``: of the container, by default the connection's.

    Raises FatalError for an answer that has no place here.
    """
    container = connection.container(name)

    async def one(key: Key) -> bool:
        try:
            await connection.call(lambda: container.delete_item(str(key[0]), partition_key=key_value(key)), write=True)
            return True
        except CosmosError as error:
            if error.status == 404 and not error.sub_status:  # gone already, for example by a try whose answer was lost
                return False
            raise unexpected(connection, error, "deleting a document", name) from None

    deleted = sum(await all_of(map(one, keys)))
    if deleted < len(keys):
        # Without its container no document is found either, and not every server tells the two apart.
        await _container_is_there(connection, name)
    return deleted


async def _container_is_there(connection: Connection, name: str | None) -> None:
    container = connection.container(name)
    try:
        await connection.call(container.read)
    except CosmosError as error:
        raise unexpected(connection, error, "reading the container", name) from None


def unexpected(connection: Connection, error: CosmosError, doing: str, name: str | None = None) -> FatalError:
    if error.status == 404:
        account = connection.account
        return FatalError(
            f"{connection.label}: container {name or account.container} of database {account.database} is gone (404 on {doing}); "
            "restore it, or run the DAG backup_initialize to get an empty one"
        )
    return connection.unexpected(error, doing)

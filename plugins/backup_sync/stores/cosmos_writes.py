"""Writing documents to a container and deleting them: many requests in flight, batches where they pay."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

from backup_sync.core.diff import Key
from backup_sync.stores.base import Record
from backup_sync.stores.cosmos_account import Connection, CosmosError, all_of
from backup_sync.stores.documents import held_by_document, key_text, key_value, value_at

log = logging.getLogger(__name__)

BATCH_OPERATIONS = 100
"""The most that the service takes in one transactional batch."""
BATCH_WEIGHT = 1_500_000
"""Bytes of the documents of a batch: the service takes 2 MB, and one by one what is too much for a batch
(https://learn.microsoft.com/azure/cosmos-db/nosql/transactional-batch#limitations)."""
BATCH_FROM = 2
"""A batch of two takes less than two documents one by one; a batch of one takes more than one."""


async def upsert_all(connection: Connection, documents: Sequence[Record], paths: Sequence[str]) -> int:
    """How many were accepted. Documents that share a partition key value go by transactional batches.

    ``paths``: the container's partition key. What is refused is logged by its id and not counted.
    """
    by_value: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        by_value.setdefault(key_text([value_at(document, path) for path in paths]), []).append(document)
    work: list[Awaitable[int]] = []
    for value, group in by_value.items():
        for chunk in _batches(group):
            if len(chunk) >= BATCH_FROM:
                work.append(_upsert_batch(connection, value, chunk))
            else:
                work.extend(_upsert(connection, document) for document in chunk)
    return sum(await all_of(work))


def _batches(group: Sequence[Record]) -> Iterator[list[Record]]:
    """Documents of one partition key value, so many at a time as one transactional batch takes."""
    if len(group) < BATCH_FROM:  # it goes by itself whatever it holds; weighing would encode it once more
        yield list(group)
        return
    batch: list[Record] = []
    heavy = 0
    for document in group:
        held = held_by_document(document)
        if batch and (len(batch) == BATCH_OPERATIONS or heavy + held > BATCH_WEIGHT):
            yield batch
            batch, heavy = [], 0
        batch.append(document)
        heavy += held
    yield batch


async def _upsert_batch(connection: Connection, value: str, documents: list[dict[str, Any]]) -> int:
    container = connection.container()
    operations = [("upsert", (document,)) for document in documents]
    partition_key = key_value(("", value))
    try:
        await connection.call(
            lambda: container.execute_item_batch(operations, partition_key, no_response=True), write=True
        )
        return len(documents)
    except CosmosError:
        # All or nothing was refused: one document of them, or the size of the whole. One by one tells which.
        return sum(await all_of(_upsert(connection, document) for document in documents))


async def _upsert(connection: Connection, document: dict[str, Any]) -> int:
    container = connection.container()
    try:
        await connection.call(lambda: container.upsert_item(document, no_response=True), write=True)
        return 1
    except CosmosError as error:
        reason = "is larger than the container takes" if error.status == 413 else f"was refused ({error.status})"
        log.warning("%s: document %r %s; it is counted as rejected", connection.where, document["id"], reason)
        return 0


async def delete_all(connection: Connection, keys: Sequence[Key]) -> int:
    """How many were there to be deleted. Raises FatalError for an answer that has no place here."""
    container = connection.container()

    async def one(key: Key) -> bool:
        try:
            await connection.call(lambda: container.delete_item(str(key[0]), partition_key=key_value(key)), write=True)
            return True
        except CosmosError as error:
            if error.status == 404:  # gone already, for example by a try whose answer was lost
                return False
            raise connection.unexpected(error, "deleting a document") from None

    return sum(await all_of(map(one, keys)))

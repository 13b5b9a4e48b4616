"""The same server through the asynchronous SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos import ContainerProxy as SyncContainer
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from local.cosmos import EmbeddedCosmos


def in_loop(server: EmbeddedCosmos, name: str, work: Callable[[ContainerProxy], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with CosmosClient(server.endpoint, server.key) as client:
            return await work(client.get_database_client("orders").get_container_client(name))

    return asyncio.run(main())


async def listed(pages: Any) -> list[Any]:
    return [one async for one in pages]


def test_documents_are_written_read_and_deleted(server: EmbeddedCosmos, container: SyncContainer) -> None:
    async def work(items: ContainerProxy) -> None:
        made = await items.create_item({"id": "1", "pk": "a", "n": 2**60 + 1})
        assert (await items.read_item("1", "a"))["n"] == 2**60 + 1
        with pytest.raises(CosmosResourceExistsError):
            await items.create_item({"id": "1", "pk": "a"})
        await items.upsert_item({"id": "1", "pk": "a", "n": 2})
        with pytest.raises(CosmosAccessConditionFailedError):
            await items.replace_item(
                "1", {"id": "1", "pk": "a"}, etag=made["_etag"], match_condition=MatchConditions.IfNotModified
            )
        await items.delete_item("1", "a")
        with pytest.raises(CosmosResourceNotFoundError):
            await items.read_item("1", "a")

    in_loop(server, container.id, work)


def test_queries_feed_ranges_and_read_items_see_all_documents(server: EmbeddedCosmos, container: SyncContainer) -> None:
    async def work(items: ContainerProxy) -> None:
        await asyncio.gather(*(items.create_item({"id": str(n), "pk": f"p{n}", "n": n}) for n in range(100)))
        assert len(await listed(items.query_items("SELECT * FROM c", max_item_count=9))) == 100
        assert await listed(items.query_items("SELECT VALUE COUNT(1) FROM c")) == [100]
        ordered = items.query_items("SELECT VALUE c.n FROM c ORDER BY c.n DESC", max_item_count=7)
        assert await listed(ordered) == list(range(99, -1, -1))
        given: list[dict[str, object]] = [{"name": "@n", "value": 97}]
        some = items.query_items("SELECT c.id FROM c WHERE c.n > @n", parameters=given)
        assert sorted(one["id"] for one in await listed(some)) == ["98", "99"]
        assert await listed(items.query_items("SELECT VALUE c.n FROM c", partition_key="p5")) == [5]
        parts = [
            await listed(items.query_items("SELECT VALUE c.n FROM c", feed_range=feed_range))
            for feed_range in await listed(items.read_feed_ranges())
        ]
        assert sorted(one for part in parts for one in part) == list(range(100))
        assert len(await items.read_items([(str(n), f"p{n}") for n in range(100)])) == 100
        assert len(await listed(items.read_all_items())) == 100
        assert len(await listed(items.query_items_change_feed(start_time="Beginning"))) == 100

    in_loop(server, container.id, work)


def test_a_batch_is_all_or_nothing(server: EmbeddedCosmos, container: SyncContainer) -> None:
    async def work(items: ContainerProxy) -> None:
        await items.execute_item_batch([("create", ({"id": str(n), "pk": "a"},)) for n in range(3)], "a")
        with pytest.raises(CosmosBatchOperationError) as caught:
            await items.execute_item_batch(
                [("create", ({"id": "x", "pk": "a"},)), ("create", ({"id": "1", "pk": "a"},))], "a"
            )
        assert [one["statusCode"] for one in caught.value.operation_responses] == [424, 409]
        assert len(await listed(items.read_all_items())) == 3

    in_loop(server, container.id, work)


def test_after_a_split_the_client_finds_its_way_by_itself(
    own_server: EmbeddedCosmos, own_container: SyncContainer
) -> None:
    async def work(items: ContainerProxy) -> None:
        for n in range(60):
            await items.upsert_item({"id": str(n), "pk": f"p{n}", "n": n})
        text = "SELECT VALUE c.n FROM c ORDER BY c.n"
        assert len(await listed(items.query_items(text))) == 60
        own_server.split()
        assert await listed(items.query_items(text, max_item_count=5)) == list(range(60))
        assert (await items.read_item("7", "p7"))["n"] == 7

    in_loop(own_server, own_container.id, work)


@pytest.mark.slow
def test_a_throttled_client_gets_through_by_waiting(own_server: EmbeddedCosmos, own_container: SyncContainer) -> None:
    async def work(items: ContainerProxy) -> None:
        own_server.throttle(100)  # little enough for a busy machine to want more
        few = asyncio.Semaphore(6)

        async def create(n: int) -> None:
            async with few:
                await items.create_item({"id": str(n), "pk": "a"})

        await asyncio.gather(*(create(n) for n in range(60)))
        assert len(await listed(items.query_items("SELECT * FROM c", partition_key="a"))) == 60

    in_loop(own_server, own_container.id, work)
    assert own_server.stats()["throttled"] > 0

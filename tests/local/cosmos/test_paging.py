"""Pages, feed ranges, partition splits and the change feed."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosHttpResponseError

from local.cosmos import EmbeddedCosmos

COUNT = 150


def fill(container: ContainerProxy, count: int = COUNT) -> set[str]:
    for n in range(count):
        container.upsert_item({"id": str(n), "pk": f"p{n}", "n": n})
    return {str(n) for n in range(count)}


def test_a_query_can_be_continued_from_each_page_by_another_client(
    server: EmbeddedCosmos, container: ContainerProxy
) -> None:
    expected = fill(container)
    found: list[str] = []
    token: str | None = None
    pages = 0
    while True:
        with CosmosClient(server.endpoint, server.key) as client:
            again = client.get_database_client("orders").get_container_client(container.id)
            paged = again.query_items("SELECT c.id FROM c", enable_cross_partition_query=True, max_item_count=40)
            by_page = paged.by_page(token)
            found += [one["id"] for one in next(by_page)]
            token = by_page.continuation_token
        pages += 1
        if not token:
            break
    assert sorted(found) == sorted(expected)
    assert pages == 4


def test_writes_between_pages_neither_repeat_nor_lose_documents(container: ContainerProxy) -> None:
    expected = fill(container)
    pages = container.query_items(
        "SELECT c.id, c.n FROM c", enable_cross_partition_query=True, max_item_count=20
    ).by_page()
    found: list[str] = []
    for page in pages:
        batch = [one["id"] for one in page]
        found += batch
        container.upsert_item({"id": batch[0], "pk": f"p{batch[0]}", "n": -1})
        container.delete_item(batch[-1], f"p{batch[-1]}")
    assert sorted(found) == sorted(expected)


def test_feed_ranges_divide_the_documents_among_them(container: ContainerProxy) -> None:
    expected = fill(container)
    feed_ranges = list(container.read_feed_ranges())
    assert len(feed_ranges) == 4
    parts = [
        [one["id"] for one in container.query_items("SELECT * FROM c", feed_range=feed_range, max_item_count=7)]
        for feed_range in feed_ranges
    ]
    assert all(len(part) > 15 for part in parts)
    assert sorted(one for part in parts for one in part) == sorted(expected)
    counted = [
        next(iter(container.query_items("SELECT VALUE COUNT(1) FROM c", feed_range=feed_range)))
        for feed_range in feed_ranges
    ]
    assert counted == [len(part) for part in parts]


def _epk_range(low: str, high: str) -> dict[str, Any]:
    return {"Range": {"min": low, "max": high, "isMinInclusive": True, "isMaxInclusive": False}}


def test_any_sub_range_of_the_hash_space_can_be_read(container: ContainerProxy) -> None:
    expected = fill(container)
    bounds = ["", *(f"{n:02X}" for n in range(3, 0x40, 3)), "FF"]
    found: list[str] = []
    for low, high in itertools.pairwise(bounds):
        part = container.query_items("SELECT * FROM c", feed_range=_epk_range(low, high), max_item_count=5)
        found += [one["id"] for one in part]
    assert sorted(found) == sorted(expected)


def test_the_feed_range_of_a_partition_key_holds_its_documents_only(container: ContainerProxy) -> None:
    fill(container, 40)
    own = container.feed_range_from_partition_key("p7")
    assert [one["id"] for one in container.query_items("SELECT * FROM c", feed_range=own)] == ["7"]


def test_read_all_items_reads_all_items(container: ContainerProxy) -> None:
    expected = fill(container)
    assert sorted(one["id"] for one in container.read_all_items(max_item_count=33)) == sorted(expected)


def test_a_foreign_continuation_token_is_400(container: ContainerProxy) -> None:
    fill(container, 3)
    paged = container.query_items("SELECT * FROM c", enable_cross_partition_query=True)
    with pytest.raises(CosmosHttpResponseError) as caught:
        list(paged.by_page("bm90IG91cnM="))
    assert caught.value.status_code == 400


def test_a_page_ends_at_four_megabytes(container: ContainerProxy) -> None:
    for n in range(8):
        container.create_item({"id": str(n), "pk": "a", "text": "x" * 1_000_000})
    pages = container.query_items("SELECT * FROM c", partition_key="a", max_item_count=1000).by_page()
    assert [len(list(page)) for page in pages] == [5, 3]


def test_a_split_during_a_query_loses_no_document(own_server: EmbeddedCosmos, own_container: ContainerProxy) -> None:
    expected = fill(own_container)
    feed_ranges = list(own_container.read_feed_ranges())
    pages = own_container.query_items("SELECT * FROM c", feed_range=feed_ranges[1], max_item_count=5).by_page()
    first = [one["id"] for one in next(pages)]
    ids = own_server.split()
    assert ids == ["4", "5", "6", "7", "8", "9", "10", "11"]
    rest = [one["id"] for page in pages for one in page]
    others = [
        one["id"]
        for feed_range in (feed_ranges[0], feed_ranges[2], feed_ranges[3])
        for one in own_container.query_items("SELECT * FROM c", feed_range=feed_range)
    ]
    # The SDK begins the query of a split feed range anew, so that documents of earlier pages come a second time.
    assert set(first + rest) | set(others) == expected
    assert len(rest + others) == len(expected)
    assert len(list(own_container.read_feed_ranges(force_refresh=True))) == 8


def test_after_a_split_the_client_finds_its_way_by_itself(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    expected = fill(own_container)

    def all_ids() -> list[str]:
        text = "SELECT VALUE c.id FROM c ORDER BY c.n"
        return list(own_container.query_items(text, enable_cross_partition_query=True, max_item_count=10))

    assert len(all_ids()) == COUNT
    for _ in range(2):
        own_server.split()
        assert all_ids() == sorted(expected, key=int)
        assert own_container.read_item("5", "p5")["n"] == 5
        count = own_container.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)
        assert list(count) == [COUNT]


def test_an_unchanged_list_of_ranges_is_not_sent_again_with_each_write(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    fill(own_container, 5)
    list(own_container.read_feed_ranges())
    before = own_server.stats()["requests"]["ReadPartitionKeyRanges"]
    fill(own_container, 20)
    for text in ("SELECT * FROM c", "SELECT VALUE COUNT(1) FROM c") * 2:
        list(own_container.query_items(text, enable_cross_partition_query=True, max_item_count=2))
    assert own_server.stats()["requests"]["ReadPartitionKeyRanges"] == before


def changes(container: ContainerProxy, **options: Any) -> tuple[list[str], str]:
    feed = container.query_items_change_feed(**options)
    found = [one["id"] for one in feed]
    return found, container.client_connection.last_response_headers["etag"]


def test_the_change_feed_tells_each_document_once_in_its_latest_version(container: ContainerProxy) -> None:
    expected = fill(container, 30)
    container.upsert_item({"id": "3", "pk": "p3", "n": -3})
    found, token = changes(container, start_time="Beginning")
    assert sorted(found) == sorted(expected)
    container.upsert_item({"id": "4", "pk": "p4", "n": -4})
    container.create_item({"id": "new", "pk": "p4"})
    container.delete_item("5", "p5")
    later, token = changes(container, continuation=token)
    assert later == ["4", "new"]
    assert changes(container, continuation=token)[0] == []


def test_the_change_feed_can_start_now_or_at_a_time(container: ContainerProxy) -> None:
    fill(container, 10)
    nothing, token = changes(container, start_time="Now")
    assert nothing == []
    container.create_item({"id": "new", "pk": "x"})
    assert changes(container, continuation=token)[0] == ["new"]
    now = datetime.now(timezone.utc)
    assert len(changes(container, start_time=now - timedelta(minutes=1))[0]) == 11
    assert changes(container, start_time=now + timedelta(minutes=1))[0] == []


def test_the_change_feed_can_be_read_by_feed_range_and_by_partition_key(container: ContainerProxy) -> None:
    expected = fill(container, 60)
    parts = [
        changes(container, start_time="Beginning", feed_range=feed_range, max_item_count=4)[0]
        for feed_range in container.read_feed_ranges()
    ]
    assert all(parts)
    assert sorted(one for part in parts for one in part) == sorted(expected)
    assert changes(container, start_time="Beginning", partition_key="p8")[0] == ["8"]


def test_the_change_feed_of_all_versions_is_refused_by_name(container: ContainerProxy) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        list(container.query_items_change_feed(mode="AllVersionsAndDeletes"))
    assert caught.value.status_code == 400
    assert "latest-version" in caught.value.message

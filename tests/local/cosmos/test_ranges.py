"""Containers whose ranges have bounds of another kind: hash version 1, and hierarchical keys."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy, PartitionKey
from azure.cosmos.partition_key import NonePartitionKeyValue

from local.cosmos import EmbeddedCosmos

from .raw import query

LEVELS = PartitionKey(["/tenant", "/user"], kind="MultiHash")
KEYS: list[Any] = ["", "x", "é" * 60, "a" * 100, "a" * 300, "a" * 301, 0, 1, 1.5, 7, True, False, None, "1", "true"]


def bounds(container: ContainerProxy) -> list[tuple[str, str]]:
    return [(part["Range"]["min"], part["Range"]["max"]) for part in container.read_feed_ranges(force_refresh=True)]


def ids(container: ContainerProxy, **where: Any) -> list[str]:
    return sorted(container.query_items("SELECT VALUE c.id FROM c", **where))


def feed_range(low: str, high: str) -> dict[str, Any]:
    return {"Range": {"min": low, "max": high, "isMinInclusive": True, "isMaxInclusive": False}}


@pytest.fixture(scope="module")
def first(database: DatabaseProxy) -> ContainerProxy:
    """A container of hash version 1 with a document for each key, and one that has none."""
    definition: Any = PartitionKey("/pk")
    del definition["version"]
    container = database.create_container("first", definition)
    for number, key in enumerate(KEYS):
        container.create_item({"id": f"d{number}", "pk": key})
    container.create_item({"id": "none"})
    for number in range(100):
        container.create_item({"id": f"n{number}", "pk": f"key {number}"})
    return container


def test_a_container_that_does_not_tell_its_version_has_the_first(first: ContainerProxy) -> None:
    assert first.read()["partitionKey"] == {"paths": ["/pk"], "kind": "Hash"}
    made = bounds(first)
    assert (made[0][0], made[-1][1], len(made)) == ("", "FF", 4)
    assert made[1][1] == "05C1DFFFFFFFFC"


def test_keys_of_version_1_address_their_documents(first: ContainerProxy) -> None:
    for number, key in enumerate(KEYS):
        assert first.read_item(f"d{number}", key)["pk"] == key
        if key is not None:
            assert ids(first, partition_key=key) == [f"d{number}"]
    assert first.read_item("none", NonePartitionKeyValue)["id"] == "none"


def test_the_ranges_of_version_1_share_out_the_documents_once(first: ContainerProxy) -> None:
    parts = [ids(first, feed_range=part) for part in first.read_feed_ranges()]
    assert all(len(part) > 10 for part in parts)
    assert sorted(chain.from_iterable(parts)) == ids(first, enable_cross_partition_query=True)
    text = "SELECT VALUE COUNT(1) FROM c"
    assert list(first.query_items(text, enable_cross_partition_query=True)) == [len(KEYS) + 101]
    assert len(list(first.query_items_change_feed(start_time="Beginning"))) == len(KEYS) + 101


def test_a_key_of_version_1_lies_in_the_range_that_the_sdk_computes(first: ContainerProxy) -> None:
    for number, key in enumerate(KEYS):
        assert f"d{number}" in ids(first, feed_range=first.feed_range_from_partition_key(key)), repr(key)


def test_a_container_of_version_1_survives_a_split(own_server: EmbeddedCosmos) -> None:
    with CosmosClient(own_server.endpoint, own_server.key) as client:
        container = client.create_database("d").create_container("c", PartitionKey("/pk", version=1))
        for number in range(60):
            container.create_item({"id": f"{number:02d}", "pk": f"k{number}"})
        before = ids(container, enable_cross_partition_query=True)
        own_server.split()
        assert ids(container, enable_cross_partition_query=True) == before
        assert len(bounds(container)) == 8
        container.upsert_item({"id": "00", "pk": "k0"})


@pytest.fixture
def levels(own_server: EmbeddedCosmos) -> Iterator[ContainerProxy]:
    with CosmosClient(own_server.endpoint, own_server.key) as client:
        container = client.create_database("orders").create_container("levels", LEVELS)
        for tenant in "ab":
            for user in range(20):
                container.create_item({"id": f"{tenant}{user:02d}", "tenant": tenant, "user": user})
        yield container


def test_a_tenant_can_outgrow_its_partition(own_server: EmbeddedCosmos, levels: ContainerProxy) -> None:
    everything = ids(levels, enable_cross_partition_query=True)
    tenant = ids(levels, partition_key=["a"])
    assert len(tenant) == 20
    assert {len(low) for low, _ in bounds(levels)} == {0, 64}
    made = own_server.split(within=("orders", "levels", "a"))
    assert len(made) == 2
    assert len(bounds(levels)) == 5
    parts = [ids(levels, feed_range=part) for part in levels.read_feed_ranges()]
    assert sorted(chain.from_iterable(parts)) == everything
    assert sum(any(one[0] == "a" for one in part) for part in parts) == 2
    assert sum(any(one[0] == "b" for one in part) for part in parts) == 1
    assert ids(levels, partition_key=["a"]) == tenant
    assert ids(levels, partition_key=["a", 3]) == ["a03"]
    assert levels.read_item("a03", ["a", 3])["user"] == 3
    assert ids(levels, enable_cross_partition_query=True) == everything
    own_server.split()
    assert ids(levels, partition_key=["a"]) == tenant


def test_a_range_of_any_length_is_served(levels: ContainerProxy) -> None:
    whole = levels.feed_range_from_partition_key(["a", 7])
    low = whole["Range"]["min"]
    assert len(low) == 64
    assert ids(levels, feed_range=whole) == ["a07"]
    prefix = low[:32]
    middle = prefix + "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
    halves = [
        ids(levels, feed_range=feed_range(prefix, middle)),
        ids(levels, feed_range=feed_range(middle, prefix + "FF")),
    ]
    assert all(halves)
    assert sorted(chain.from_iterable(halves)) == ids(levels, partition_key=["a"])
    both = [*ids(levels, feed_range=feed_range("", low + "00")), *ids(levels, feed_range=feed_range(low + "00", "FF"))]
    assert sorted(both) == ids(levels, enable_cross_partition_query=True)


def test_a_range_within_a_key_has_no_meaning_without_levels(own_server: EmbeddedCosmos) -> None:
    with CosmosClient(own_server.endpoint, own_server.key) as client:
        client.create_database("d").create_container("flat", PartitionKey("/pk"))
    with pytest.raises(RuntimeError, match="hierarchical"):
        own_server.split(within=("d", "flat", "a"))


def test_a_bound_that_is_not_made_of_bytes_is_400(server: EmbeddedCosmos, database: DatabaseProxy) -> None:
    database.create_container("bounds", PartitionKey("/pk"))
    for bound, status in {"0": 400, "0G": 400, "XYZ0": 400, "1f": 200, "05C1" * 40: 200}.items():
        headers = {"x-ms-start-epk": "", "x-ms-end-epk": bound, "x-ms-documentdb-partitionkeyrangeid": "0"}
        assert query(server, "dbs/orders/colls/bounds", "SELECT * FROM c", headers).status == status, bound

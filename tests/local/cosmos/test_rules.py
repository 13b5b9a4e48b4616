"""Times to live and unique keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import (
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from local.cosmos import EmbeddedCosmos
from local.cosmos.rules import UniqueKeys


def seen(container: ContainerProxy) -> dict[str, list[str]]:
    """The ids of a container's documents, by each way of reading many of them."""
    text = "SELECT VALUE c.id FROM c"
    return {
        "query": sorted(container.query_items(text, enable_cross_partition_query=True)),
        "key": sorted(container.query_items(text, partition_key="a")),
        "feed": sorted(one["id"] for one in container.read_all_items()),
        "change feed": sorted(one["id"] for one in container.query_items_change_feed(start_time="Beginning")),
        "ranges": sorted(
            one for part in container.read_feed_ranges() for one in container.query_items(text, feed_range=part)
        ),
    }


def count(container: ContainerProxy) -> int:
    (found,) = container.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)
    return int(found)


def wait_until_gone(container: ContainerProxy, id_: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            container.read_item(id_, "a")
        except CosmosResourceNotFoundError:
            return
        time.sleep(0.05)
    pytest.fail(f"{id_} is still there")


def test_an_expired_document_is_gone_from_every_way_of_reading(database: DatabaseProxy) -> None:
    container = database.create_container("expiring", PartitionKey("/pk"), default_ttl=2)
    begun = container.create_item({"id": "default", "pk": "a"})["_ts"]
    for id_, ttl in {"never": -1, "long": 600, "short": 1}.items():
        container.create_item({"id": id_, "pk": "a", "ttl": ttl})
    wait_until_gone(container, "short")
    wait_until_gone(container, "default")
    assert time.time() >= begun + 2
    assert set(map(tuple, seen(container).values())) == {("long", "never")}
    assert count(container) == 2
    quota = container.read(populate_quota_info=True).get_response_headers()["x-ms-resource-usage"]
    assert "documentsCount=2;" in quota
    with pytest.raises(CosmosResourceNotFoundError):
        container.replace_item("default", {"id": "default", "pk": "a"})
    with pytest.raises(CosmosResourceNotFoundError):
        container.delete_item("default", "a")
    assert container.create_item({"id": "default", "pk": "a"})["id"] == "default"


@pytest.mark.slow
def test_a_write_begins_the_time_anew(database: DatabaseProxy) -> None:
    container = database.create_container("renewed", PartitionKey("/pk"), default_ttl=3)
    first = container.create_item({"id": "1", "pk": "a"})
    while container.upsert_item({"id": "1", "pk": "a"})["_ts"] < first["_ts"] + 4:
        time.sleep(0.2)
    assert container.read_item("1", "a")["_ts"] >= first["_ts"] + 4


@pytest.mark.slow
@pytest.mark.parametrize(("default", "left"), [(None, ["1", "2"]), (-1, ["2"])])
def test_the_time_of_a_document_counts_only_where_the_container_has_one(
    database: DatabaseProxy, default: int | None, left: list[str]
) -> None:
    container = database.create_container(f"off{default}", PartitionKey("/pk"), default_ttl=default)
    made = container.create_item({"id": "1", "pk": "a", "ttl": 1})
    container.create_item({"id": "2", "pk": "a"})
    while time.time() < made["_ts"] + 2.1:
        time.sleep(0.05)
    assert set(map(tuple, seen(container).values())) == {tuple(left)}


def test_switching_times_on_and_off_counts_for_the_documents_that_are_there(database: DatabaseProxy) -> None:
    container = database.create_container("switched", PartitionKey("/pk"))
    made = container.create_item({"id": "1", "pk": "a", "ttl": "no number where it does not count"})
    container.create_item({"id": "2", "pk": "a", "ttl": -1})
    while time.time() < made["_ts"] + 1.1:
        time.sleep(0.05)
    database.replace_container(container, PartitionKey("/pk"), default_ttl=1)
    assert seen(container)["query"] == ["2"]
    database.replace_container(container, PartitionKey("/pk"))
    assert "defaultTtl" not in container.read()
    container.upsert_item({"id": "3", "pk": "a", "ttl": None})
    assert seen(container)["query"] == ["2", "3"]


@pytest.mark.parametrize("wrong", [None, 0, -2, 1.5, "60", True, 2**31, []])
def test_a_time_that_is_none_is_400(database: DatabaseProxy, container: ContainerProxy, wrong: Any) -> None:
    database.replace_container(container, PartitionKey("/pk"), default_ttl=-1)
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.upsert_item({"id": "1", "pk": "a", "ttl": wrong})
    assert caught.value.status_code == 400
    if wrong is not None:
        with pytest.raises(CosmosHttpResponseError) as caught:
            database.create_container("wrong", PartitionKey("/pk"), default_ttl=wrong)
        assert caught.value.status_code == 400


UNIQUE = {"uniqueKeys": [{"paths": ["/email"]}, {"paths": ["/name/first", "/name/last"]}]}


@pytest.fixture
def people(database: DatabaseProxy, request: pytest.FixtureRequest) -> ContainerProxy:
    name = f"people{abs(hash(request.node.name))}"
    container = database.create_container(name, PartitionKey("/pk"), unique_key_policy=UNIQUE)
    container.create_item({"id": "1", "pk": "a", "email": "x@y", "name": {"first": "A", "last": "B"}})
    return container


def person(id_: str, email: Any, first: str, last: str = "B", pk: str = "a") -> dict[str, Any]:
    return {"id": id_, "pk": pk, "email": email, "name": {"first": first, "last": last}}


def test_each_way_of_writing_is_held_to_the_unique_keys(people: ContainerProxy) -> None:
    people.create_item(person("2", "other", "C"))
    ways: list[Callable[[], Any]] = [
        lambda: people.create_item(person("3", "x@y", "D")),
        lambda: people.create_item(person("3", "third", "A")),
        lambda: people.upsert_item(person("3", "x@y", "D")),
        lambda: people.upsert_item(person("2", "x@y", "C")),
        lambda: people.replace_item("2", person("2", "x@y", "C")),
        lambda: people.patch_item("2", "a", [{"op": "set", "path": "/email", "value": "x@y"}]),
    ]
    for way in ways:
        with pytest.raises(CosmosHttpResponseError) as caught:
            way()
        assert caught.value.status_code == 409
        assert "Unique index constraint violation." in caught.value.message
    assert people.read_item("2", "a")["email"] == "other"
    with pytest.raises(CosmosResourceNotFoundError):
        people.read_item("3", "a")


def test_a_batch_is_held_to_the_unique_keys_and_undone(people: ContainerProxy) -> None:
    with pytest.raises(CosmosBatchOperationError) as caught:
        people.execute_item_batch([("create", (person("2", "new", "C"),)), ("upsert", (person("3", "new", "D"),))], "a")
    assert [one["statusCode"] for one in caught.value.operation_responses] == [424, 409]
    # Nothing is left of the batch, its values included; and within one, a value can be handed on.
    people.execute_item_batch(
        [("delete", ("1",)), ("create", (person("2", "new", "C"),)), ("create", (person("3", "x@y", "A"),))], "a"
    )
    assert seen(people)["query"] == ["2", "3"]


def test_a_value_is_free_again_when_its_document_changes_or_goes(people: ContainerProxy) -> None:
    people.upsert_item(person("1", "moved", "A"))
    people.create_item(person("2", "x@y", "C"))
    people.delete_item("2", "a")
    people.create_item(person("3", "x@y", "C"))
    people.replace_item("3", person("3", "x@y", "C"))


def test_unique_keys_hold_within_a_logical_partition_only(people: ContainerProxy) -> None:
    people.create_item(person("1", "x@y", "A", pk="b"))
    assert len(seen(people)["query"]) == 2


def test_what_is_missing_counts_as_null_and_types_are_kept_apart(people: ContainerProxy) -> None:
    people.create_item({"id": "none", "pk": "a"})
    for taken in ({"email": None, "name": {"first": "Q"}}, {"email": "e", "name": {"first": None}}, {"email": "e"}):
        with pytest.raises(CosmosResourceExistsError):
            people.create_item({"id": "more", "pk": "a", **taken})
    for number, email in enumerate([1, True, "1", "true", "null"]):
        people.create_item(person(f"n{number}", email, f"first{number}"))
    with pytest.raises(CosmosResourceExistsError):
        people.create_item(person("more", 1.0, "first"))


def test_unique_keys_cannot_be_changed(database: DatabaseProxy, people: ContainerProxy) -> None:
    database.replace_container(people, PartitionKey("/pk"), default_ttl=600)
    assert people.read()["uniqueKeyPolicy"] == UNIQUE
    with pytest.raises(CosmosResourceExistsError):
        people.create_item(person("2", "x@y", "C"))


def test_an_expired_document_gives_its_unique_values_back(database: DatabaseProxy) -> None:
    container = database.create_container("both", PartitionKey("/pk"), default_ttl=1, unique_key_policy=UNIQUE)
    container.create_item(person("1", "x@y", "A"))
    wait_until_gone(container, "1")
    container.create_item(person("2", "x@y", "A"))


def test_unique_values_survive_the_death_of_the_server(own_server: EmbeddedCosmos) -> None:

    with CosmosClient(own_server.endpoint, own_server.key) as client:
        container = client.create_database("d").create_container("c", PartitionKey("/pk"), unique_key_policy=UNIQUE)
        container.create_item(person("1", "x@y", "A"))
        own_server.kill()
        own_server.start()
        with pytest.raises(CosmosResourceExistsError):
            container.create_item(person("2", "x@y", "C"))


@pytest.mark.parametrize(
    "policy",
    [{}, [], {"uniqueKeys": {}}, {"uniqueKeys": [{}]}, {"uniqueKeys": [{"paths": []}]}, {"uniqueKeys": [{"paths": ["a"]}]},
     {"uniqueKeys": [{"paths": ["/a"] * 17}]}, {"uniqueKeys": [{"paths": ["/a"]}] * 11}],
)  # fmt: skip
def test_a_unique_key_policy_that_cannot_be_served_is_refused(database: DatabaseProxy, policy: Any) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        database.create_container("refused", PartitionKey("/pk"), unique_key_policy=policy)
    assert caught.value.status_code == 400


def test_unique_paths_may_be_quoted() -> None:
    keys = UniqueKeys({"uniqueKeys": [{"paths": ['/"e mail"/x']}]})
    assert keys.values({"e mail": {"x": 1}}) != keys.values({"e mail": {"x": 2}})

"""Databases, containers, the account and the signature."""

from __future__ import annotations

import base64

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceExistsError, CosmosResourceNotFoundError

from local.cosmos import DEFAULT_KEY, EmbeddedCosmos


def test_the_default_key_is_a_key_of_64_bytes() -> None:
    assert len(base64.b64decode(DEFAULT_KEY)) == 64


def test_a_wrong_key_is_401_and_the_message_holds_no_key(server: EmbeddedCosmos) -> None:
    wrong = base64.b64encode(b"w" * 64).decode()
    with pytest.raises(CosmosHttpResponseError) as caught, CosmosClient(server.endpoint, wrong) as client:
        list(client.list_databases())
    assert caught.value.status_code == 401
    assert "Unauthorized" in caught.value.message
    assert wrong not in str(caught.value)
    assert server.key not in str(caught.value)


def test_the_account_names_the_address_by_which_the_client_came(server: EmbeddedCosmos) -> None:
    endpoint = server.endpoint.replace("127.0.0.1", "localhost")
    with CosmosClient(endpoint, server.key) as client:
        account = client.get_database_account()
    for place in (account.WritableLocations, account.ReadableLocations):
        assert [one["databaseAccountEndpoint"] for one in place] == [endpoint]
    assert account.ConsistencyPolicy == {"defaultConsistencyLevel": "Session"}


def test_databases_are_created_listed_queried_and_deleted(server: EmbeddedCosmos) -> None:
    with CosmosClient(server.endpoint, server.key) as client:
        client.create_database("shop one")
        assert client.create_database_if_not_exists("shop one").read()["id"] == "shop one"
        with pytest.raises(CosmosResourceExistsError):
            client.create_database("shop one")
        assert "shop one" in [one["id"] for one in client.list_databases()]
        text, given = "SELECT * FROM c WHERE c.id = @id", [{"name": "@id", "value": "shop one"}]
        assert [one["id"] for one in client.query_databases(text, parameters=given)] == ["shop one"]
        client.delete_database("shop one")
        with pytest.raises(CosmosResourceNotFoundError):
            client.get_database_client("shop one").read()
        with pytest.raises(CosmosResourceNotFoundError):
            client.delete_database("shop one")


def test_container_properties_are_kept_and_shown(database: DatabaseProxy) -> None:
    unique = {"uniqueKeys": [{"paths": ["/email"]}]}
    made = database.create_container("kept", PartitionKey("/a/b"), default_ttl=3600, unique_key_policy=unique)
    shown = made.read()
    assert shown["partitionKey"] == {"paths": ["/a/b"], "kind": "Hash", "version": 2}
    assert (shown["defaultTtl"], shown["uniqueKeyPolicy"]) == (3600, unique)
    assert shown["_rid"]
    assert shown["_self"].endswith(f"colls/{shown['_rid']}/")
    assert shown["indexingPolicy"]["indexingMode"] == "consistent"


def test_containers_are_created_listed_queried_and_deleted(database: DatabaseProxy) -> None:
    made = database.create_container("passing", PartitionKey("/pk"))
    with pytest.raises(CosmosResourceExistsError):
        database.create_container("passing", PartitionKey("/pk"))
    assert database.create_container_if_not_exists("passing", PartitionKey("/pk")).read() == made.read()
    assert "passing" in [one["id"] for one in database.list_containers()]
    text, given = "SELECT * FROM c WHERE c.id = @id", [{"name": "@id", "value": "passing"}]
    assert [one["id"] for one in database.query_containers(text, parameters=given)] == ["passing"]
    database.delete_container("passing")
    with pytest.raises(CosmosResourceNotFoundError):
        made.read()


def test_a_container_without_its_database_is_404(server: EmbeddedCosmos) -> None:
    with CosmosClient(server.endpoint, server.key) as client, pytest.raises(CosmosResourceNotFoundError):
        client.get_database_client("nowhere").create_container("x", PartitionKey("/pk"))


def test_replacing_a_container_changes_its_time_to_live_and_not_its_documents(database: DatabaseProxy) -> None:
    made = database.create_container("changing", PartitionKey("/pk"))
    made.create_item({"id": "1", "pk": "a"})
    database.replace_container("changing", PartitionKey("/pk"), default_ttl=60)
    assert made.read()["defaultTtl"] == 60
    assert made.read_item("1", "a")["id"] == "1"
    with pytest.raises(CosmosHttpResponseError) as caught:
        database.replace_container("changing", PartitionKey("/other"))
    assert caught.value.status_code == 400


def test_a_container_made_anew_is_empty_and_the_old_client_notices(
    server: EmbeddedCosmos, database: DatabaseProxy
) -> None:
    old = database.create_container("again", PartitionKey("/pk"))
    old.create_item({"id": "1", "pk": "a"})
    rid = old.read()["_rid"]
    with CosmosClient(server.endpoint, server.key) as other:
        elsewhere = other.get_database_client("orders")
        elsewhere.delete_container("again")
        elsewhere.create_container("again", PartitionKey("/pk"))
        before = server.stats()["requests"]["ReadContainer"]
        old.create_item({"id": "2", "pk": "a"})
        assert server.stats()["requests"]["ReadContainer"] == before + 1
        assert old.read()["_rid"] != rid
    assert old.read_item("2", "a")["id"] == "2"
    assert list(old.query_items("SELECT VALUE c.id FROM c", enable_cross_partition_query=True)) == ["2"]


def test_deleting_a_database_takes_its_documents_along(server: EmbeddedCosmos) -> None:
    with CosmosClient(server.endpoint, server.key) as client:
        for _ in range(2):
            container = client.create_database("short").create_container("c", PartitionKey("/pk"))
            assert list(container.read_all_items()) == []
            container.create_item({"id": "1", "pk": "a"})
            client.delete_database("short")


def test_names_with_blanks_and_other_letters_can_be_used(server: EmbeddedCosmos) -> None:
    with CosmosClient(server.endpoint, server.key) as client:
        container = client.create_database("ä b").create_container("名 前", PartitionKey("/pk"))
        container.create_item({"id": "ö%20/"[:4], "pk": "a"})
        assert container.read_item("ö%20", "a")["pk"] == "a"
        assert len(list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True))) == 1


def test_throughput_can_be_read(container: ContainerProxy) -> None:
    assert container.get_throughput().offer_throughput == 400


def test_containers_do_not_see_each_others_documents(database: DatabaseProxy, container: ContainerProxy) -> None:
    other = database.create_container("other", PartitionKey("/pk"))
    container.create_item({"id": "1", "pk": "a", "n": 1})
    other.create_item({"id": "1", "pk": "a", "n": 2})
    assert [one["n"] for one in container.read_all_items()] == [1]
    assert [one["n"] for one in other.read_all_items()] == [2]


def test_a_container_tells_how_many_documents_it_holds_when_asked(database: DatabaseProxy) -> None:
    container = database.create_container("counted", PartitionKey("/a"))
    for number in range(3):
        container.upsert_item({"id": str(number), "a": number})
    told = container.read(populate_quota_info=True).get_response_headers()["x-ms-resource-usage"]
    assert "documentsCount=3;" in told
    assert "x-ms-resource-usage" not in container.read().get_response_headers()

"""What the service takes, and how it refuses the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError

from local.cosmos import EmbeddedCosmos

from .raw import query, send

MEGABYTE = 2**20
KEY = "x-ms-documentdb-partitionkey"


def link(container: ContainerProxy) -> str:
    return container.container_link


def test_a_query_of_512_kilobytes_is_taken_and_a_longer_one_is_400(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a"})

    def asked(size: int, letter: str = "x") -> list[Any]:
        text = 'SELECT VALUE c.id FROM c WHERE c.id != "'
        text += letter * ((size - len(text) - 1) // len(letter.encode())) + '"'
        return list(container.query_items(text, enable_cross_partition_query=True))

    assert asked(512 * 1024) == ["1"]
    for letter in "xé":
        with pytest.raises(CosmosHttpResponseError) as caught:
            asked(512 * 1024 + 2, letter)
        assert caught.value.status_code == 400
        assert "maximum limit" in caught.value.message


def test_parameters_do_not_count_as_text_but_as_request(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a"})

    def asked(size: int) -> list[Any]:
        given = [{"name": "@v", "value": "x" * size}]
        text = "SELECT VALUE c.id FROM c WHERE c.id != @v"
        return list(container.query_items(text, parameters=given, enable_cross_partition_query=True))

    assert asked(2 * MEGABYTE - 200) == ["1"]
    with pytest.raises(CosmosHttpResponseError) as caught:
        asked(2 * MEGABYTE)
    assert caught.value.status_code == 413


@pytest.mark.parametrize("method", ["create_item", "upsert_item", "replace_item"])
def test_a_document_of_more_than_two_megabytes_is_413(container: ContainerProxy, method: str) -> None:
    def write(size: int) -> None:
        document = {"id": "1", "pk": "a", "text": "x" * size}
        if method == "replace_item":
            container.replace_item("1", document)
        else:
            getattr(container, method)(document)

    if method == "replace_item":
        container.create_item({"id": "1", "pk": "a"})
    write(2 * MEGABYTE - 100)
    with pytest.raises(CosmosHttpResponseError) as caught:
        write(2 * MEGABYTE)
    assert caught.value.status_code == 413
    assert len(container.read_item("1", "a")["text"]) == 2 * MEGABYTE - 100


def test_a_request_is_measured_as_it_is_sent(server: EmbeddedCosmos, container: ContainerProxy) -> None:
    # The same document is small enough in plain characters and too large with each of them escaped.
    document = {"id": "1", "pk": "a", "text": "é" * (MEGABYTE // 2)}
    headers = {KEY: '["a"]'}
    plain = json.dumps(document, ensure_ascii=False).encode()
    assert send(server, "POST", f"{link(container)}/docs", plain, headers).status == 201
    assert send(server, "POST", f"{link(container)}/docs", document, headers).status == 413


def test_a_document_that_a_patch_makes_too_large_is_413(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "one": "x" * MEGABYTE})
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.patch_item("1", "a", [{"op": "add", "path": "/two", "value": "y" * MEGABYTE}])
    assert caught.value.status_code == 413
    assert "two" not in container.read_item("1", "a")


@pytest.mark.parametrize("path", ["/id", "/pk", "/_ts", "/_etag", "/_rid", "/pk/deeper"])
def test_a_patch_of_what_is_fixed_is_400(container: ContainerProxy, path: str) -> None:
    container.create_item({"id": "1", "pk": "a", "n": 1})
    for operation in (
        {"op": "set", "path": path, "value": "b"},
        {"op": "remove", "path": path},
        {"op": "move", "from": path, "path": "/n"},
    ):
        with pytest.raises(CosmosHttpResponseError) as caught:
            container.patch_item("1", "a", [operation])
        assert caught.value.status_code == 400
    assert container.read_item("1", "a")["n"] == 1


def test_what_belongs_to_something_missing_is_404_with_sub_status_1003(server: EmbeddedCosmos) -> None:
    with CosmosClient(server.endpoint, server.key) as client:
        client.create_database("half")
    missing = ("dbs/none/colls/c/docs", "dbs/half/colls/none/docs")
    for path in missing:
        point = {KEY: '["a"]'}
        replies = [
            send(server, "GET", f"{path}/1", headers=point),
            send(server, "DELETE", f"{path}/1", headers=point),
            send(server, "PUT", f"{path}/1", {"id": "1", "pk": "a"}, point),
            send(server, "POST", path, {"id": "1", "pk": "a"}, point),
            send(server, "POST", path, {"id": "1", "pk": "a"}, {**point, "x-ms-documentdb-is-upsert": "True"}),
            query(server, path.removesuffix("/docs"), "SELECT * FROM c"),
            send(server, "GET", path.replace("docs", "pkranges")),
        ]
        assert [(one.status, one.sub_status) for one in replies] == [(404, "1003")] * len(replies)
    for path in ("dbs/none/colls/c", "dbs/none/colls"):
        reply = send(server, "GET", path)
        assert (reply.status, reply.sub_status) == (404, "1003")
    for path in ("dbs/none", "dbs/half/colls/none"):
        for method in ("GET", "DELETE"):
            reply = send(server, method, path)
            assert (reply.status, reply.sub_status) == (404, "0")


def test_a_missing_document_of_a_container_that_is_there_has_no_sub_status(
    server: EmbeddedCosmos, container: ContainerProxy
) -> None:
    reply = send(server, "GET", f"{link(container)}/docs/none", headers={KEY: '["a"]'})
    assert (reply.status, reply.sub_status) == (404, "0")


def test_a_client_whose_container_was_dropped_is_told_404(server: EmbeddedCosmos, database: DatabaseProxy) -> None:
    container = database.create_container("dropped", PartitionKey("/pk"))
    container.create_item({"id": "1", "pk": "a"})
    with CosmosClient(server.endpoint, server.key) as other:
        other.get_database_client("orders").delete_container("dropped")
    for attempt in (
        lambda: container.upsert_item({"id": "2", "pk": "a"}),
        lambda: container.read_item("1", "a"),
        lambda: list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True)),
    ):
        with pytest.raises(CosmosResourceNotFoundError):
            attempt()


@pytest.mark.parametrize(
    ("value", "status"),
    [(["a"], 400), (["a", "b"], 400), ([], 400), ([["a"]], 400), ({"k": 1}, 201), ({}, 201)],
)
def test_an_array_as_partition_key_is_refused_and_an_object_counts_as_none(
    container: ContainerProxy, value: Any, status: int
) -> None:
    # The SDK takes an array for the levels of a key, and an object for no key at all.
    if status == 400:
        with pytest.raises(CosmosHttpResponseError) as caught:
            container.create_item({"id": "1", "pk": value})
        assert caught.value.status_code == 400
    else:
        container.create_item({"id": "1", "pk": value})
        text = 'SELECT VALUE c["pk"] FROM c WHERE NOT IS_PRIMITIVE(c["pk"])'
        assert list(container.query_items(text, enable_cross_partition_query=True)) == [value]


@pytest.mark.parametrize(
    ("header", "sub_status"),
    [('["a"]', None), ("[{}]", None), (None, None), ("[]", "1001"), ('["b"]', "1001"), ('["a","b"]', "1001"),
     ("[null]", "1001"), ('"a"', ""), ("[[]]", ""), ('[{"k":1}]', ""), ("a", "")],
)  # fmt: skip
def test_the_partition_key_of_a_write_has_to_be_said_and_to_fit(
    server: EmbeddedCosmos, container: ContainerProxy, header: str | None, sub_status: str | None
) -> None:
    document = {"id": "1"} if header == "[{}]" else {"id": "1", "pk": "a"}
    headers = {} if header is None else {KEY: header}
    for more in ({}, {"x-ms-documentdb-is-upsert": "True"}):
        reply = send(server, "POST", f"{link(container)}/docs", document, {**headers, **more})
        if sub_status is None and header is not None:
            assert reply.status in (200, 201)
        else:
            assert reply.status == 400
            assert (reply.sub_status or None) == (sub_status or None)


def test_a_document_that_lacks_a_level_of_its_key_needs_to_say_so(
    server: EmbeddedCosmos, database: DatabaseProxy
) -> None:
    container = database.create_container("lacking", PartitionKey(["/a", "/b"], kind="MultiHash"))
    path, document = f"{link(container)}/docs", {"id": "1", "a": "x"}
    reply = send(server, "POST", path, document, {KEY: '["x",null]'})
    assert (reply.status, reply.sub_status) == (400, "1001")
    assert send(server, "POST", path, document, {KEY: '["x"]'}).sub_status == "1001"
    assert send(server, "POST", path, document, {KEY: '["x",{}]'}).status == 201
    assert send(server, "GET", f"{path}/1", headers={KEY: '["x",{}]'}).status == 200


def test_a_partition_key_of_2048_bytes_is_taken_and_a_longer_one_is_400(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "é" * 1024})
    assert container.read_item("1", "é" * 1024)["id"] == "1"
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.create_item({"id": "2", "pk": "é" * 1024 + "x"})
    assert caught.value.status_code == 400


@pytest.mark.parametrize("name", ["x" * 256, "blank "])
def test_a_name_of_a_container_against_the_rules_is_400(
    server: EmbeddedCosmos, database: DatabaseProxy, name: str
) -> None:
    body = {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}
    assert send(server, "POST", "dbs/orders/colls", body).status == 400
    assert send(server, "POST", "dbs", {"id": name}).status == 400
    assert database.create_container("x" * 255, PartitionKey("/pk")).read()["id"] == "x" * 255
    database.delete_container("x" * 255)

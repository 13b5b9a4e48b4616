"""Single documents, as the SDK reads and writes them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos import ContainerProxy, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue

from local.cosmos import EmbeddedCosmos

from .conftest import without_system_properties


def test_a_created_document_can_be_read_by_its_id_and_partition_key(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "total": 12.5})
    assert without_system_properties(container.read_item("1", "a")) == {"id": "1", "pk": "a", "total": 12.5}


def test_a_document_is_not_found_under_another_partition_key(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a"})
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("1", "b")


def test_creating_the_same_id_twice_in_one_partition_is_a_conflict(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "n": 1})
    with pytest.raises(CosmosResourceExistsError):
        container.create_item({"id": "1", "pk": "a", "n": 2})
    assert container.read_item("1", "a")["n"] == 1


def test_the_same_id_can_live_in_two_partitions(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "n": 1})
    container.create_item({"id": "1", "pk": "b", "n": 2})
    assert (container.read_item("1", "a")["n"], container.read_item("1", "b")["n"]) == (1, 2)


def test_upsert_creates_and_then_replaces_under_the_same_rid(container: ContainerProxy) -> None:
    first = container.upsert_item({"id": "1", "pk": "a", "n": 1, "old": True})
    second = container.upsert_item({"id": "1", "pk": "a", "n": 2})
    assert second["_rid"] == first["_rid"]
    assert second["_etag"] != first["_etag"]
    assert without_system_properties(container.read_item("1", "a")) == {"id": "1", "pk": "a", "n": 2}


def test_replacing_a_missing_document_is_404(container: ContainerProxy) -> None:
    with pytest.raises(CosmosResourceNotFoundError):
        container.replace_item("1", {"id": "1", "pk": "a"})


def test_a_replaced_document_has_the_new_content_only(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "old": 1})
    container.replace_item("1", {"id": "1", "pk": "a", "new": 2})
    assert without_system_properties(container.read_item("1", "a")) == {"id": "1", "pk": "a", "new": 2}


def test_a_deleted_document_is_404_afterwards(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a"})
    container.delete_item("1", "a")
    with pytest.raises(CosmosResourceNotFoundError) as caught:
        container.read_item("1", "a")
    assert "NotFound" in caught.value.message
    with pytest.raises(CosmosResourceNotFoundError):
        container.delete_item("1", "a")


def test_system_properties_are_the_servers_and_never_the_clients(container: ContainerProxy) -> None:
    forged = {"_rid": "r", "_self": "s", "_etag": "e", "_attachments": "x", "_ts": 5}
    stored = container.create_item({"id": "1", "pk": "a", **forged, "_mine": 1})
    for name, value in forged.items():
        assert stored[name] != value
    assert stored["_mine"] == 1
    assert stored["_ts"] > 1_600_000_000


def test_if_match_with_an_old_etag_is_412_and_changes_nothing(container: ContainerProxy) -> None:
    old = container.create_item({"id": "1", "pk": "a", "n": 1})
    new = container.upsert_item({"id": "1", "pk": "a", "n": 2})
    for attempt in (
        lambda: container.replace_item(
            "1", {"id": "1", "pk": "a"}, etag=old["_etag"], match_condition=MatchConditions.IfNotModified
        ),
        lambda: container.upsert_item(
            {"id": "1", "pk": "a"}, etag=old["_etag"], match_condition=MatchConditions.IfNotModified
        ),
        lambda: container.delete_item(
            "1", "a", etag=old["_etag"], match_condition=MatchConditions.IfNotModified
        ),
    ):  # fmt: skip
        with pytest.raises(CosmosAccessConditionFailedError):
            attempt()
    assert container.read_item("1", "a")["n"] == 2
    container.replace_item(
        "1", {"id": "1", "pk": "a", "n": 3}, etag=new["_etag"], match_condition=MatchConditions.IfNotModified
    )
    assert container.read_item("1", "a")["n"] == 3


def test_if_none_match_with_the_current_etag_is_304_without_a_body(container: ContainerProxy) -> None:
    stored = container.create_item({"id": "1", "pk": "a"})
    seen: list[dict[str, Any]] = []
    container.read_item(
        "1",
        "a",
        etag=stored["_etag"],
        match_condition=MatchConditions.IfModified,
        response_hook=lambda headers, body: seen.append(dict(headers)),
    )
    assert seen[0]["etag"] == stored["_etag"]
    changed = container.upsert_item({"id": "1", "pk": "a", "n": 2})
    got = container.read_item("1", "a", etag=stored["_etag"], match_condition=MatchConditions.IfModified)
    assert got["_etag"] == changed["_etag"]


def _create_past_the_client(container: ContainerProxy, document: dict[str, Any]) -> int | None:
    """The status of a create by batch, whose documents the SDK does not check."""
    try:
        container.execute_item_batch([("create", (document,))], "a")
    except CosmosBatchOperationError as problem:
        return problem.status_code
    return 201


@pytest.mark.parametrize("bad", ["a/b", "a\\b", "a#b", "a?b", "x" * 1024, "é" * 512, ""])
def test_an_id_against_the_rules_is_400(container: ContainerProxy, bad: str) -> None:
    assert _create_past_the_client(container, {"id": bad, "pk": "a"}) == 400


@pytest.mark.parametrize("good", ["x" * 1023, "é" * 511, "a b", "100%", "名前", "a+b&c=d", "a'b\"c"])
def test_an_id_within_the_rules_can_be_written_read_and_deleted(container: ContainerProxy, good: str) -> None:
    container.create_item({"id": good, "pk": good})
    assert container.read_item(good, good)["id"] == good
    container.delete_item(good, good)


@pytest.mark.parametrize("document", [{"pk": "a"}, {"id": 5, "pk": "a"}, {"id": None, "pk": "a"}])
def test_a_document_without_a_proper_id_is_400(container: ContainerProxy, document: dict[str, Any]) -> None:
    assert _create_past_the_client(container, document) == 400


def test_a_create_without_id_is_400(container: ContainerProxy) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.create_item({"pk": "a"})
    assert caught.value.status_code == 400


def test_a_document_above_two_megabytes_is_413(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "text": "x" * (2 * 1024 * 1024 - 100)})
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.create_item({"id": "2", "pk": "a", "text": "x" * (2 * 1024 * 1024 + 1)})
    assert caught.value.status_code == 413


def _nested(depth: int) -> Any:
    value: Any = 1
    for i in range(depth):
        value = [value] if i % 2 else {"deeper": value}
    return value


EXACT: dict[str, Any] = {
    "z_first": 1,
    "beyond_double": 2**53 + 1,
    "beyond_int64": 2**70 + 1,
    "negative": -(2**63) - 1,
    "huge": 1e300,
    "tiny": 5e-324,
    "third": 1 / 3,
    "minus_zero": -0.0,
    "whole_float": 1.0,
    "nothing": None,
    "true": True,
    "empty": [{}, [], ""],
    "text": 'é 名前 😀 \u0000\u001f\u007f\u2028 " \\ / \ud800',
    "ключ \u00e9": {"a b": 1, "$.x": 2, "": 3},
    "deep": _nested(120),
    "a_last": 2,
}


def _same(one: Any, other: Any) -> bool:
    """Equal in value, type, sign and order of names."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def test_values_come_back_exactly_as_they_went_in(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", **EXACT})
    query = "SELECT * FROM c"
    reads = {
        "read": container.read_item("1", "a"),
        "query": next(iter(container.query_items(query, partition_key="a"))),
        "projection": next(iter(container.query_items("SELECT VALUE {'doc': c} FROM c", partition_key="a")))["doc"],
        "batch": container.execute_item_batch([("read", ("1",))], "a")[0]["resourceBody"],
    }
    for way, document in reads.items():
        assert _same(without_system_properties(document), {"id": "1", "pk": "a", **EXACT}), way


def test_projected_values_are_exact_as_well(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", **EXACT})
    columns = ", ".join(f"c[{json.dumps(name)}] AS v{i}" for i, name in enumerate(EXACT))
    found = next(iter(container.query_items(f"SELECT {columns} FROM c", partition_key="a")))
    assert _same(list(found.values()), list(EXACT.values()))


def test_nesting_beyond_128_levels_is_400(container: ContainerProxy) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.create_item({"id": "1", "pk": "a", "deep": _nested(130)})
    assert caught.value.status_code == 400


@pytest.mark.parametrize("value", ["a", "", "é😀", 0, 1, 1.5, -0.0, 2**60, True, False, None])
def test_partition_key_values_of_each_type_address_their_document(container: ContainerProxy, value: Any) -> None:
    container.create_item({"id": "1", "pk": value})
    assert container.read_item("1", value)["pk"] == value
    if value is not None:  # for a query the SDK takes None to mean all partitions
        assert [found["id"] for found in container.query_items("SELECT c.id FROM c", partition_key=value)] == ["1"]
    container.delete_item("1", value)
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("1", value)


def test_partition_keys_of_different_types_are_different(container: ContainerProxy) -> None:
    values: list[Any] = ["1", 1, True, None, "true", "null", ""]
    for n, value in enumerate(values):
        container.create_item({"id": "x", "pk": value, "n": n})
    assert [container.read_item("x", value)["n"] for value in values] == list(range(len(values)))


def test_a_document_without_partition_key_value_is_addressed_by_none_partition_key_value(
    container: ContainerProxy,
) -> None:
    container.create_item({"id": "1"})
    assert container.read_item("1", NonePartitionKeyValue)["id"] == "1"
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("1", None)
    container.delete_item("1", NonePartitionKeyValue)


def test_a_nested_partition_key_path_is_followed(database: DatabaseProxy) -> None:
    container = database.create_container("nested", PartitionKey("/customer/id"))
    container.create_item({"id": "1", "customer": {"id": "c7"}})
    assert container.read_item("1", "c7")["id"] == "1"


def test_hierarchical_keys_address_documents_and_prefixes(database: DatabaseProxy) -> None:
    container = database.create_container("levels", PartitionKey(["/tenant", "/user", "/day"], kind="MultiHash"))
    for tenant in "ab":
        for user in "xyz":
            container.create_item({"id": "1", "tenant": tenant, "user": user, "day": 1})
    assert container.read_item("1", ["a", "y", 1])["user"] == "y"
    found = container.query_items("SELECT VALUE c.user FROM c", partition_key=["a"])
    assert sorted(found) == ["x", "y", "z"]
    assert list(container.query_items("SELECT VALUE c.tenant FROM c", partition_key=["b", "z"])) == ["b"]
    container.delete_item("1", ["a", "x", 1])
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("1", ["a", "x", 1])


def test_a_response_without_content_is_empty(container: ContainerProxy) -> None:
    assert not container.create_item({"id": "1", "pk": "a"}, no_response=True)
    assert container.read_item("1", "a")["id"] == "1"


def test_patch_changes_the_named_parts(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "n": 1, "list": [1, 2], "gone": 1, "from": "x", "big": 2**70 + 1})
    container.patch_item(
        "1",
        "a",
        [
            {"op": "set", "path": "/n", "value": 5},
            {"op": "incr", "path": "/n", "value": 2},
            {"op": "add", "path": "/list/-", "value": 3},
            {"op": "remove", "path": "/gone"},
            {"op": "move", "from": "/from", "path": "/to"},
        ],
    )
    stored = without_system_properties(container.read_item("1", "a"))
    assert stored == {"id": "1", "pk": "a", "n": 7, "list": [1, 2, 3], "to": "x", "big": 2**70 + 1}


def test_each_answer_tells_its_charge_session_and_etag(container: ContainerProxy) -> None:
    seen: list[dict[str, Any]] = []

    def note(headers: Any, body: Any) -> None:
        seen.append(dict(headers))

    container.create_item({"id": "1", "pk": "a", "text": "x" * 5000}, response_hook=note)
    container.read_item("1", "a", response_hook=note)
    write, read = seen
    assert float(write["x-ms-request-charge"]) > float(read["x-ms-request-charge"]) >= 5
    assert write["etag"] == read["etag"]
    assert write["x-ms-session-token"].partition(":")[0] == write["x-ms-documentdb-partitionkeyrangeid"]
    assert write["x-ms-activity-id"]


def test_damaged_documents_can_be_put_past_the_rules(server: EmbeddedCosmos, container: ContainerProxy) -> None:
    server.put_raw("orders", container.id, {"pk": "a", "n": 1})
    server.put_raw("orders", container.id, {"id": "no-key", "n": 2})
    server.put_raw("orders", container.id, '{"id": 7, "pk": "a", "n": 1e300}')
    found = list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True))
    assert len(found) == 3
    assert sorted((str(one.get("id")), one["n"]) for one in found) == [("7", 1e300), ("None", 1), ("no-key", 2)]
    missing = container.query_items("SELECT VALUE c.n FROM c WHERE NOT IS_DEFINED(c.id)", partition_key="a")
    assert list(missing) == [1]

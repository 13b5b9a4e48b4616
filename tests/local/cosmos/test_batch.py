"""Transactional batches: all operations or none."""

from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError


def ids(container: ContainerProxy) -> list[str]:
    return sorted(container.query_items("SELECT VALUE c.id FROM c", partition_key="a"))


def test_each_kind_of_operation_is_answered_in_order(container: ContainerProxy) -> None:
    container.create_item({"id": "old", "pk": "a", "n": 1})
    container.create_item({"id": "gone", "pk": "a"})
    results = container.execute_item_batch(
        [
            ("create", ({"id": "new", "pk": "a", "big": 2**70 + 1},)),
            ("upsert", ({"id": "up", "pk": "a"},)),
            ("replace", ("old", {"id": "old", "pk": "a", "n": 2})),
            ("patch", ("old", [{"op": "incr", "path": "/n", "value": 5}])),
            ("delete", ("gone",)),
            ("read", ("old",)),
        ],
        "a",
    )
    assert [one["statusCode"] for one in results] == [201, 201, 200, 200, 204, 200]
    assert results[0]["resourceBody"]["big"] == 2**70 + 1
    assert results[5]["resourceBody"]["n"] == 7
    assert results[0]["eTag"] == results[0]["resourceBody"]["_etag"]
    assert ids(container) == ["new", "old", "up"]


def test_one_failure_undoes_the_whole_batch(container: ContainerProxy) -> None:
    container.create_item({"id": "there", "pk": "a"})
    with pytest.raises(CosmosBatchOperationError) as caught:
        container.execute_item_batch(
            [
                ("create", ({"id": "1", "pk": "a"},)),
                ("delete", ("there",)),
                ("create", ({"id": "1", "pk": "a"},)),
                ("create", ({"id": "2", "pk": "a"},)),
            ],
            "a",
        )
    assert caught.value.error_index == 2
    assert caught.value.status_code == 409
    assert [one["statusCode"] for one in caught.value.operation_responses] == [424, 424, 409, 424]
    assert ids(container) == ["there"]


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (("replace", ("none", {"id": "none", "pk": "a"})), 404),
        (("delete", ("none",)), 404),
        (("read", ("none",)), 404),
        (("create", ({"id": "1", "pk": "b"},)), 400),
        (("upsert", ({"id": "there", "pk": "a"},), {"if_match_etag": '"old"'}), 412),
    ],
)
def test_a_failing_operation_is_told_by_its_status(
    container: ContainerProxy, operation: tuple[Any, ...], status: int
) -> None:
    container.create_item({"id": "there", "pk": "a", "n": 1})
    with pytest.raises(CosmosBatchOperationError) as caught:
        container.execute_item_batch([("upsert", ({"id": "x", "pk": "a"},)), operation], "a")  # type: ignore[list-item]
    assert caught.value.status_code == status
    assert ids(container) == ["there"]


def test_a_hundred_operations_are_a_batch_and_one_more_is_400(container: ContainerProxy) -> None:
    operations = [("create", ({"id": str(n), "pk": "a"},)) for n in range(101)]
    with pytest.raises(CosmosHttpResponseError) as caught:
        container.execute_item_batch(operations, "a")
    assert caught.value.status_code == 400
    assert ids(container) == []
    assert len(container.execute_item_batch(operations[:100], "a")) == 100
    assert len(ids(container)) == 100


def test_a_batch_of_two_megabytes_is_taken_and_a_larger_one_is_413(container: ContainerProxy) -> None:
    def batch(length: int) -> None:
        container.execute_item_batch(
            [("upsert", ({"id": str(n), "pk": "a", "text": "x" * length},)) for n in range(2)], "a"
        )

    batch(2**20 - 500)
    with pytest.raises(CosmosHttpResponseError) as caught:
        batch(2**20)
    assert caught.value.status_code == 413

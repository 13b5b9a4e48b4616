"""Failures on order: throttling, errors, delays and cut connections."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError

from local.cosmos import EmbeddedCosmos


def document(n: int = 1) -> dict[str, Any]:
    return {"id": str(n), "pk": "a"}


def test_above_the_limit_requests_get_429_with_a_time_to_wait(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_server.throttle(0.5)
    # The SDK takes "no retries" for "the usual nine": so they follow one another at once.
    with CosmosClient(own_server.endpoint, own_server.key, retry_fixed_interval=1) as client:
        impatient = client.get_database_client("orders").get_container_client("orders")
        impatient.create_item(document(1))
        with pytest.raises(CosmosHttpResponseError) as caught:
            impatient.create_item(document(2))
    assert caught.value.status_code == 429
    assert caught.value.sub_status == 3200
    assert 5000 < int(caught.value.headers["x-ms-retry-after-ms"]) < 15000
    assert own_server.stats()["throttled"] == 10
    own_server.throttle(None)
    own_container.create_item(document(2))


def test_a_client_that_waits_as_told_gets_through_at_the_limits_rate(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_container.create_item(document(0))
    own_server.throttle(200)
    begin = time.monotonic()
    for n in range(1, 101):
        own_container.create_item(document(n))
    # 100 creates of 5.7 units, of which the bucket held 200 at the beginning.
    assert 1.5 < time.monotonic() - begin < 6
    assert own_server.stats()["throttled"] > 0


def test_the_limit_can_be_given_at_the_start(tmp_path: Path) -> None:
    with (
        EmbeddedCosmos(tmp_path / "slow.sqlite", throughput=1) as server,
        CosmosClient(server.endpoint, server.key, retry_fixed_interval=1) as client,
    ):
        container = client.create_database("d").create_container("c", PartitionKey("/pk"))
        container.create_item(document(1))
        with pytest.raises(CosmosHttpResponseError) as caught:
            container.create_item(document(2))
        assert container.get_throughput().offer_throughput == 1
    assert caught.value.status_code == 429


def test_ordered_failures_come_in_number_and_place_and_apply_nothing(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_server.fail(status=449, count=2, method="POST", after=2, sub_status=5)
    own_container.create_item(document(0))
    own_container.create_item(document(1))
    for _ in range(2):
        with pytest.raises(CosmosHttpResponseError) as caught:
            own_container.create_item(document(2))
        assert (caught.value.status_code, caught.value.sub_status) == (449, 5)
    with pytest.raises(CosmosResourceNotFoundError):
        own_container.read_item("2", "a")
    own_container.create_item(document(2))


def test_a_failure_can_be_limited_to_a_path_or_an_operation(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_container.create_item(document(1))
    own_container.create_item(document(2))
    own_server.fail(status=403, path_contains="/docs/2")
    own_server.fail(status=403, operation="DeleteDocument")
    assert own_container.read_item("1", "a")["id"] == "1"
    with pytest.raises(CosmosHttpResponseError):
        own_container.read_item("2", "a")
    with pytest.raises(CosmosHttpResponseError):
        own_container.delete_item("1", "a")
    assert own_container.read_item("1", "a")["id"] == "1"


def test_reset_takes_back_what_was_ordered(own_server: EmbeddedCosmos, own_container: ContainerProxy) -> None:
    own_server.fail(count=100)
    own_server.drop(count=100)
    own_server.throttle(0.001)
    own_server.delay(5000)
    own_server.reset_faults()
    begin = time.monotonic()
    own_container.create_item(document())
    assert time.monotonic() - begin < 2


def test_a_delay_holds_each_request_back_and_not_the_others(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    own_container.create_item(document())
    own_server.delay(200)
    begin = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: own_container.read_item("1", "a"), range(10)))
    assert 0.2 <= time.monotonic() - begin < 1.5


def test_a_dropped_write_is_not_applied(own_server: EmbeddedCosmos, own_container: ContainerProxy) -> None:
    own_server.drop(count=1)
    with pytest.raises(ServiceResponseError):
        own_container.create_item(document())
    with pytest.raises(CosmosResourceNotFoundError):
        own_container.read_item("1", "a")


def test_a_write_cut_after_it_was_applied_is_there(own_server: EmbeddedCosmos, own_container: ContainerProxy) -> None:
    own_server.drop_after_apply(count=1, after=1)
    own_container.create_item(document(1))
    with pytest.raises(ServiceResponseError):
        own_container.create_item(document(2))
    assert own_container.read_item("2", "a")["id"] == "2"


def test_a_batch_cut_after_it_was_applied_is_there_as_a_whole(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_server.drop_after_apply(operation="Batch")
    with pytest.raises(ServiceResponseError):
        own_container.execute_item_batch([("create", (document(n),)) for n in range(5)], "a")
    assert len(list(own_container.read_all_items())) == 5


def test_the_counters_tell_requests_charges_and_whole_documents(
    own_server: EmbeddedCosmos, own_container: ContainerProxy
) -> None:
    own_server.reset_stats()
    for n in range(5):
        own_container.create_item(document(n))
    own_container.read_item("1", "a")
    list(own_container.query_items("SELECT c.id FROM c", partition_key="a"))
    before = own_server.stats()
    assert before["documents_read"] == 1
    list(own_container.query_items("SELECT * FROM c", partition_key="a"))
    list(own_container.read_all_items())
    after = own_server.stats()
    assert after["documents_read"] == 11
    assert after["requests"]["CreateDocument"] == 5
    assert after["requests"]["QueryDocuments"] == 2
    assert after["request_charge"] > before["request_charge"] > 25


def test_an_unknown_fault_is_refused(own_server: EmbeddedCosmos) -> None:
    with pytest.raises(RuntimeError, match="unexpected"):
        own_server._control("fault", nonsense=1)
    with pytest.raises(RuntimeError, match="no such control route"):
        own_server._control("nonsense")

"""What the Cosmos store keeps of a copy beside its history, and how it says where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from azure.cosmos import PartitionKey

from backup_sync.model.errors import FatalError, RetriableError
from backup_sync.model.service import Service
from backup_sync.stores.base import Store
from backup_sync.stores.cosmos.account import Account
from backup_sync.stores.cosmos.catalog import CosmosCatalog
from backup_sync.stores.cosmos.store import cosmos_store
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend

VALUE = {
    "text": "ключ 🎁 '\"",
    "number": 1.5,
    "none": None,
    "list": [1, {"deep": True}],
    "moment": "2024-01-01T00:00:00Z",
}


def ends(backend: CosmosBackend, service: Service | None = None) -> tuple[Store, Store]:
    return backend.open(service or backend.service())


def account_of(store: Store, **changes: Any) -> Account:
    assert isinstance(store.catalog, CosmosCatalog)
    return replace(store.catalog.account, **changes)


def kept(store: Store) -> dict[str, Any]:
    """What a test has kept; the pairing comes with every backup."""
    return {name: value for name, value in store.journal.states().items() if name != "pairing"}


@pytest.fixture
def backup(own: CosmosBackend) -> Iterator[Store]:
    own.initialize()
    source, store = ends(own)
    with closing(source), closing(store):
        yield store


# state


def test_what_is_kept_is_found_again_as_it_was_until_it_is_removed(cosmos: CosmosBackend) -> None:
    cosmos.initialize()
    _, backup = ends(cosmos)
    with closing(backup):
        assert kept(backup) == {}
        assert backup.journal.keep_state("one", VALUE)
        assert backup.journal.keep_state("two", {})
        assert kept(backup) == {"one": VALUE, "two": {}}
        assert backup.journal.keep_state("one", {"changed": 1})
        assert kept(backup) == {"one": {"changed": 1}, "two": {}}
        assert backup.journal.keep_state("one", None)
        assert backup.journal.keep_state("one", None), "removing what is gone is no fault"
        assert kept(backup) == {"two": {}}


def test_only_one_can_be_the_first_to_keep_something(cosmos: CosmosBackend) -> None:
    cosmos.initialize()
    _, backup = ends(cosmos)
    _, other = ends(cosmos)
    with closing(backup), closing(other):
        assert backup.journal.keep_state("one", {"by": 1}, new=True)
        assert not other.journal.keep_state("one", {"by": 2}, new=True)
        assert not backup.journal.keep_state("one", {"by": 1}, new=True), "an equal value is not ours"
        assert kept(other) == {"one": {"by": 1}}


@pytest.mark.parametrize("new", [True, False])
def test_a_lost_answer_is_no_failure_to_keep(
    own: CosmosBackend, backup: Store, pair: list[EmbeddedCosmos], new: bool
) -> None:
    backup.journal.states()  # what the SDK reads first is read
    for operation in ("CreateDocument", "UpsertDocument"):
        pair[1].drop_after_apply(count=1, operation=operation, path_contains=own.history)
    assert backup.journal.keep_state("one", VALUE, new=new)
    assert kept(backup) == {"one": VALUE}
    pair[1].reset_faults()
    pair[1].drop_after_apply(count=1, operation="DeleteDocument", path_contains=own.history)
    assert backup.journal.keep_state("one", None)
    assert kept(backup) == {}


def test_states_belong_to_the_container_and_not_to_the_service(own: CosmosBackend) -> None:
    own.initialize()
    _, one = ends(own)
    _, same = ends(own, own.service().model_copy(update={"name": "another"}))
    other = cosmos_store(own.service(), account_of(one, container="other"), "backup", copy=True)
    with closing(one), closing(same), closing(other):
        one.journal.keep_state("one", VALUE)
        assert kept(same) == {"one": VALUE}
        assert kept(other) == {}


def test_states_are_read_in_one_request(backup: Store, pair: list[EmbeddedCosmos]) -> None:
    for number in range(5):
        backup.journal.keep_state(f"state-{number}", VALUE)
    pair[1].reset_stats()
    assert len(kept(backup)) == 5
    assert pair[1].stats()["requests"] == {"QueryDocuments": 1}


def test_history_does_not_see_states(own: CosmosBackend) -> None:
    own.put((1, 1, "a"))
    own.initialize()
    _, backup = ends(own)
    with closing(backup):
        backup.journal.keep_state("one", VALUE)
        own.sync(run_id="first")
        assert [run["RunId"] for run in backup.journal.newest()] == ["first"]
        assert kept(backup)["one"] == VALUE


def test_where_nothing_was_initialised_nothing_is_kept(own: CosmosBackend) -> None:
    _, backup = ends(own)
    with closing(backup):
        assert kept(backup) == {}
        with pytest.raises(FatalError, match=r"answered 404 on container .*; if it is missing, run the DAG"):
            backup.journal.keep_state("one", VALUE)


def test_a_server_that_is_away_is_not_taken_for_one_that_keeps_nothing(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    own.initialize()
    _, backup = ends(own, own.service(retry_seconds=1))
    with closing(backup):
        backup.journal.keep_state("one", VALUE)
        pair[1].fail(503, count=10_000, path_contains=own.history)
        with pytest.raises(RetriableError, match="keeps answering 503"):
            backup.journal.states()
        pair[1].reset_faults()
        pair[1].fail(404, sub_status=1002, count=10_000, path_contains=own.history)
        with pytest.raises(RetriableError, match="lags behind"):
            backup.journal.states()


# identity


def spelled(store: Store, endpoint: str) -> Store:
    """A store at the same place under another spelling of its address."""
    return cosmos_store(store.service, account_of(store, endpoint=endpoint), store.label, copy=False)


def test_one_container_is_the_same_however_its_address_is_spelled(
    cosmos: CosmosBackend, request: pytest.FixtureRequest
) -> None:
    if cosmos.name == "cosmos-account":
        pytest.skip("its address has one spelling only that every network leads to")
    source, _ = ends(cosmos)
    endpoint = account_of(source).endpoint
    host = "localhost" if "127.0.0.1" in endpoint else "127.0.0.1"
    for spelling in (endpoint.rstrip("/"), endpoint.replace("localhost", host).replace("127.0.0.1", host)):
        other = spelled(source, spelling)
        with closing(source), closing(other):
            assert source.catalog.is_at(other.catalog)
            assert source.catalog.identity() == other.catalog.identity()
            assert source.catalog.identity()["account"]


def test_two_containers_are_not_the_same(own: CosmosBackend) -> None:
    own.initialize()
    source, backup = ends(own)
    history = cosmos_store(own.service(), account_of(backup, container=own.history), "x", copy=True)
    with closing(source), closing(backup), closing(history):
        assert not source.catalog.is_at(backup.catalog)
        assert not backup.catalog.is_at(history.catalog)
        assert backup.catalog.is_at(backup.catalog)


def test_a_container_that_is_not_there_is_no_other_ones(own: CosmosBackend) -> None:
    source, backup = ends(own)
    with closing(source), closing(backup):
        found = backup.catalog.identity()
        assert (found["rid"], found["database_rid"]) == (None, None)
        assert found["account"]
        assert not backup.catalog.is_at(backup.catalog)
        assert not source.catalog.is_at(backup.catalog)


def test_a_container_that_was_made_anew_is_another(own: CosmosBackend) -> None:
    source, _ = ends(own)
    with closing(source):
        before = source.catalog.identity()
    own.database.delete_container(own.container)
    own.source = own.database.create_container(own.container, PartitionKey("/group"))
    source, _ = ends(own)
    with closing(source):
        assert not source.catalog.same(before, source.catalog.identity())
        assert source.catalog.same(before, before)


def test_to_know_where_a_store_is_costs_no_request(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    asked: list[dict[str, Any]] = []
    for identity in (False, True):
        source, _ = ends(own)
        with closing(source):
            pair[0].reset_stats()
            source.catalog.describe()
            if identity:
                source.catalog.identity()
            asked.append(pair[0].stats()["requests"])
            # The SDK reads the account on its own clock.
            asked[-1].pop("ReadAccount", None)
    assert asked[0] == asked[1]

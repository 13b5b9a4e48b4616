"""What an answer of the service means: which is about one document, and which fields a container really has."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.service import Service
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend
from tests.conformance.test_cosmos import document, put


@pytest.fixture
def alone(servers: list[EmbeddedCosmos]) -> Iterator[CosmosBackend]:
    found = CosmosBackend("own", *[(server.endpoint, server.key) for server in servers])
    yield found
    found.close()
    for server in servers:
        server.reset_faults()


def drop(own: CosmosBackend, at: str) -> Any:
    """Somebody drops the backup's container at that point of a run."""

    def act(name: str) -> None:
        if name == at:
            own.clients[1].get_database_client(own.backup_database).delete_container(own.container)

    return faults.installed(act)


# writes


@pytest.mark.parametrize("same_key", [False, True])
@pytest.mark.parametrize("status", [404, 405, 409, 412])
def test_an_answer_that_is_not_about_one_document_fails_the_run(
    alone: CosmosBackend, servers: list[EmbeddedCosmos], status: int, same_key: bool
) -> None:
    put(alone, *(document(id=str(n), group="g" if same_key else f"g{n}") for n in range(6)))
    alone.initialize()
    for operation in ("UpsertDocument", "Batch"):
        servers[1].fail(status, count=999, operation=operation, path_contains=alone.container)
    words = "things-.* is gone .*backup_initialize" if status == 404 else f"answered {status} .* on writing a document"
    with pytest.raises(FatalError, match=words):
        alone.sync()
    servers[1].reset_faults()
    assert alone.counts() == (6, 0, 0, 0)


@pytest.mark.parametrize("status", [400, 413])
def test_an_answer_about_one_document_rejects_it_alone(
    alone: CosmosBackend, servers: list[EmbeddedCosmos], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    put(alone, *(document(id=str(n), group=f"g{n}", note="secret") for n in range(6)))
    alone.initialize()
    servers[1].fail(status, count=1, operation="UpsertDocument", path_contains=alone.container)
    with caplog.at_level(logging.WARNING):
        run = alone.sync()
    assert (run.inserted, run.rejected) == (5, 1)
    assert "is counted as rejected" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("same_key", [False, True])
def test_a_backup_whose_container_goes_while_the_run_writes_is_no_success(alone: CosmosBackend, same_key: bool) -> None:
    put(alone, *(document(id=str(n), group="g" if same_key else f"g{n}") for n in range(20)))
    alone.initialize()
    alone.sync()
    put(alone, *(document(id=str(n), group="g" if same_key else f"g{n}", version=2) for n in range(5)))
    with drop(alone, "before apply"), pytest.raises(FatalError, match=r"is gone .*backup_initialize"):
        alone.sync()


def test_a_backup_whose_container_goes_before_the_deletes_is_no_success(alone: CosmosBackend) -> None:
    put(alone, *(document(id=str(n), group=f"g{n}") for n in range(20)))
    alone.initialize()
    alone.sync()
    alone.source.delete_item("5", "g5")
    with drop(alone, "before delete"), pytest.raises(FatalError, match="is gone"):
        alone.sync()


def test_a_document_that_is_gone_already_is_no_fault_of_a_delete(alone: CosmosBackend) -> None:
    put(alone, *(document(id=str(n), group=f"g{n}") for n in range(20)))
    alone.initialize()
    alone.sync()
    alone.source.delete_item("5", "g5")
    alone.source.delete_item("6", "g6")

    def act(name: str) -> None:
        if name == "before delete":
            backup = alone.clients[1].get_database_client(alone.backup_database)
            backup.get_container_client(alone.container).delete_item("5", "g5")

    with faults.installed(act):
        assert alone.sync().deleted == 1
    assert alone.backup_rows() == alone.source_rows()


# fields


def checked(own: CosmosBackend, service: Service, **options: bool) -> None:
    source, backup = own.open(service)
    with closing(source), closing(backup):
        assert source.check_fields is not None
        source.check_fields(**options)


def test_a_field_that_no_document_has_is_refused_by_name(alone: CosmosBackend) -> None:
    put(alone, *(document(id=str(n), group=f"g{n}", secret="hidden") for n in range(20)))
    service = alone.service(changed={"version": "higher", "Version": "higher"})
    with pytest.raises(ConfigurationError) as caught:
        checked(alone, service)
    assert str(caught.value) == (
        f"source: no document of container {alone.container} has the field Version, which 'changed' of service thing "
        "names; correct its spelling (case counts)"
    )
    with pytest.raises(ConfigurationError, match="has the field Type, which 'where' of service thing names"):
        checked(alone, alone.service(where={"Type": "hidden"}))
    with pytest.raises(ConfigurationError, match="has the field Type, which 'where' of service thing names"):
        checked(alone, alone.service(where={"Type": "hidden"}), matched=True)
    checked(alone, alone.service())


def test_a_field_that_one_document_among_many_has_is_found(alone: CosmosBackend) -> None:
    put(alone, *(document(id=str(n), group=f"g{n}") for n in range(40)))
    put(alone, document(id="x", group="x", meta={"when changed": None}))
    checked(alone, alone.service(changed={"meta/when changed": "newer"}))


def test_a_stamp_that_only_other_documents_have_is_refused(alone: CosmosBackend) -> None:
    put(alone, document(id="1", group="a"), {"id": "2", "group": "a", "type": "Other", "modified": 1})
    with pytest.raises(ConfigurationError, match="has the field modified, which 'changed'"):
        checked(alone, alone.service(changed={"modified": "higher"}))
    checked(alone, alone.service(changed={"modified": "higher"}, where={"type": "Other"}))


@pytest.mark.parametrize("value", [1, "true", "thing"])
def test_a_where_that_matches_nothing_is_refused_unless_it_matched_before(alone: CosmosBackend, value: Any) -> None:
    put(alone, document(id="1", group="a"), document(id="2", group="a", type=True))
    service = alone.service(where={"type": value})
    with pytest.raises(ConfigurationError, match="matches 'where' of service thing while the container holds others"):
        checked(alone, service)
    checked(alone, service, matched=True)


def test_an_empty_container_has_no_fields_to_check(alone: CosmosBackend) -> None:
    checked(alone, alone.service(changed={"anything": "newer"}, where={"whatever": True}))


def test_a_container_is_void_only_without_documents_of_any_kind(alone: CosmosBackend) -> None:
    source, backup = alone.open(alone.service())
    with closing(source), closing(backup):
        assert source.catalog.vacant()
        put(alone, {"id": "1", "group": "a", "type": "Other"})
        assert not source.catalog.vacant()
        assert source.reader(source.catalog.describe()).empty()

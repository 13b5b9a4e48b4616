"""The history of records of documents that are near the limits of the service."""

from __future__ import annotations

import random
import string
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.faults import installed
from backup_sync.stores.cosmos.beside import OURS
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend
from tests.conformance.test_cosmos_keys import Keyed
from tests.conformance.test_points import Killed, killed
from tests.test_docs import blocks

KEEP = {"keep_history": "30d", "guard": {"count": 1_000}}
LONG = "漢" * 341


@pytest.fixture(params=[["/id"], ["/group"], ["/tenant", "/user/id"]], ids=" ".join)
def keyed(servers: list[EmbeddedCosmos], request: pytest.FixtureRequest) -> Any:
    found = Keyed(servers, request.param)
    yield found
    found.own.close()


def as_of(keyed: Keyed, number: int) -> list[Any]:
    source, backup = keyed.own.open(keyed.own.service(**KEEP))
    with closing(source), closing(backup):
        assert backup.undo is not None
        reader = backup.undo.reader(backup.catalog.describe(), number)
        found = [document for page in reader.records(None) for document in page]
        keys = [reader.key_of(document) for document in found]
        assert reader.present([*keys, ("none", keys[0][1])]) == set(keys)
        assert sorted(map(repr, (d for page in reader.records_of(keys) for d in page))) == sorted(map(repr, found))
    return sorted(found, key=repr)


def test_large_documents_and_long_ids_are_kept(keyed: Keyed) -> None:
    chance = random.Random(1)
    own, width = keyed.own, len(keyed.names)
    letters = string.ascii_letters + string.digits + '+/"\\'
    large = "".join(chance.choices(letters, k=1_850_000))
    values = [{"x": 1}, "k", None][:width]
    documents = [
        keyed.document(LONG, ["one"] * width),
        keyed.document("large", values) | {"body": large},
        keyed.document("wide", ["two"] * width) | {"body": "🎁" * 450_000},
    ]
    keyed.put(*documents)
    service = own.service(**KEEP)
    own.initialize(service=service)
    states = {own.sync(service=service).run_number: own.backup_rows()}
    keyed.put(*({**document, "version": 2, "body": "small"} for document in documents))
    for version in (2, 3):
        number = own.sync(service=service).run_number
        states[number] = own.backup_rows()
        keyed.remove(documents[version - 1])
    own.sync(service=service)
    assert {number: as_of(keyed, number) for number in states} == states
    assert {row[OURS]["op"] for row in own.undo_rows()} == {"U", "D", "part"}
    source, backup = own.open(service)
    with closing(source), closing(backup):
        assert backup.undo is not None
        backup.undo.thin(1, 4)
        assert as_of(keyed, 1) == states[1]
        backup.undo.cut(4)
    assert own.undo_rows() == []


def test_a_retry_that_finds_a_larger_document_leaves_what_was_kept_readable(own: CosmosBackend) -> None:
    """The run dies after its update; meanwhile the document, now of more parts, is deleted in the source."""
    service = own.service(**KEEP)
    first = {"id": "a", "group": "g", "type": "Thing", "version": 1, "state": "new", "body": "x" * 1_510_000}
    own.put_documents(("g", first), ("g", first | {"id": "b", "body": "small"}))
    own.initialize(service=service)
    own.sync(service=service)
    before = own.backup_rows()
    own.put_documents(("g", first | {"version": 2, "body": "y" * 1_990_000}))
    with pytest.raises(Killed), installed(killed("after write", 1)):
        own.sync("dies", service=service)
    own.source.delete_item("a", "g")
    own.sync("dies", service=service)
    source, backup = own.open(service)
    with closing(source), closing(backup):
        assert backup.undo is not None
        reader = backup.undo.reader(backup.catalog.describe(), 1)
        assert sorted((d for page in reader.records(None) for d in page), key=repr) == before


def test_what_a_document_was_is_found_as_the_page_says(own: CosmosBackend) -> None:
    service = own.service(**KEEP)
    own.put((7, 1, "a"))
    own.initialize(service=service)
    for version in (1, 2, 3):
        own.put((7, version, str(version)))
        own.sync(service=service)
    [query] = [block for block in blocks("docs/history.md", "sql") if "c.backup_sync.id" in block]
    query = query.replace("customerId = 'customer-3'", "group = 'group-0'").replace("order-7", "thing-7")
    container = own.clients[1].get_database_client(own.backup_database).get_container_client(f"{own.container}-undo")
    query = query.replace("c.group", 'c["group"]')
    found = sorted(
        (row["seq"], row["image"]["text"]) for row in container.query_items(query, enable_cross_partition_query=True)
    )
    assert found == [(2, "1"), (3, "2")]

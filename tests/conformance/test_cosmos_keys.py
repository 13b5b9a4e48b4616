"""Documents under any kind of partition key are copied, compared, updated and deleted, and none is left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from azure.cosmos import PartitionKey

from backup_sync.stores.cosmos.account import Account, Connection
from backup_sync.stores.cosmos.documents import MISSING, key_text, key_value, names_of, value_at
from backup_sync.stores.cosmos.queries import FULL
from backup_sync.stores.cosmos.reader import CosmosReader
from backup_sync.stores.cosmos.writes import upsert_all
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend, Row

VALUES = [
    "k",
    "k2",
    1,
    "1",
    True,
    "true",
    1.5,
    -2,
    0,
    False,
    "",
    None,
    "null",
    MISSING,
    {"x": 1},
    ["k"],
    "漢字",
    "k" * 2_000,
]
PATHS: list[Sequence[str]] = [
    ["/group"],
    ["/customer-id"],
    ["/order"],
    ["/value"],
    ["/deep/tenant"],
    ['/"first name"'],
    ['/"a/b"'],
    ["/id"],
    ["/tenant", "/user"],
    ["/tenant", "/user/id", "/customer-id"],
]


class Keyed:
    """A backend whose source has another partition key, and documents with any value in it."""

    def __init__(self, servers: list[EmbeddedCosmos], paths: Sequence[str]) -> None:
        self.server = servers[0]
        self.own = CosmosBackend("own", *[(server.endpoint, server.key) for server in servers])
        self.names = [names_of(path) for path in paths]
        self.own.database.delete_container(self.own.container)
        key = PartitionKey(path=list(paths)) if len(paths) > 1 else PartitionKey(path=paths[0])
        self.own.source = self.own.database.create_container(self.own.container, key)

    def document(self, id_: str, values: Sequence[Any], version: int = 1) -> Row:
        document: Row = {"type": "Thing", "version": version, "state": "new", "text": id_}
        for names, value in zip(self.names, values, strict=True):
            at = document
            for name in names[:-1]:
                at = at.setdefault(name, {})
            if value is not MISSING:
                at[names[-1]] = value
        return document | {"id": id_}

    def put(self, *documents: Row) -> None:
        """As the service would take them; a client of it may refuse an array as a key's value."""
        for document in documents:
            self.server.put_raw(self.own.source_database, self.own.container, document)

    def remove(self, document: Row) -> None:
        key = key_text([value_at(document, names) for names in self.names])
        self.own.source.delete_item(document["id"], key_value((document["id"], key)))

    def in_step(self) -> None:
        source = self.own.source_rows()
        assert self.own.backup_rows() == source
        assert source


@pytest.fixture
def keyed(servers: list[EmbeddedCosmos], request: pytest.FixtureRequest) -> Iterator[Keyed]:
    found = Keyed(servers, request.param)
    yield found
    found.own.close()


@pytest.mark.parametrize("keyed", PATHS, ids=" ".join, indirect=True)
def test_documents_under_any_partition_key_are_kept_in_step(keyed: Keyed) -> None:
    own = keyed.own
    width = len(keyed.names)
    documents = []
    for number, value in enumerate(VALUES):
        others = (VALUES[(number + 7 * step) % len(VALUES)] for step in range(1, width))
        values = [value, *others]
        documents += [keyed.document(f"{kind}-{number}", values) for kind in ("kept", "changed", "gone")]
        documents.append(
            keyed.document("same id", values) if keyed.names != [("id",)] else keyed.document(f"x{number}", values)
        )
    many = [keyed.document(f"many-{number}", ["k"] * width) for number in range(12)]
    keyed.put(*documents, *many)
    everything = own.source_rows()
    own.initialize()
    assert own.counts() == (len(everything), 0, 0, 0)
    keyed.in_step()
    assert own.counts() == (0, 0, 0, len(everything))

    # Many of one logical partition, and nothing else.
    keyed.put(*({**document, "version": 2, "text": "new"} for document in many))
    assert own.counts() == (0, 12, 0, len(everything) - 12)
    keyed.in_step()

    # One of each, new ones, and one of each gone.
    changed = [document for document in documents if document["id"].startswith("changed")]
    gone = [document for document in documents if document["id"].startswith("gone")]
    keyed.put(*({**document, "version": 2} for document in changed))
    keyed.put(*({**document, "id": f"new-{document['id']}"} for document in changed))
    for document in gone:
        keyed.remove(document)
    run = own.sync(service=own.service(guard={"count": 1_000}))
    assert (run.inserted, run.updated, run.deleted, run.rejected) == (len(changed), len(changed), len(gone), 0)
    keyed.in_step()
    assert own.counts(force=True) == (0, len(own.source_rows()), 0, 0)
    keyed.in_step()

    # Each was looked for where it lies.
    source, backup = own.open(own.service())
    with closing(source), closing(backup):
        reader = source.reader(source.catalog.describe())
        assert isinstance(reader, CosmosReader)
        keys = [key for page in reader.records(None) for key in map(reader.key_of, page)]
        assert len(set(keys)) == len(own.source_rows())
        assert reader.present([*keys, ("kept-0", key_text(["another"] * width))]) == set(keys)
        reads = reader._by_key
        by_place = reader._run(reads._places.sorted(keys))
        assert FULL not in by_place
        assert reader._run(reads._rows("SELECT * FROM c", by_place, reader.key_of)).keys() == set(keys)
        assert sum(map(len, reader.records_of([*keys, ("gone", keys[0][1])]))) == len(keys)


@pytest.mark.slow
@pytest.mark.parametrize("keyed", [["/group"]], ids=" ".join, indirect=True)
@pytest.mark.parametrize("letter", ["x", "漢", "🎁"])
def test_more_than_a_thousand_keys_of_ids_as_long_as_they_may_be_are_read_in_requests_of_a_megabyte(
    keyed: Keyed, letter: str
) -> None:
    own = keyed.own
    tail = letter * (1_019 // len(letter.encode()))
    assert len(f"0000{tail}".encode()) <= 1_023
    queries: list[int] = []

    def watch(request: Any) -> None:
        if request.http_request.headers.get("x-ms-documentdb-isquery"):
            queries.append(len(request.http_request.data or b""))

    own.options = {"raw_request_hook": watch}
    account = Account(*own.endpoints[0], own.source_database, own.container)
    connection = Connection(account, "source", 8, 60)

    def put(count: int, version: int) -> None:
        documents = [keyed.document(f"{number:04}{tail}", ["one"], version) for number in range(count)]
        assert connection.run(upsert_all(connection, documents, keyed.names)) == count

    with closing(connection):
        put(1_300, 1)
        own.initialize()
        assert own.counts() == (1_300, 0, 0, 0)
        put(1_200, 2)  # all would be read as a range
        assert own.counts() == (0, 1_200, 0, 100)
    keyed.in_step()
    assert 500_000 < max(queries) < 1_050_000


@pytest.mark.parametrize("keyed", [["/group"]], ids=" ".join, indirect=True)
def test_one_number_in_two_spellings_is_one_key_and_is_not_deleted_as_the_other(keyed: Keyed) -> None:
    own = keyed.own
    keyed.put(keyed.document("a", [1]), keyed.document("b", [2.0]))
    own.initialize()
    own.sync()
    keyed.put(keyed.document("a", [1.0]), keyed.document("b", [2], 2))
    assert own.counts() == (0, 1, 0, 1)
    assert [row["version"] for row in own.backup_rows()] == [1, 2]


@pytest.mark.parametrize("keyed", [["/group"]], ids=" ".join, indirect=True)
def test_true_and_one_null_and_missing_are_different_stamps(keyed: Keyed) -> None:
    own = keyed.own
    pairs = [(1, True), (True, 1), (0, False), (None, MISSING), (MISSING, None), ("[1]", [1]), ([1], [True]), (1, 1.0)]

    def put(place: int) -> None:
        for number, pair in enumerate(pairs):
            document = keyed.document(str(number), [f"g{number}"])
            del document["state"]
            keyed.put(document if pair[place] is MISSING else {**document, "state": pair[place]})

    put(0)
    own.initialize()
    own.sync()
    put(1)
    assert own.counts() == (0, len(pairs) - 1, 0, 1)
    assert json.dumps(own.backup_rows()[:-1]) == json.dumps(own.source_rows()[:-1])


@pytest.mark.parametrize("keyed", [["/tenant", "/user"]], ids=" ".join, indirect=True)
def test_fields_may_be_quoted_and_nested_and_reserved_words(keyed: Keyed) -> None:
    own = keyed.own
    service = own.service(changed={'"first.name"': "different", 'meta/"a/b"': "higher"}, where={"order/value": True})

    def put(id_: str, name: str, version: int, order: Any) -> None:
        document = keyed.document(id_, ["t", 1])
        keyed.put({**document, "first.name": name, "meta": {"a/b": version}, "order": {"value": order}})

    put("1", "a", 1, True)
    put("2", "a", 1, True)
    put("3", "a", 1, 1)
    own.initialize(service=service)
    assert own.sync(service=service).inserted == 2
    put("1", "b", 1, True)
    put("2", "a", 2, True)
    assert own.sync(service=service).updated == 2
    assert own.backup_rows() == [row for row in own.source_rows() if row["id"] != "3"]


@pytest.mark.parametrize("keyed", [["/tenant", "/user"]], ids=" ".join, indirect=True)
def test_a_document_that_the_backup_refuses_is_named_whatever_its_key(
    keyed: Keyed, servers: list[EmbeddedCosmos], caplog: pytest.LogCaptureFixture
) -> None:
    own = keyed.own
    keyed.put(keyed.document("whole", ["t", "u"]), keyed.document("half", ["t", MISSING]))
    own.initialize()
    servers[1].fail(400, count=1, operation="Batch", path_contains=own.container)
    with caplog.at_level(logging.WARNING):
        run = own.sync()
    servers[1].reset_faults()
    assert (run.inserted, run.rejected) == (1, 1)
    assert "document half was refused (400" in caplog.text
    assert own.counts() == (1, 0, 0, 1)
    keyed.in_step()

"""The history of records of documents that are near the limits of the service."""

from __future__ import annotations

import random
import string
from contextlib import closing
from typing import Any

import pytest

from backup_sync.stores.cosmos.undo import OURS
from local.cosmos import EmbeddedCosmos
from tests.conformance.test_cosmos_keys import Keyed

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

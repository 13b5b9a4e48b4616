"""A restore into a container that holds other documents as well, and documents that are no longer the service's."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Planned, Wish
from backup_sync.walk.restore import plan, restore
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend, Row

KEEP = {"keep_history": "30d", "guard": {"count": 1_000}, "verify_again_seconds": 0}


@pytest.fixture
def filled(servers: list[EmbeddedCosmos]) -> Any:
    """Twenty things that are backed up, beside five documents of another type that are not."""
    found = CosmosBackend("cosmos", *((server.endpoint, server.key) for server in servers))
    found.put(*((key, 1, f"text {key}") for key in range(20)))
    found.put_documents(*((found.partition_of(key), other(found, key)) for key in range(100, 105)))
    found.initialize(service=found.service(**KEEP))
    found.sync(service=found.service(**KEEP))
    yield found
    found.close()


def other(own: CosmosBackend, key: int) -> Row:
    return {**own.document(key, 1, "another's"), "type": "Other"}


def everything(own: CosmosBackend) -> dict[str, Row]:
    """All documents of the source, of all types, by id."""
    found = own.source.read_all_items()
    return {row["id"]: {name: value for name, value in row.items() if not name.startswith("_")} for row in found}


def bring_back(own: CosmosBackend, wish: Wish, run_id: str = "restore") -> tuple[Planned, SyncResult]:
    source, backup = own.open(own.service(**KEEP))
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
        planned = plan(backup, source, run, wish)
        restore(source, backup, source, run, wish, planned.id)
    return planned, run


def harmed(own: CosmosBackend) -> None:
    """One thing became another's, one changed, one is gone, and one is new."""
    own.put_documents((own.partition_of(3), {**other(own, 3), "text": "it was taken over"}))
    own.put((4, 2, "changed"), (50, 1, "new"))
    own.remove(5)


def test_a_document_that_is_another_s_now_counts_as_changed_and_can_be_had_back(filled: CosmosBackend) -> None:
    before = everything(filled)
    harmed(filled)
    was = everything(filled)
    planned, run = bring_back(filled, Wish(delete=True))
    assert dict(planned.counts) == {"missing": 1, "changed": 2, "extra": 1}
    assert any("1 of the changed records no longer match 'where'" in note for note in planned.notes)
    assert everything(filled) == before
    bring_back(filled, Wish(undo=run.run_number), "undo")
    assert everything(filled) == was


def test_documents_of_others_are_neither_extra_nor_deleted_though_somebody_asks_for_them(filled: CosmosBackend) -> None:
    before = everything(filled)
    keys = [["thing-100", filled.partition_of(100)], ["thing-104", filled.partition_of(104)]]
    planned, run = bring_back(filled, Wish(delete=True, keys=keys))
    assert not planned.counts.total()
    assert run.deleted == 0
    assert everything(filled) == before

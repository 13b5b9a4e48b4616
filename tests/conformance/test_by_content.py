"""Where no field tells when a record changed, whole records are compared, and everything else is as ever."""

from __future__ import annotations

from contextlib import closing

import pytest

from backup_sync.model.errors import DeletesWithheld
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import Service
from backup_sync.model.wish import Wish
from backup_sync.walk.restore import plan, restore
from tests.conformance.backends import Backend

MANY = 200


@pytest.fixture
def filled(backend: Backend) -> Backend:
    backend.put(*((key, 1, f"text {key}") for key in range(1, MANY + 1)))
    backend.initialize(service=by_content(backend))
    assert backend.counts(service=by_content(backend)) == (MANY, 0, 0, 0)
    return backend


def by_content(backend: Backend) -> Service:
    return backend.service(changed="content", keep_history="30d", verify_again_seconds=0)


def test_what_differs_in_any_way_is_copied_though_its_version_says_nothing(filled: Backend) -> None:
    filled.put((1, 1, "text 1 "), (2, 1, None), (3, 0, "text 3"), (4, 1, ""), (5, 1, "TEXT 5"), (900, 1, "new"))
    filled.remove(7)
    assert filled.counts(service=by_content(filled)) == (1, 5, 1, MANY - 6)
    assert filled.backup_rows() == filled.source_rows()
    assert filled.counts(service=by_content(filled)) == (0, 0, 0, MANY)


def test_nothing_is_ahead_and_the_guard_looks_after_deletes_as_ever(filled: Backend) -> None:
    filled.remove(*range(1, 100))
    filled.put((150, 0, "older"))
    with pytest.raises(DeletesWithheld):
        filled.sync(service=by_content(filled))
    assert len(filled.backup_rows()) == MANY


def test_each_run_has_verified_everything_and_a_verify_finds_only_lag(filled: Backend) -> None:
    run = filled.sync(service=by_content(filled))
    assert run.verified_share == 1.0
    filled.put((1, 1, "changed"))
    found = filled.verify(by_content(filled))
    assert found.success
    assert found.verified is not None
    assert (found.verified["Lag"]["Count"], found.verified["Drift"]["Count"]) == (1, 0)


def test_what_somebody_changed_in_the_backup_is_mended_by_the_next_run(filled: Backend) -> None:
    filled.put_in_backup((1, 1, "meddled"))
    assert filled.counts(service=by_content(filled)) == (0, 1, 0, MANY - 1)
    assert filled.backup_rows() == filled.source_rows()


def test_a_state_is_restored_and_the_next_run_does_nothing(filled: Backend) -> None:
    good = filled.source_rows()
    filled.put((1, 1, "bad"))
    filled.remove(2)
    filled.sync(service=by_content(filled))
    source, backup = filled.open(by_content(filled))
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "restore", "thing"), "thing", run_id="restore")
        wish = Wish(number=1)
        restore(source, backup, source, run, wish, plan(backup, source, run, wish).id)
    assert (run.inserted, run.updated) == (1, 1)
    assert filled.source_rows() == good
    assert filled.counts(service=by_content(filled)) == (0, 0, 0, MANY)


def test_a_first_load_has_copied_everything_and_verified_nothing(backend: Backend) -> None:
    backend.put((1, 1, "a"))
    backend.initialize(service=by_content(backend))
    assert backend.sync(service=by_content(backend)).verified_share == 0.0
    assert backend.sync(service=by_content(backend)).verified_share == 1.0


def test_filling_in_a_new_column_is_no_mass_of_updates(sql: Backend) -> None:
    service = sql.service(changed="content", guard={"updates": "withhold"})
    sql.put(*((key, 1, "x") for key in range(1_200)))
    sql.initialize(service=service)
    sql.sync(service=service)
    table = service.table if sql.name == "mssql" else "Things"
    sql.run_source(f"ALTER TABLE {table} ADD Rank INT NOT NULL DEFAULT 7")  # type: ignore[attr-defined]
    sql.initialize(service=service)
    assert sql.counts(service=service) == (0, 1_200, 0, 0)

"""What every store promises, whatever is behind it."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import ConfigurationError, DeletesWithheld, FatalError, LockHeld, SetBackWithheld
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import parse_service
from tests.conformance.backends import Backend

Rows = list[tuple[int, int, str | None]]


def rows(count: int, version: int = 1) -> Rows:
    return [(number, version, f"text {number}") for number in range(1, count + 1)]


@pytest.fixture
def ready(backend: Backend) -> Backend:
    """Twenty records, synchronised."""
    backend.put(*rows(20))
    backend.initialize()
    assert backend.counts() == (20, 0, 0, 0)
    return backend


def last_run(ready: Backend) -> dict[str, Any]:
    source, backup = ready.open(ready.service())
    with closing(source), closing(backup):
        return backup.journal.newest(1)[0]


def test_the_first_sync_inserts_everything(ready: Backend) -> None:
    assert len(ready.backup_rows()) == 20
    assert ready.backup_rows() == ready.source_rows()


def test_a_result_counts_what_was_written_before_any_history_is_asked(backend: Backend) -> None:
    backend.put(*rows(20))
    backend.initialize()
    assert backend.sync(record=False).inserted == 20
    backend.put((5, 2, "changed"), (21, 1, "new"))
    backend.remove(1)
    run = backend.sync(record=False)
    assert (run.inserted, run.updated, run.deleted, run.skipped) == (1, 1, 1, 18)


def test_nothing_changed_means_all_skipped(ready: Backend) -> None:
    assert ready.counts() == (0, 0, 0, 20)


def test_new_changed_and_gone_records_are_found_and_the_rest_is_skipped(ready: Backend) -> None:
    ready.put((21, 1, "new"), (5, 2, "changed"), (6, 3, None))
    ready.remove(1, 2, 20)
    assert ready.counts() == (1, 2, 3, 15)
    assert ready.backup_rows() == ready.source_rows()
    assert ready.counts() == (0, 0, 0, 18)


def test_a_record_that_was_made_again_at_a_lower_version_is_repaired_and_counts_as_ahead(ready: Backend) -> None:
    ready.put((5, 0, "made again"))
    planned = ready.sync(dry_run=True)
    run = ready.sync()
    assert (planned.updated, planned.ahead) == (run.updated, run.ahead) == (1, 1)
    assert run.skipped == 19
    assert ready.backup_rows() == ready.source_rows()
    assert ready.counts() == (0, 0, 0, 20)


def test_a_source_that_was_set_back_replaces_and_deletes_nothing_until_it_is_forced(ready: Backend) -> None:
    kept = ready.backup_rows()
    ready.put(*((key, 0, "old copy") for key in range(3, 15)), (21, 1, "new"))
    ready.remove(1, 2)
    for options in {}, {"allow_deletes": 2}:
        with pytest.raises(SetBackWithheld, match=r"12 records .* newer .* nothing was written.* force=true"):
            ready.sync(**options)
    assert ready.backup_rows() == kept
    newest = last_run(ready)
    assert (newest["AheadCount"], newest["WithheldCount"], newest["SkippedCount"]) == (12, 2, 19)
    assert ready.counts(force=True, allow_deletes=2) == (1, 18, 2, 0)
    assert ready.backup_rows() == ready.source_rows()


def test_force_rewrites_every_record_and_counts_all_as_updated(ready: Backend) -> None:
    # A change that the stamps do not show is what force is for.
    ready.put((5, 1, "changed in silence"))
    assert ready.counts() == (0, 0, 0, 20)
    assert ready.counts(force=True) == (0, 20, 0, 0)
    assert ready.backup_rows() == ready.source_rows()


def test_force_inserts_and_deletes_as_well(ready: Backend) -> None:
    ready.put((21, 1, "new"))
    ready.remove(1)
    assert ready.counts(force=True) == (1, 19, 1, 0)
    assert ready.backup_rows() == ready.source_rows()


@pytest.mark.parametrize("most", [0, 15])
def test_a_range_that_memory_cannot_hold_is_compared_all_the_same(backend: Backend, most: int) -> None:
    backend.small(held_pairs=most)
    backend.put(*[(key, 5, f"text {key}") for key in range(1, 61)])
    backend.initialize()
    assert backend.counts() == (60, 0, 0, 0)
    backend.put((3, 6, "new"), (30, 6, "new"), (31, 4, "older"), (60, 6, "new"), (61, 5, "new"), (62, 5, None))
    backend.remove(1, 32)
    assert backend.counts(dry_run=True) == (2, 4, 2, 54)
    run = backend.sync()
    assert (run.inserted, run.updated, run.deleted, run.skipped, run.ahead) == (2, 4, 2, 54, 1)
    assert backend.backup_rows() == backend.source_rows()
    assert backend.counts() == (0, 0, 0, 60)
    backend.remove(*range(2, 32), *range(33, 40))
    assert backend.counts(force=True, allow_deletes=37) == (0, 23, 37, 0)
    assert backend.backup_rows() == backend.source_rows()


def test_the_retry_of_a_forced_run_that_memory_cannot_hold_writes_what_was_not_written(ready: Backend) -> None:
    written = itertools.count(1)

    def stop(name: str) -> None:
        if name == "after write" and next(written) == 4:
            raise FatalError("stopped")

    ready.small(pending_keys=5)
    ready.small(held_pairs=5)
    ready.sync()
    with faults.installed(stop), pytest.raises(FatalError):
        ready.sync("tonight", force=True)
    ready.put((21, 1, "new"))
    run = ready.sync("tonight", force=True)
    # Documents do not tell when they were written, so that there all are written again.
    again = 20 if ready.name.startswith("cosmos") else 0
    assert (run.inserted, run.updated, run.deleted) == (1, 20 + again, 0)
    assert ready.backup_rows() == ready.source_rows()


def test_an_empty_source_and_an_empty_backup_are_in_step(backend: Backend) -> None:
    backend.initialize()
    assert backend.counts() == (0, 0, 0, 0)
    assert backend.backup_rows() == []


def test_one_record_comes_and_changes(backend: Backend) -> None:
    backend.put((1, 1, "only"))
    backend.initialize()
    assert backend.counts() == (1, 0, 0, 0)
    backend.put((1, 2, "only one"))
    assert backend.counts() == (0, 1, 0, 0)
    assert backend.backup_rows() == backend.source_rows()


@pytest.mark.slow
def test_ten_thousand_records_arrive_and_a_few_changes_among_them(backend: Backend) -> None:
    many = backend.many
    backend.put(*rows(many))
    backend.initialize()
    assert backend.counts() == (many, 0, 0, 0)
    backend.put(*[(number, 2, "changed") for number in range(1, many, 97)])
    backend.remove(many, many // 2)
    changed = len(range(1, many, 97))
    assert backend.counts() == (0, changed, 2, many - changed - 2)
    assert backend.backup_rows() == backend.source_rows()


TEXTS = [
    "",
    None,
    " leading and trailing  ",
    "'; DROP TABLE Things; --",
    "%s %d %% {}",
    'quotes " and \\ backslash',
    "line\nbreak\r\ttab",
    "żółć Ελληνικά Кириллица 漢字 हिन्दी",
    "emoji 🎁👩‍👩‍👧 and \u200b zero width",
    "combining e\u0301 and composed é",
    "x" * 100_000,
]


def test_texts_arrive_as_they_left(backend: Backend) -> None:
    backend.put(*[(number, 1, text) for number, text in enumerate(TEXTS, start=1)])
    backend.initialize()
    assert backend.counts() == (len(TEXTS), 0, 0, 0)
    assert backend.backup_rows() == backend.source_rows()
    # The way of an update may be another one than that of an insert.
    assert backend.counts(force=True) == (0, len(TEXTS), 0, 0)
    assert backend.backup_rows() == backend.source_rows()


def test_initialize_twice_makes_nothing_the_second_time(backend: Backend) -> None:
    assert backend.initialize()
    assert backend.initialize() == []


def test_first_runs_that_begin_at_once_all_end_well(backend: Backend) -> None:
    backend.put(*((n, 1, f"text {n}") for n in range(30)))
    together = threading.Barrier(4)

    def first(number: int) -> list[str]:
        together.wait()
        return backend.initialize(run_id=f"first {number}")

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(first, range(4)))
    assert any(made)
    assert backend.initialize() == []
    assert backend.sync().inserted == 30
    assert backend.backup_rows() == backend.source_rows()


def test_initialize_as_a_dry_run_says_what_it_would_make_and_makes_nothing(backend: Backend) -> None:
    would = backend.initialize(dry_run=True)
    assert would
    assert backend.initialize(dry_run=True) == would
    assert backend.initialize() == would


def test_a_dry_run_writes_nothing_and_counts_right(ready: Backend) -> None:
    ready.put((21, 1, "new"), (5, 2, "changed"))
    ready.remove(1)
    before, history = ready.backup_rows(), ready.history_rows()
    assert ready.counts(dry_run=True) == (1, 1, 1, 18)
    assert ready.backup_rows() == before
    assert ready.history_rows() == history
    assert ready.counts() == (1, 1, 1, 18)


def test_a_dry_run_before_anything_was_made_counts_all_as_inserts(backend: Backend) -> None:
    backend.put(*rows(3))
    assert backend.counts(dry_run=True) == (3, 0, 0, 0)
    assert backend.backup_rows() == []


def test_a_dry_run_of_the_first_sync_writes_nothing(backend: Backend) -> None:
    backend.put(*rows(3))
    backend.initialize()
    assert backend.counts(dry_run=True) == (3, 0, 0, 0)
    assert backend.backup_rows() == []
    assert backend.history_rows() == []


def test_a_sync_before_initialize_says_what_to_do(backend: Backend) -> None:
    backend.put(*rows(3))
    service = backend.service()
    source, backup = backend.open(service)
    try:
        source_shape = source.catalog.describe()
        with pytest.raises(ConfigurationError, match=r"run the DAG backup_initialize|database|container"):
            backup.catalog.check_fit(source_shape)
    finally:
        source.close()
        backup.close()


def test_each_run_leaves_one_history_record(ready: Backend) -> None:
    ready.sync()
    assert len(ready.history_rows()) == 2


def test_a_retried_run_updates_its_own_history_record(ready: Backend) -> None:
    ready.put((21, 1, "new"))
    ready.sync(run_id="tonight")
    ready.put((22, 1, "newer"))
    second = ready.sync(run_id="tonight")
    records = ready.history_rows()
    assert len(records) == 2
    # Over both attempts two records were inserted.
    assert (second.inserted, second.attempt) == (2, 2)
    newest = last_run(ready)
    assert (newest["RunId"], newest["InsertedCount"], newest["Attempt"]) == ("tonight", 2, 2)
    assert newest["Success"] is True
    assert newest["Status"] == "Completed"


def test_a_failed_run_is_history_too(ready: Backend) -> None:
    ready.remove(*range(1, 16))
    with pytest.raises(DeletesWithheld):
        ready.sync(run_id="accident")
    newest = last_run(ready)
    assert newest["Success"] is False
    assert newest["Status"] == "Failed"
    assert "allow_deletes=15" in newest["ErrorMessage"]
    assert newest["WithheldCount"] == 15


def test_too_many_deletes_are_withheld_and_the_rest_is_applied(ready: Backend) -> None:
    ready.remove(*range(1, 16))
    ready.put((20, 2, "changed"), (21, 1, "new"))
    with pytest.raises(DeletesWithheld, match="withheld 15 deletes from a backup of 20 records"):
        ready.sync()
    assert len(ready.backup_rows()) == 21
    assert ready.counts(allow_deletes=15) == (0, 0, 15, 6)
    assert ready.backup_rows() == ready.source_rows()


def test_an_empty_source_never_empties_its_backup(backend: Backend) -> None:
    backend.put(*rows(3))
    backend.initialize()
    backend.sync()
    backend.remove(1, 2, 3)
    with pytest.raises(DeletesWithheld, match="reads as empty"):
        backend.sync()
    assert len(backend.backup_rows()) == 3


def test_a_second_writer_waits_and_then_says_who_is_writing(ready: Backend) -> None:
    service = ready.service()
    first = SyncResult(sync_id("dag", "the first", "thing"), "thing", run_id="the first")
    second = SyncResult(sync_id("dag", "the second", "thing"), "thing", run_id="the second")
    source, backup = ready.open(service)
    _, other = ready.open(service)
    try:
        with backup.lock.hold(first, 0):
            backup.journal.begin(first)
            with pytest.raises(LockHeld, match="the first since"), other.lock.hold(second, 0.3):
                pass
        with other.lock.hold(second, 0):
            pass
    finally:
        for store in (source, backup, other):
            store.close()


def test_two_services_that_write_the_same_table_exclude_each_other(sql: Backend) -> None:
    sql.initialize()
    entry = {"source": "source", "backup": "backup", **sql.settings, "table": (sql.service().table or "").upper()}
    first, second = (SyncResult(sync_id("dag", name, name), name, run_id=name) for name in ("one", "two"))
    source, backup = sql.open(sql.service())
    _, other = sql.open(parse_service("another name", entry, where="test"))
    try:
        with (
            backup.lock.hold(first, 0),
            pytest.raises(LockHeld, match="another name is being written"),
            other.lock.hold(second, 0),
        ):
            pass
    finally:
        for store in (source, backup, other):
            store.close()


def test_an_unknown_stamp_field_or_table_is_named(sql: Backend) -> None:
    with pytest.raises(ConfigurationError, match=r"has no column Revision.*it has Id, Version, Te xt"):
        sql.initialize(service=sql.service(changed={"Revision": "higher"}))
    with pytest.raises(ConfigurationError, match=r"table app\.Nothing does not exist"):
        sql.initialize(service=sql.service(table="app.Nothing"))

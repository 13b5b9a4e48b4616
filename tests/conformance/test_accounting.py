"""Keys asked for = records read + rejected + confirmed gone, whatever a store says of itself."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import RetriableError, Stopped, TooManyRejected, Unaccounted
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.base import Applied
from backup_sync.walk.record import record_history
from backup_sync.walk.sync import Options, sync
from tests.conformance.backends import Backend, SqliteBackend


@pytest.fixture
def ready(backend: Backend) -> Backend:
    backend.put(*((number, 1, "old") for number in range(1, 101)))
    backend.initialize()
    backend.sync()
    return backend


def kinds(backend: Backend) -> tuple[type[Any], type[Any]]:
    """The classes of the backend's reader and writer."""
    source, backup = backend.open(backend.service())
    with closing(source), closing(backup):
        shape = source.catalog.describe()
        return type(source.reader(shape)), type(backup.writer(shape))


def leaving_out(method: Any, dropped: int) -> Any:
    """A store that gives out all but so many of the records that it was asked for, each time."""

    def found(self: Any, *args: Any, **options: Any) -> Iterator[list[Any]]:
        for records in method(self, *args, **options):
            yield records[dropped:]

    return found


@pytest.mark.parametrize("method, changes", [("records_of", range(1, 6)), ("records", range(1, 101))])
def test_a_store_that_leaves_out_changed_records_fails_the_run(
    ready: Backend, method: str, changes: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = kinds(ready)
    monkeypatch.setattr(reader, "reread_share", 0.9)
    monkeypatch.setattr(reader, method, leaving_out(getattr(reader, method), 1))
    monkeypatch.setattr(reader, "records_of", leaving_out(reader.records_of, 1))
    ready.put(*((number, 2, "new") for number in changes))
    ready.remove(100)
    with pytest.raises(Unaccounted, match="records that are in the source did not come"):
        ready.sync()
    assert len(ready.backup_rows()) == 100


def test_a_first_load_that_left_records_out_finds_them_by_a_comparison(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.put(*((number, 1, "old") for number in range(1, 101)))
    backend.initialize()
    reader, writer = kinds(backend)
    monkeypatch.setattr(writer, "pull", None)
    monkeypatch.setattr(reader, "records", leaving_out(reader.records, 3))
    assert backend.counts() == (100, 0, 0, 0)
    assert backend.backup_rows() == backend.source_rows()


def test_records_that_are_deleted_while_a_run_reads_are_accounted_for(ready: Backend) -> None:
    ready.put(*((number, 2, "new") for number in range(1, 21)))
    gone = itertools.count(1)

    def delete(name: str) -> None:
        if name == "before guard":
            ready.remove(next(gone))

    with faults.installed(delete):
        run = ready.sync()
    assert (run.inserted, run.updated, run.deleted) == (0, 19, 0)
    assert ready.counts() == (0, 0, 1, 99)


def test_a_backup_that_took_fewer_records_than_it_was_given_is_tried_again(
    ready: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = kinds(ready)
    apply = writer.apply

    def fewer(self: Any, inserts: Any, updates: Any) -> Applied:
        done = apply(self, inserts, updates)
        return Applied(done.inserted, done.updated - 1)

    ready.put((5, 2, "new"), (6, 2, "new"))
    with monkeypatch.context() as patch:
        patch.setattr(writer, "apply", fewer)
        with pytest.raises(RetriableError, match="of 2 records 1 were written"):
            ready.sync()


def refusing(method: Any, refused: int) -> Any:
    def apply(self: Any, inserts: Any, updates: Any) -> Applied:
        rest = list(inserts)[refused:]
        done = method(self, rest, updates) if rest or updates else Applied()
        return Applied(done.inserted, done.updated, rejected=len(inserts) - len(rest))

    return apply


@pytest.mark.parametrize(
    "rejected, limits, fails",
    [(5, {}, False), (11, {}, True), (11, {"share": 0.2}, False)],
)
def test_a_run_that_rejects_too_much_fails_and_deletes_nothing(
    ready: Backend, rejected: int, limits: dict[str, Any], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, writer = kinds(ready)
    monkeypatch.setattr(writer, "pull", None)
    monkeypatch.setattr(writer, "apply", refusing(writer.apply, rejected))
    ready.put(*((number, 1, "new") for number in range(200, 300)))
    ready.remove(1)
    service = ready.service(rejects=limits)
    if fails:
        with pytest.raises(TooManyRejected, match=f"{rejected} of the source's 199 records could not be copied"):
            ready.sync(service=service)
    else:
        run = ready.sync(service=service)
        assert (run.inserted, run.rejected, run.deleted) == (100 - rejected, rejected, 1)
    assert sum("old" in repr(row) for row in ready.backup_rows()) == 100 - (not fails)


def test_a_first_load_that_could_copy_nothing_fails(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    _, writer = kinds(backend)
    backend.put(*((number, 1, "x") for number in range(3)))
    backend.initialize()
    monkeypatch.setattr(writer, "pull", None)
    monkeypatch.setattr(writer, "apply", lambda self, inserts, updates: Applied(rejected=len(inserts)))
    with pytest.raises(TooManyRejected, match="none of the source's 3 records could be copied"):
        backend.sync()


def test_a_task_that_is_told_to_end_writes_no_further_batch_and_gives_its_lock_back(
    ready: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.small(pending_keys=5)
    monkeypatch.setattr(kinds(ready)[0], "reread_share", 2.0)
    ready.put(*((number, 2, "new") for number in range(1, 21)))
    ready.remove(100)
    stop = threading.Event()

    def end(name: str) -> None:
        if name == "after write":
            stop.set()

    service = ready.service()
    run = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    source, backup = ready.open(service)
    try:
        with faults.installed(end), pytest.raises(Stopped, match="the task was told to end"):
            sync(service, source, backup, run, Options(), stop=stop)
    finally:
        source.close()
        backup.close()
    assert (run.updated, run.deleted) == (5, 0)
    assert [row.get("Te xt", row.get("text")) for row in ready.backup_rows()].count("new") == 5
    # The lock is free, and the retry does the rest and counts it once.
    again = ready.sync("tonight", service=ready.service(lock_wait_seconds=0))
    assert (again.updated, again.deleted) == (20, 1)


def test_an_attempt_whose_end_was_recorded_while_it_was_still_alive_writes_nothing_more(ready: Backend) -> None:
    """A task that is marked failed lives for some seconds more, and record_history may run meanwhile."""
    ready.put(*((number, 2, "new") for number in range(1, 6)))
    service = ready.service()

    def record(name: str) -> None:
        if name == "before apply":
            ended = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
            ended.fail("killed")
            _, backup = ready.open(service)
            record_history(backup, ended)
            backup.close()

    run = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    source, backup = ready.open(service)
    try:
        with faults.installed(record), pytest.raises(RetriableError):
            sync(service, source, backup, run, Options())
    finally:
        source.close()
        backup.close()
    again = ready.sync("tonight")
    if ready.name.startswith(
        "cosmos"
    ):  # which has no transaction over documents of two containers: the batch in flight
        assert again.updated == 0
    else:
        assert again.updated == 5
    assert ready.backup_rows() == ready.source_rows()


def test_a_first_load_reads_the_source_in_ranges(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 1, "x") for number in range(1, 1_001)))
    found.initialize()
    reader, writer = kinds(found)
    found.small(range_records=100)
    monkeypatch.setattr(writer, "pull", None)
    asked: list[Any] = []
    records = reader.records

    def watched(self: Any, within: Any, **options: Any) -> Any:
        asked.append(within)
        return records(self, within, **options)

    monkeypatch.setattr(reader, "records", watched)
    assert found.counts() == (1_000, 0, 0, 0)
    assert 8 <= len(asked) <= 12
    assert None not in asked


def test_ranges_of_which_records_did_not_come_are_compared(ready: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that the backup has nothing of is copied by its range, for which no keys are known."""
    reader, writer = kinds(ready)
    ready.put(*((number, 1, "new") for number in range(1_000, 1_100)))
    monkeypatch.setattr(writer, "pull", None)
    monkeypatch.setattr(reader, "reread_share", 2.0)
    monkeypatch.setattr(reader, "records", leaving_out(reader.records, 3))
    assert ready.counts() == (100, 0, 0, 100)
    assert ready.backup_rows() == ready.source_rows()

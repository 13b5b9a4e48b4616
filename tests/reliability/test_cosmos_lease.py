"""Who may write a copy in Cosmos DB, and when it must stop: the lease, and the record that an attempt counts in."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import LockHeld, RetriableError
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import parse_service
from backup_sync.stores.base import Store
from backup_sync.stores.cosmos import lease as cosmos_lease
from backup_sync.stores.cosmos.account import Account, Connection
from backup_sync.stores.cosmos.catalog import CosmosCatalog
from backup_sync.stores.cosmos.store import cosmos_store
from backup_sync.walk.sync import Options, sync
from local.cosmos import EmbeddedCosmos
from local.environment import ROOT
from tests.conformance.backends import CosmosBackend

LEASE = 3.0
LOST = "lost the lease on the backup of thing (it could not be renewed in time)"
SECRET = f"a{LEASE}secret"
FOR_GOOD = 100_000
HOURS = 5 * 3600
SOURCE, BACKUP = 0, 1

Opener = Callable[..., Store]


def run_named(run_id: str) -> SyncResult:
    return SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)


@pytest.fixture
def server(servers: list[EmbeddedCosmos]) -> EmbeddedCosmos:
    return servers[BACKUP]


@pytest.fixture
def opened(server: EmbeddedCosmos, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens stores of one copy, as services of any name on workers of their own would."""
    backend = CosmosBackend("own", (server.endpoint, server.key), (server.endpoint, server.key))
    backend.small(lease_seconds=LEASE)
    backend.initialize()
    with ExitStack() as stack:
        stack.callback(backend.close)

        def open_store(name: str = "thing", **changes: Any) -> Store:
            service = backend.service(**changes).model_copy(update={"name": name})
            source, backup = backend.open(service)
            source.close()
            return stack.enter_context(closing(backup))

        yield open_store


def connection_of(store: Store) -> Connection:
    assert isinstance(store.catalog, CosmosCatalog)
    return store.catalog.connection


def history_of(store: Store) -> str:
    assert isinstance(store.catalog, CosmosCatalog)
    return store.catalog.history


def written(store: Store) -> bool:
    """Whether a write goes through, as one of a batch would."""
    try:
        return store.journal.keep_state("written", {"at": time.monotonic()})
    except RetriableError as error:
        return LOST not in str(error)


def batch(store: Store) -> None:
    """Write a batch, of nothing: what is left is its count."""
    store.writer(store.catalog.describe()).delete([])


def leases(store: Store) -> list[dict[str, Any]]:
    container = connection_of(store).container(history_of(store))

    async def read() -> list[dict[str, Any]]:
        return [item async for item in container.query_items("SELECT * FROM c WHERE c.id = 'lease'")]

    found: list[dict[str, Any]] = connection_of(store).run(connection_of(store).call(read))
    return found


def plant(store: Store, **changes: Any) -> None:
    """A lease of a run on another worker, which has been killed."""
    container = connection_of(store).container(history_of(store))
    body = {
        "id": "lease",
        "serviceName": f"lease:{connection_of(store).account.container}",
        "holder": "killed",
        "service": "thing",
    }
    body |= {"since": "2024-01-01T00:00:00Z", "until": "2024-01-01T00:01:00Z", "token": "x", "seconds": LEASE}
    body |= changes
    connection_of(store).run(connection_of(store).call(lambda: container.upsert_item(body)))


# who holds it


def test_two_services_that_write_one_container_exclude_each_other(opened: Opener) -> None:
    one, other = opened("thing"), opened("another")
    with one.lock.hold(run_named("first"), 0):
        with (
            pytest.raises(LockHeld, match="the backup of another is being written by run first of service thing since"),
            other.lock.hold(run_named("second"), 0),
        ):
            pytest.fail("both hold it")
        assert written(one)
    with other.lock.hold(run_named("second"), 0):
        assert written(other)
    assert leases(one) == []


def test_a_lease_that_expired_is_taken_over(opened: Opener) -> None:
    store = opened()
    plant(store, until="2999-01-01T00:00:00Z")
    planted = time.monotonic()
    with store.lock.hold(run_named("next"), 3 * LEASE):
        assert time.monotonic() - planted > LEASE
        assert written(store)
    assert leases(store) == []


def test_a_lease_lasts_as_long_as_its_holder_was_promised(opened: Opener) -> None:
    store = opened()
    plant(store, seconds=600)
    time.sleep(LEASE + 2)
    with pytest.raises(LockHeld, match="by run killed"), store.lock.hold(run_named("next"), 0):
        pytest.fail("taken over")


def test_a_lease_of_an_earlier_version_is_no_lease(opened: Opener) -> None:
    store = opened()
    plant(store, serviceName="lease:thing", until="2999-01-01T00:00:00Z")
    with store.lock.hold(run_named("next"), 0):
        assert written(store)


@pytest.mark.parametrize("off", [HOURS, -HOURS])
def test_a_worker_whose_clock_is_hours_off_neither_steals_nor_hands_out_a_lease(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    clock, utc_now = time.time, cosmos_lease.utc_now
    shifts = {"main": 0, "keeper": 0}

    def shift() -> int:
        return shifts["main" if threading.current_thread() is threading.main_thread() else "keeper"]

    monkeypatch.setattr(time, "time", lambda: clock() + shift())
    monkeypatch.setattr(cosmos_lease, "utc_now", lambda: utc_now() + timedelta(seconds=shift()))
    one, other = opened(), opened()
    for holder, observer in ((0, off), (off, 0)):
        shifts |= {"main": holder, "keeper": holder}
        with one.lock.hold(run_named("first"), 0):
            shifts["main"] = observer
            with pytest.raises(LockHeld, match="by run first"), other.lock.hold(run_named("second"), 1.5 * LEASE):
                pytest.fail("stolen")
            shifts["main"] = holder
            assert written(one)
    shifts |= {"main": off, "keeper": off}
    plant(one, seconds=1)
    with other.lock.hold(run_named("second"), 2 * LEASE):
        assert written(other)


def test_where_the_server_does_not_say_what_time_it_has_a_lease_is_watched_for_as_long_as_it_lasts(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosmos_lease, "_moment", lambda _: None)
    store, holder = opened(), opened()
    plant(store)
    time.sleep(LEASE + 2)  # over, but this worker has not seen that
    with pytest.raises(LockHeld), store.lock.hold(run_named("next"), 0):
        pytest.fail("taken over")
    with store.lock.hold(run_named("next"), 3 * LEASE):
        assert written(store)
    with (
        holder.lock.hold(run_named("holder"), 0),
        pytest.raises(LockHeld),
        store.lock.hold(run_named("next"), 2.5 * LEASE),
    ):
        pytest.fail("it was being renewed")


# lost answers


@pytest.mark.parametrize("operation", ["CreateDocument", "ReplaceDocument", "DeleteDocument"])
def test_an_answer_that_is_lost_is_no_lease_that_is_lost(
    opened: Opener, server: EmbeddedCosmos, caplog: pytest.LogCaptureFixture, operation: str
) -> None:
    """At the taking, the taking over and renewing, the giving back; the work was done each time."""
    store, other = opened(), opened()
    assert leases(store) == leases(other) == []
    if operation == "ReplaceDocument":
        plant(store, seconds=0)
        time.sleep(2.1)
    server.drop_after_apply(count=2, operation=operation, path_contains=history_of(store))
    with store.lock.hold(run_named("first"), LEASE):
        server.drop_after_apply(count=2, operation="ReplaceDocument", path_contains=history_of(store))
        time.sleep(LEASE * 1.5)
        store.lock.check()
        assert written(store)
        with pytest.raises(LockHeld, match="by run first"), other.lock.hold(run_named("second"), 0):
            pytest.fail("both hold it")
    assert leases(store) == []
    assert "lost the lease" not in caplog.text
    assert "could not give back" not in caplog.text


def test_a_server_that_is_away_for_a_part_of_a_lease_costs_nothing(
    opened: Opener, server: EmbeddedCosmos, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    with store.lock.hold(run_named("first"), 0):
        server.fail(503, count=FOR_GOOD, operation="ReplaceDocument", path_contains=history_of(store))
        time.sleep(0.6 * LEASE)
        server.reset_faults()
        time.sleep(LEASE)
        assert written(store)
        store.lock.check()


def test_a_lease_that_another_run_took_is_lost_and_is_not_given_back(
    opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened()
    with store.lock.hold(run_named("first"), 0):
        plant(store, holder="another")
        time.sleep(LEASE / 2)
        with pytest.raises(RetriableError, match="lost the lease"):
            store.lock.check()
        assert not written(store)
    assert "lost the lease" in caplog.text
    assert [lease["holder"] for lease in leases(store)] == ["another"]


# a keeper in trouble


def broken(*_: Any, **__: Any) -> Any:
    raise KeyError(SECRET)


def ended(*_: Any, **__: Any) -> Any:
    raise SystemExit


@pytest.mark.parametrize("trouble", [broken, ended])
def test_a_keeper_that_fails_is_noticed_before_the_lease_is_over(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Callable[..., Any]
) -> None:
    store = opened()
    with store.lock.hold(run_named("first"), 0):
        assert written(store)
        monkeypatch.setattr(cosmos_lease, "replace_if", trouble)
        time.sleep(LEASE)
        assert not written(store)
        with pytest.raises(RetriableError):
            store.lock.check()
        time.sleep(LEASE / 3)
        assert "lost the lease; this run stops before it writes again" in caplog.text
        assert f"unexpected {'KeyError' if trouble is broken else 'SystemExit'} in renewing the lease" in caplog.text
        assert SECRET not in caplog.text
        assert caplog.text.count("it came from here") == 1, "the same story over and over"
    store.lock.check()  # without a lease there is nothing to lose


def test_nothing_is_written_in_the_last_part_of_a_lease(opened: Opener, server: EmbeddedCosmos) -> None:
    store = opened()
    with store.lock.hold(run_named("first"), 0):
        server.fail(503, count=FOR_GOOD, operation="ReplaceDocument", path_contains=history_of(store))
        begun = time.monotonic()
        while written(store):
            assert time.monotonic() - begun < LEASE
            time.sleep(0.05)
        server.reset_faults()


@pytest.mark.parametrize("awake", ["monotonic", "time", "clock_gettime"])
def test_the_clock_by_which_most_time_has_passed_is_believed(monkeypatch: pytest.MonkeyPatch, awake: str) -> None:
    if not hasattr(time, awake):
        pytest.skip("no such clock here")
    then = cosmos_lease.Instant.now()
    real = getattr(time, awake)
    monkeypatch.setattr(time, awake, lambda *which: real(*which) + 100)
    assert 100 <= then.age() < 110
    monkeypatch.setattr(time, awake, lambda *which: real(*which) - 100)
    assert 0 <= then.age() < 10


# a run that was suspended


def worker(order: dict[str, Any]) -> None:
    """One attempt, which suspends itself where it is told to; says how it ended."""
    service = parse_service("thing", order["service"], where="test")

    def pause(name: str) -> None:
        if name == order["pause"]:
            os.kill(os.getpid(), signal.SIGSTOP)

    stores = [
        cosmos_store(
            service,
            Account(*order[label]),
            label,
            copy=label == "backup",
            limits=Limits(lease_seconds=LEASE),
        )
        for label in ("source", "backup")
    ]
    with closing(stores[0]), closing(stores[1]), faults.installed(pause):
        try:
            sync(service, *stores, run_named("suspended"), Options())
            print("done", flush=True)
        except RetriableError as error:
            print(error, flush=True)


def stopped(process: subprocess.Popen[str]) -> bool:
    pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
    assert not pid or os.WIFSTOPPED(status), "it has ended"
    return bool(pid)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def until_quiet(server: EmbeddedCosmos) -> None:
    """Until every batch waits to be tried again: one that is on its way already is written, asleep or not."""
    sent, since = 0, time.monotonic()

    def quiet() -> bool:
        nonlocal sent, since
        now = server.stats()["requests"].get("Batch", 0)
        if now != sent:
            sent, since = now, time.monotonic()
        return sent > 0 and time.monotonic() - since > 1

    until(quiet)


@pytest.mark.parametrize("where", ["before apply", "before delete", "answered 503", "answered 429"])
def test_a_run_that_was_suspended_for_longer_than_its_lease_writes_nothing_when_woken(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos], where: str
) -> None:
    """Suspended with a batch in hand, with deletes in hand, or while requests wait to be tried again by us or by the SDK."""
    cosmos.small(lease_seconds=LEASE)
    names = (cosmos.source_database, cosmos.backup_database)
    ends = [(*end, name, cosmos.container) for end, name in zip(cosmos.endpoints, names, strict=True)]
    entry = {"source": "source", "backup": "backup", **cosmos.settings}
    order = {"service": entry, "source": ends[SOURCE], "backup": ends[BACKUP], "pause": where}
    waits = where.startswith("answered")
    if waits:
        status = int(where[-3:])
        servers[BACKUP].reset_stats()
        for operation in ("UpsertDocument", "Batch"):
            servers[BACKUP].fail(
                status, count=FOR_GOOD, operation=operation, path_contains=cosmos.container, retry_after_ms=5_000
            )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.test_cosmos_lease", json.dumps(order)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    try:
        if waits:
            until_quiet(servers[BACKUP])
            os.kill(process.pid, signal.SIGSTOP)
        until(lambda: stopped(process))
        servers[BACKUP].reset_faults()
        # What it has in hand is old by now, and what it would delete is back.
        cosmos.put(*((key, 3, "newer") for key in (*range(5), *range(10, 15))))
        again = cosmos.sync(run_id="next", service=cosmos.service(lock_wait_seconds=30))
        assert again.success
        before = cosmos.rows(BACKUP, cosmos.container), cosmos.history_rows()
        assert before[0] == cosmos.source_rows()
        os.kill(process.pid, signal.SIGCONT)
        said, problem = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert said == f"backup: {LOST}\n", problem
    assert (cosmos.rows(BACKUP, cosmos.container), cosmos.history_rows()) == before


# an attempt that is not the last one


def test_an_old_attempt_counts_no_more_once_the_next_has_begun(opened: Opener) -> None:
    old, new = opened(), opened()
    old.journal.begin(run_named("tonight"))
    batch(old)
    retried = run_named("tonight")
    assert new.journal.begin(retried)
    assert retried.attempt == 2
    with pytest.raises(RetriableError, match="another attempt of this run has begun"):
        batch(old)
    batch(new)
    assert [run["Attempt"] for run in new.journal.newest()] == [2]


def test_an_old_attempt_counts_no_more_once_the_run_was_recorded_as_ended(opened: Opener) -> None:
    old, recorder = opened(), opened()
    old.journal.begin(run_named("tonight"))
    ended_run = run_named("tonight")
    ended_run.fail("marked as failed")
    recorder.journal.save(ended_run)
    with pytest.raises(RetriableError, match="or it was recorded as ended"):
        batch(old)
    assert [run["ErrorMessage"] for run in recorder.journal.newest()] == ["marked as failed"]


@pytest.mark.parametrize("times", [1, 10])
def test_a_count_whose_answer_is_lost_is_counted_and_not_taken_for_somebody_elses(
    opened: Opener, server: EmbeddedCosmos, times: int
) -> None:
    store = opened()
    store.journal.newest()
    server.drop_after_apply(count=times, operation="CreateDocument", path_contains=history_of(store))
    store.journal.begin(run_named("tonight"))
    server.drop_after_apply(count=times, operation="ReplaceDocument", path_contains=history_of(store))
    batch(store)
    batch(store)
    server.reset_faults()
    server.drop_after_apply(count=times, operation="ReplaceDocument", path_contains=history_of(store))
    retried = run_named("tonight")
    assert opened().journal.begin(retried)
    server.reset_faults()
    assert retried.attempt == 2, "its own record was taken for that of an earlier attempt"


def test_a_batch_costs_one_request_to_the_history(opened: Opener, server: EmbeddedCosmos) -> None:
    store = opened()
    with store.lock.hold(run_named("tonight"), 0):
        store.journal.begin(run_named("tonight"))
        batch(store)
        server.reset_stats()
        batch(store)
        batch(store)
        requests = server.stats()["requests"]
    assert requests == {"ReplaceDocument": 2}


if __name__ == "__main__":
    logging.basicConfig()
    worker(json.loads(sys.argv[1]))

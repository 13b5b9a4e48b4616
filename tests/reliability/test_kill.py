"""kill -9 at random moments. BACKUP_SYNC_TEST_KILLS says how many (SQLite; 12 without it)."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import LockHeld
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Wish
from backup_sync.walk.restore import plan
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend, SqliteBackend
from tests.reliability.killing import finish, kill
from tests.reliability.machine import stamped, written

KILLS = int(os.environ.get("BACKUP_SYNC_TEST_KILLS", "12"))
RECORDS = 20_000
LEASE = 3.0


def test_a_retry_after_a_kill_counts_nothing_twice(tmp_path: Path) -> None:
    """20,000 rows, of which 6,000 come, 4,000 changed and 2,000 are gone; killed, then retried as the same run.

    Every attempt that follows a kill may be killed as well, so that a run is seen to survive more than one.
    """
    before = tmp_path / "before"
    before.mkdir()
    template = SqliteBackend(before)
    template.put(*((key, 1, f"text {key}") for key in range(16_000)))
    template.initialize()
    template.sync(run_id="earlier")
    template.remove(*range(0, 16_000, 8))
    template.put(*((key, 2, "changed") for key in range(1, 16_000, 4)))
    template.put(*((key, 1, "new") for key in range(16_000, 22_000)))
    dice = random.Random(os.environ.get("BACKUP_SYNC_TEST_SEED", "1"))

    def fresh(name: str) -> tuple[SqliteBackend, dict[str, Any]]:
        folder = tmp_path / name
        shutil.copytree(before, folder)
        backend = SqliteBackend.__new__(SqliteBackend)
        backend.source_path, backend.backup_path = folder / "source.sqlite", folder / "backup.sqlite"
        backend.settings = template.settings
        backend.initialize(accept_source=True)  # both were moved
        order = {"kind": "sqlite", "run_id": "tonight", "source": str(backend.source_path)}
        order |= {"backup": str(backend.backup_path), "service": entry(backend.settings)}
        return backend, order

    backend, order = fresh("measured")
    lasts = finish(order)
    assert backend.backup_rows() == backend.source_rows()

    done = killed = 0
    partly = 0
    while killed < KILLS:
        backend, order = fresh(f"try-{done}")
        expected = written(stamped(backend), {key: (*row, "") for key, row in source_of(backend).items()})
        was = stamped(backend)
        while kill(order, dice.uniform(0, lasts)):
            killed += 1
            now = written(was, stamped(backend))
            assert history_of(backend) in ([], [now]), "the history does not say what was written"
            partly += 0 < sum(now) < 12_000
            if dice.random() < 0.5:
                break
        finish(order)
        done += 1
        assert backend.backup_rows() == backend.source_rows()
        assert history_of(backend) == [(6_000, 4_000, 2_000)] == [written(was, stamped(backend))]
        assert expected[0] == 6_000
        shutil.rmtree(tmp_path / f"try-{done - 1}")
    print(f"{killed} kills in {done} runs, {partly} of them in the middle of writing")


def test_a_restore_that_is_killed_is_finished_by_its_retry_and_counts_each_record_once(tmp_path: Path) -> None:
    """1,500 rows are to be inserted, 1,000 overwritten and 500 deleted; killed at random, and each retry as well."""
    before = tmp_path / "before"
    before.mkdir()
    template = SqliteBackend(before)
    settings = {"keep_history": "30d", "guard": {"count": 1_000_000}}
    service = template.service(**settings)
    template.put(*((key, 1, f"text {key}") for key in range(4_000)))
    template.initialize(service=service)
    template.sync(service=service)
    good = template.source_rows()
    template.remove(*range(1_500))
    template.put(*((key, 2, "bad") for key in range(2_000, 3_000)), *((key, 1, "new") for key in range(5_000, 5_500)))
    template.sync(service=service)
    source, backup = template.open(service)
    with closing(source), closing(backup):
        nobody = SyncResult(sync_id("dag", "plan", "thing"), "thing")
        approved = plan(backup, source, nobody, Wish(number=1, delete=True)).id
    dice = random.Random(os.environ.get("BACKUP_SYNC_TEST_SEED", "1"))

    def order(folder: Path) -> dict[str, Any]:
        ends = {"source": str(folder / "source.sqlite"), "backup": str(folder / "backup.sqlite")}
        wanted = {"number": 1, "plan": approved}
        return {
            "kind": "sqlite",
            "run_id": "back",
            "service": entry(template.settings) | settings,
            "restore": wanted,
            **ends,
        }

    lasts = 0.0
    killed = 0
    while killed < max(3, KILLS // 3):
        # In the same place, since the pairing knows it; from the same state.
        for path in (template.source_path, template.backup_path):
            kept = path.with_name(f"kept-{path.name}")
            if not kept.exists():
                shutil.copy(path, kept)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            shutil.copy(kept, path)
        if not lasts:
            lasts = finish(order(before))
            continue
        while kill(order(before), dice.uniform(0, lasts)):
            killed += 1
            if dice.random() < 0.5:
                break
        finish(order(before))
        assert template.source_rows() == template.backup_rows() == good
        (found,) = [row for row in template.history_rows() if row["RunId"] == "back"]
        assert (found["InsertedCount"], found["UpdatedCount"], found["DeletedCount"]) == (1_500, 1_000, 500)
        assert found["Success"] == 1


def entry(settings: dict[str, Any]) -> dict[str, Any]:
    return {"source": "source", "backup": "backup", **settings}


def source_of(backend: SqliteBackend) -> dict[int, tuple[int, str]]:
    with closing(sqlite3.connect(backend.source_path)) as db:
        return {key: (version, text) for key, version, text in db.execute("SELECT * FROM Things")}


def history_of(backend: SqliteBackend) -> list[tuple[int, int, int]]:
    names = ("InsertedCount", "UpdatedCount", "DeletedCount")
    return [tuple(row[n] for n in names) for row in backend.history_rows() if row["RunId"] == "tonight"]


@pytest.fixture
def cosmos(servers: list[EmbeddedCosmos]) -> Iterator[CosmosBackend]:
    backend = CosmosBackend("own", *[(server.endpoint, server.key) for server in servers])
    yield backend
    backend.close()


def test_a_killed_cosmos_run_has_never_counted_more_than_it_wrote(
    cosmos: CosmosBackend,
) -> None:
    """It may have counted less, by the batch in flight; and its lease delays the retry by no more than it lasts."""
    cosmos.small(lease_seconds=LEASE)
    cosmos.put(*((key, 1, "x" * 200) for key in range(600)))
    cosmos.initialize()
    names = (cosmos.source_database, cosmos.backup_database)
    ends = [(*end, name, cosmos.container) for end, name in zip(cosmos.endpoints, names, strict=True)]
    service = entry(cosmos.settings) | {"lock_wait_seconds": 30}
    batch = 50
    order = {"kind": "cosmos", "service": service, "source": ends[0], "backup": ends[1]}
    order |= {"batch": batch, "lease_seconds": LEASE}
    finish(order | {"run_id": "first"})
    cosmos.put(*((key, 1, "y") for key in range(600, 900)))
    lasts = finish(order | {"run_id": "measured"})
    dice = random.Random(3)
    kills = 0
    for number in range(6):
        order["run_id"] = f"run-{number}"
        first = 900 + 200 * number
        cosmos.put(*((key, 1, "y") for key in range(first, first + 200)))
        cosmos.put(*((key, number + 2, "z") for key in range(0, 300, 2)))
        before = stamped(cosmos)
        if kill(order, dice.uniform(0, lasts)):
            kills += 1
            uncounted = lag(cosmos, order["run_id"], before)
            assert 0 <= uncounted <= batch
            if lease_of(cosmos):
                with pytest.raises(LockHeld, match=f"being written by run {order['run_id']}"):
                    cosmos.sync(run_id="too early", service=cosmos.service(lock_wait_seconds=0))
        finish(order)  # waits for the lease, and gets it
        assert cosmos.backup_rows() == cosmos.source_rows()
        assert [row["runId"] for row in cosmos.history_rows()].count(order["run_id"]) == 1
        assert 0 <= lag(cosmos, order["run_id"], before) <= batch
        assert not lease_of(cosmos)
    print(f"{kills} kills")


def lag(cosmos: CosmosBackend, run_id: str, before: dict[int, Any]) -> int:
    """How many writes the history does not know of."""
    rows = [row for row in cosmos.history_rows() if row.get("runId") == run_id]
    counted = sum(row["insertedCount"] + row["updatedCount"] + row["deletedCount"] for row in rows)
    return sum(written(before, stamped(cosmos))) - counted


def lease_of(cosmos: CosmosBackend) -> list[dict[str, Any]]:
    return [row for row in cosmos.history_rows() if row["id"] == "lease"]

"""Syncs in processes of their own, so that they can be killed in earnest (SIGKILL), and what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Wish
from backup_sync.walk.record import record_history
from backup_sync.walk.restore import restore
from backup_sync.walk.sync import Options, sync
from local.environment import ROOT


def worker(order: Mapping[str, Any]) -> float:
    """One attempt of a run, sync and history, as the two tasks of a chain do it; or of a restore."""
    from backup_sync.model.service import parse_service
    from backup_sync.stores.base import Store

    service = parse_service("thing", order["service"], where="test")
    run = SyncResult(sync_id("dag", order["run_id"], "thing"), "thing", run_id=order["run_id"])
    stores: list[Store] = []
    if order["kind"] == "sqlite":
        import sqlite3

        from backup_sync.stores.sqlite.store import sqlite_store

        for label in ("source", "backup"):

            def connect(_: str | None, path: str = order[label]) -> sqlite3.Connection:
                return sqlite3.connect(path, check_same_thread=False)

            stores.append(sqlite_store(service, connect, label, copy=label == "backup"))
    else:
        from backup_sync.model.limits import Limits
        from backup_sync.stores.cosmos.account import Account
        from backup_sync.stores.cosmos.store import cosmos_store

        limits = Limits(batch=order["batch"], page=order["batch"], lease_seconds=order["lease_seconds"])
        for label in ("source", "backup"):
            stores.append(cosmos_store(service, Account(*order[label]), label, copy=label == "backup", limits=limits))
    with closing(stores[0]), closing(stores[1]):
        print("ready", flush=True)
        begun = time.monotonic()
        if wanted := order.get("restore"):
            restore(stores[0], stores[1], stores[0], run, Wish(number=wanted["number"], delete=True), wanted["plan"])
        else:
            sync(service, *stores, run, Options())
            record_history(stores[1], run)
        return time.monotonic() - begun


def start(order: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a worker; returns when its imports are done and its sync begins."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.killing", json.dumps(order)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


def kill(order: Mapping[str, Any], after: float) -> bool:
    """Start a worker and kill it that many seconds into its sync; whether it was still at it."""
    process = start(order)
    time.sleep(after)
    process.kill()
    process.communicate()
    return process.returncode != 0


def finish(order: Mapping[str, Any]) -> float:
    """Run a worker to its end; how long its sync and its history took, less what Python takes to start and to end."""
    process = start(order)
    out, problem = process.communicate()
    assert process.returncode == 0, problem
    return float(out)


if __name__ == "__main__":
    print(worker(json.loads(sys.argv[1])))

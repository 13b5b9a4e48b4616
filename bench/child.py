"""One measured action in its own process: ``python -m bench.child '<description>' '<action>'``.

Prints one line of JSON: wall and CPU seconds, peak memory above what the interpreter needs with the same imports (MB),
how many whole records the source gave out, and what the action counted.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from backup_sync.model.result import SyncResult
from backup_sync.model.wish import Wish
from backup_sync.walk.initialize import initialize
from backup_sync.walk.restore import plan, restore
from backup_sync.walk.sync import Options, sync
from backup_sync.walk.verify import verify
from bench.rig import Rig


def build(description: dict[str, Any]) -> Rig:
    """The rig that a description (JSON-ready) stands for."""
    values = dict(description)
    keep = values.pop("keep", None)
    rig = _rig(values.pop("kind"), values)
    if keep:
        rig.own_settings = {**rig.own_settings, "keep_history": keep}
    return rig


def _rig(kind: str, values: dict[str, Any]) -> Rig:
    if kind == "sqlite":
        from bench.sqlite import SqliteRig

        return SqliteRig(**values)
    if kind == "mssql":
        from bench.mssql import MssqlRig

        return MssqlRig(**values)
    from bench.cosmos import CosmosRig

    return CosmosRig(**values)


def engine(rig: Rig, **options: Any) -> tuple[int, int, int]:
    """A whole run of the engine as the two tasks do it: initialize, then sync, with new connections."""
    source, backup = rig.stores()
    run = SyncResult(uuid.uuid4(), "bench", run_id="bench")
    try:
        sync(rig.service, source, backup, run, Options(**options))
    finally:
        source.close()
        backup.close()
    return run.inserted, run.updated, run.deleted


def content(rig: Rig) -> tuple[int, int, int]:
    """A whole verify, with new connections."""
    source, backup = rig.stores()
    run = SyncResult(uuid.uuid4(), "bench", run_id="bench")
    try:
        verify(source, backup, run)
    finally:
        source.close()
        backup.close()
    return 0, 0, 0


def bring_back(rig: Rig) -> tuple[int, int, int]:
    """A plan of a restore of everything as the backup has it, and the restore, with new connections."""
    return _restore(rig, rig)


def fill_empty(rig: Rig) -> tuple[int, int, int]:
    """The same into an empty place."""
    return _restore(rig, rig.beside())


def _restore(rig: Rig, place: Rig) -> tuple[int, int, int]:
    source, backup = rig.stores()
    target, other = place.stores()
    other.close()
    run, wish = SyncResult(uuid.uuid4(), "bench", run_id=str(uuid.uuid4())), Wish(delete=True)
    try:
        restore(source, backup, target, run, wish, plan(backup, target, run, wish).id)
    finally:
        for store in (source, backup, target):
            store.close()
    return run.inserted, run.updated, run.deleted


def drop_beside(rig: Rig) -> None:
    target, other = rig.beside().stores()
    target.catalog.drop()
    target.close()
    other.close()


def prepare(rig: Rig) -> None:
    source, backup = rig.stores()
    initialize(source, backup)
    source.close()
    backup.close()


def warm(rig: Rig) -> None:
    """Import what the action will import, so that memory is counted above it."""
    if rig.name.startswith("cosmos"):
        import azure.core.pipeline.transport._aiohttp  # noqa: F401  the SDK imports its transport with the first client

        import backup_sync.stores.cosmos.store
    elif rig.name == "mssql":
        import pymssql  # noqa: F401

        import backup_sync.stores.mssql.store
    else:
        import backup_sync.stores.sqlite.store  # noqa: F401


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    rig, action = build(json.loads(sys.argv[1])), sys.argv[2]
    warm(rig)
    if action == "prepare":
        prepare(rig)
        return
    work: Any
    if action == "engine":
        work = lambda: engine(rig)  # noqa: E731
    elif action == "verify":
        work = lambda: content(rig)  # noqa: E731
    elif action == "restore":
        work = lambda: bring_back(rig)  # noqa: E731
    elif action == "restore into nothing":
        drop_beside(rig)
        work = lambda: fill_empty(rig)  # noqa: E731
    elif action == "read":
        work = rig.read_all
    elif action == "baseline":
        work = rig.baseline
    else:
        work = rig.floors()[action]()
    bodies = rig.bodies()
    before, cpu, start = peak(), time.process_time(), time.perf_counter()
    counts = work()
    seconds, spent, memory = time.perf_counter() - start, time.process_time() - cpu, peak() - before
    factor = counts if isinstance(counts, float) else 1.0
    print(
        json.dumps(
            {
                "seconds": seconds * factor,
                "cpu": spent * factor,
                "rss": memory,
                "bodies": rig.bodies() - bodies,
                "counts": counts if isinstance(counts, tuple) else None,
            }
        )
    )


def peak() -> float:
    """Peak resident memory so far, in MB.

    On Linux that of this program alone: ru_maxrss begins with the peak of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) / 1024
    except (OSError, StopIteration):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

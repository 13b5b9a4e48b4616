"""How much faster packed pairs are than a row each; run by hand: python -m bench.packing [rows].

Both ends are read at once, as a run does, into the sets that it compares; packed and plain in turn; the best of each is told.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from contextlib import closing
from functools import partial
from itertools import chain
from random import Random

from backup_sync.stores.sql.store import EVERYTHING
from backup_sync.walk.pipeline import both
from tests.conformance.backends import MssqlBackend

KINDS = {
    "GUID, DATETIME2(7)": ("UNIQUEIDENTIFIER", "DATETIME2(7)"),
    "GUID, INT": ("UNIQUEIDENTIFIER", "INT"),
    "BIGINT, INT": ("BIGINT", "INT"),
    "INT, DATETIME2(7)": ("INT", "DATETIME2(7)"),
    "INT, BINARY(8)": ("INT", "BINARY(8)"),
    "INT, DECIMAL(18,4)": ("INT", "DECIMAL(18,4)"),
    "NVARCHAR(60), INT": ("NVARCHAR(60)", "INT"),
    "NVARCHAR(256), INT": ("NVARCHAR(256)", "INT"),
    "VARCHAR(20), INT": ("VARCHAR(20)", "INT"),
    "INT, NVARCHAR(30) NULL": ("INT", "NVARCHAR(30) NULL"),
    "INT, INT NULL": ("INT", "INT NULL"),
    "INT, BIGINT NULL": ("INT", "BIGINT NULL"),
    "INT, BINARY(8) NULL": ("INT", "BINARY(8) NULL"),
    "INT, DATETIME2(7) NULL": ("INT", "DATETIME2(7) NULL"),
    "CHAR(12), INT": ("CHAR(12)", "INT"),
}


def value(type_: str, number: int, pick: Random) -> object:
    if type_ == "UNIQUEIDENTIFIER":
        return str(uuid.UUID(int=pick.getrandbits(128)))
    if type_.startswith("DATETIME2"):
        return f"2024-01-{1 + number % 28:02} 12:34:56.{number:07}"
    if "CHAR" in type_:
        return f"{number:08}-{pick.getrandbits(12):03x}"
    if type_.startswith("BINARY"):
        return number.to_bytes(8, "big")
    return number


def measure(kind: str, rows: int) -> None:
    uris = os.environ["BACKUP_SYNC_TEST_MSSQL_SOURCE"], os.environ["BACKUP_SYNC_TEST_MSSQL_BACKUP"]
    backend, pick = MssqlBackend(*uris), Random(1)
    try:
        key, stamp = KINDS[kind]
        backend.run_source(f"DROP TABLE {backend.table}")
        backend.run_source(
            f"CREATE TABLE {backend.table} (K {key} NOT NULL PRIMARY KEY, Version {stamp}{'' if 'NULL' in stamp else ' NOT NULL'})"
        )
        with closing(backend.connect(uris[0], backend.source_database)) as db:
            found = [(value(key, n, pick), value(stamp, n, pick)) for n in range(rows)]
            db.bulk_copy(backend.table, found, column_ids=[1, 2], batch_size=rows + 1)
        backend.initialize()
        backend.sync()
        source, backup = backend.open(backend.service())
        with closing(source), closing(backup):
            shape = source.describe()
            source.open(shape)
            backup.open(shape)
            ways = {
                "plain": lambda store: set(chain.from_iterable(store._plain_pairs(EVERYTHING))),
                "packed": lambda store: store.unpacked(set(chain.from_iterable(store.pairs(None)))),
            }
            assert ways["plain"](source) == ways["packed"](source)
            taken: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(5):
                for way, read in ways.items():
                    start = time.perf_counter()
                    one, other = both(partial(read, source), partial(read, backup))
                    taken[way].append(time.perf_counter() - start)
                    assert len(one) == rows and one == other  # noqa: PT018
            plain, packed = (min(seconds) for seconds in taken.values())
            print(f"{kind:24} plain {plain:.3f} s, packed {packed:.3f} s, ratio {plain / packed:.2f}", flush=True)
    finally:
        backend.close()


if __name__ == "__main__":
    for kind in KINDS:
        measure(kind, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

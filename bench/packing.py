"""How fast each form of (key, stamp) pairs is on SQL Server; run by hand: python -m bench.packing [rows].

Both ends are read at once, as a run does, into the sets that it compares; the forms in turn, and the best time of each.
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
from typing import Any, ClassVar

from backup_sync.stores.mssql.pairs import JoinedPairs, MssqlPairs, NumberPairs, PlainPairs
from backup_sync.stores.mssql.reader import MssqlReader
from backup_sync.walk.pipeline import both
from bench.mssql import MssqlRig

KINDS = {
    "INT, INT": ("INT", "INT"),
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


TABLE = "dbo.BenchPacking"


class PackingRig(MssqlRig):
    settings: ClassVar = {"table": TABLE, "changed": {"Version": "higher"}}


def read(reader: Any) -> set[object]:
    return set(reader.codec.open(set(chain.from_iterable(reader.pairs(None)))))


def forms(reader: MssqlReader) -> dict[str, MssqlPairs]:
    view = reader.view
    found: dict[str, MssqlPairs] = {"plain": PlainPairs(view), "joined": JoinedPairs(view)}
    if NumberPairs.possible(view):
        found["numbers"] = NumberPairs(view, reader.limits.packed_keys)
    return found


def measure(kind: str, rows: int) -> None:
    rig = PackingRig(rows, *(os.environ[f"BACKUP_SYNC_TEST_MSSQL_{end}"] for end in ("SOURCE", "BACKUP")))
    key, stamp = KINDS[kind]
    pick = Random(1)
    found = [(value(key, n, pick), value(stamp, n, pick)) for n in range(rows)]
    null = "" if "NULL" in stamp else " NOT NULL"
    for end, name in ((0, rig.source_database), (1, rig.backup_database)):
        rig.run(end, f"IF DB_ID('{name}') IS NULL CREATE DATABASE [{name}]", "master")
        rig.run(end, f"IF OBJECT_ID('{TABLE}') IS NOT NULL DROP TABLE {TABLE}")
        rig.run(end, f"CREATE TABLE {TABLE} (K {key} NOT NULL PRIMARY KEY, Version {stamp}{null})")
        with closing(rig.connect(end)) as db:
            db.bulk_copy(TABLE, found, column_ids=[1, 2], batch_size=rows + 1)
    source, backup = rig.stores()
    with closing(source), closing(backup):
        shape = source.catalog.describe()
        readers = [source.reader(shape), backup.reader(shape)]
        taken: dict[str, list[float]] = {}
        for _ in range(5):
            for form in ("plain", "joined", "numbers"):
                for reader in readers:
                    assert isinstance(reader, MssqlReader)
                    if codec := forms(reader).get(form):
                        reader.codec = codec
                if codec is None:
                    continue
                start = time.perf_counter()
                one, other = both(partial(read, readers[0]), partial(read, readers[1]))
                taken.setdefault(form, []).append(time.perf_counter() - start)
                assert len(one) == rows and one == other  # noqa: PT018
    best = {form: min(seconds) for form, seconds in taken.items()}
    print(f"{kind:24} " + ", ".join(f"{form} {seconds:.3f} s" for form, seconds in best.items()), flush=True)


if __name__ == "__main__":
    for kind in KINDS:
        measure(kind, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)

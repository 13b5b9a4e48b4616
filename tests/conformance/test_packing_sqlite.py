"""(key, stamp) pairs that SQLite packs are those that it gives a row each, and a large key space is taken in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pytest

from backup_sync.model.limits import Limits
from backup_sync.stores.sql.pairs import RowPairs
from backup_sync.stores.sqlite.cutter import SqliteCutter
from backup_sync.stores.sqlite.pairs import GroupedPairs
from backup_sync.stores.sqlite.reader import SqliteReader
from tests.conformance.backends import SqliteBackend
from tests.conformance.test_values_sqlite import NO_UTF8, VALUES, made


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path)


@contextmanager
def opened(backend: SqliteBackend) -> Iterator[SqliteReader]:
    store, _ = backend.open(backend.service())
    with closing(store):
        reader = store.reader(store.catalog.describe())
        assert isinstance(reader, SqliteReader)
        assert isinstance(reader.codec, GroupedPairs)
        yield reader


def same_pairs(reader: SqliteReader, rows: int) -> None:
    bundles = set(chain.from_iterable(reader.pairs(None)))
    packed = reader.codec.open(bundles)
    assert reader.codec.count(bundles) == rows
    reader.codec = RowPairs(1)
    plain = list(chain.from_iterable(reader.pairs(None)))
    assert len(plain) == rows
    # By their text: what is equal in Python may be of another storage class.
    assert sorted(map(repr, packed)) == sorted(map(repr, plain))


@pytest.mark.parametrize("affinity", ["INTEGER", "TEXT", "REAL", "NUMERIC", "BLOB", ""])
def test_a_stamp_of_any_storage_class_is_packed_as_it_is_or_not_at_all(sqlite: SqliteBackend, affinity: str) -> None:
    made(sqlite, f"Id INTEGER PRIMARY KEY, Version {affinity}")
    # Neighbours of one kind and of many, so that whole numbers and text share their row with what JSON would change.
    rows = [(number, value) for number, value in enumerate(VALUES * 2)]
    rows += [(Limits.packed_keys * (9 + number), value) for number, value in enumerate(VALUES)]
    sqlite.run_source("INSERT INTO Things VALUES (?, ?)", rows)
    for number, text in enumerate(NO_UTF8):
        sqlite.run_source(f"INSERT INTO Things VALUES ({-number - 1}, CAST(X'{text}' AS TEXT))")
    with opened(sqlite) as store:
        same_pairs(store, len(rows) + len(NO_UTF8))


def test_keys_of_a_whole_number_column_that_are_none_are_kept_apart(sqlite: SqliteBackend) -> None:
    made(sqlite, "K INT NOT NULL PRIMARY KEY, Version INTEGER NOT NULL")
    keys = [1, 1.5, 2, 2.25, -(2**62), 2**62, 31, 32, 33, "one", b"\x01"]
    sqlite.run_source("INSERT INTO Things VALUES (?, 1)", [(key,) for key in keys])
    with opened(sqlite) as store:
        same_pairs(store, len(keys))


def test_only_the_rows_of_neighbours_that_changed_are_opened(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_rows: list[int] = []
    unpacked = GroupedPairs.open
    monkeypatch.setattr(
        GroupedPairs, "open", lambda self, bundles: (opened_rows.append(len(bundles)), unpacked(self, bundles))[1]
    )
    monkeypatch.setattr(SqliteCutter, "digestible", lambda self: False)
    sqlite.put(*((n, 1, None) for n in range(100 * Limits.packed_keys)))
    sqlite.initialize()
    sqlite.counts()
    opened_rows.clear()
    sqlite.put((5, 2, None), (50 * Limits.packed_keys, 2, None))
    sqlite.remove(70 * Limits.packed_keys)
    assert sqlite.counts() == (0, 2, 1, 100 * Limits.packed_keys - 3)
    assert sorted(opened_rows) == [3, 3]


def test_a_key_space_of_many_pieces_is_digested_in_parts_and_nothing_between_them_is_missed(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.small(digests=3)
    held: list[int] = []
    digests = SqliteCutter._digests
    monkeypatch.setattr(SqliteCutter, "_digests", lambda self, cut: (held.append(len(cut)), digests(self, cut))[1])
    sqlite.put(*((n, 1, None) for n in range(500)))
    sqlite.initialize()
    assert sqlite.counts() == (500, 0, 0, 0)
    sqlite.put((-7, 1, "below"), (900, 1, "above"), *((n, 2, "new") for n in range(0, 500, 47)))
    sqlite.remove(*range(1, 500, 61))
    updated, deleted = len(range(0, 500, 47)), len(range(1, 500, 61))
    run = sqlite.sync()
    assert (run.inserted, run.updated, run.deleted, run.skipped) == (2, updated, deleted, 500 - updated - deleted)
    assert sqlite.backup_rows() == sqlite.source_rows()
    # Below and above what a part was cut from belongs to it as well.
    sqlite.remove(-7, 900)
    assert sqlite.counts() == (0, 0, 2, 500 - deleted)
    assert max(held) == 3
    assert len(held) > 20

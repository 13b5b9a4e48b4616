"""What a comparison asks of its two ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.limits import Limits, Pieces
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sqlite.reader import SqliteReader
from tests.conformance.backends import SqliteBackend

SMALL = {"pieces": Pieces(few=64, keys=4, parts=8), "digests": 16}


@pytest.fixture
def thousand(tmp_path: Path) -> SqliteBackend:
    found = SqliteBackend(tmp_path)
    found.small(**SMALL, range_records=200)
    found.put(*((number, 1, "old") for number in range(1, 1_001)))
    found.initialize()
    found.sync()
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many pieces each digest was asked for."""
    pieces: list[int] = []
    digests = SqliteReader._digests

    def noted(self: SqliteReader, cut: Any) -> Any:
        pieces.append(len(cut))
        return digests(self, cut)

    monkeypatch.setattr(SqliteReader, "_digests", noted)
    return pieces


def test_where_nearly_every_piece_differs_no_more_digests_are_asked_for(
    thousand: SqliteBackend, asked: list[int]
) -> None:
    changed = range(1, 1_001, 5)
    thousand.put(*((number, 2, "new") for number in changed), (1_001, 1, "one more"))
    thousand.remove(2)
    assert thousand.counts() == (1, len(changed), 1, 999 - len(changed))
    assert asked == [16, 16], "of the first part, at both ends"
    assert thousand.backup_rows() == thousand.source_rows()


def test_where_few_pieces_differ_all_digests_are_asked_for(thousand: SqliteBackend, asked: list[int]) -> None:
    thousand.put((1, 2, "new"), (500, 2, "new"), (1_000, 2, "new"))
    assert thousand.counts() == (0, 3, 0, 997)
    assert sum(asked) >= 2 * 60


def test_a_backup_that_lacks_nearly_everything_is_still_told_so_by_digests(
    thousand: SqliteBackend, asked: list[int]
) -> None:
    """A range that the backup has nothing of is copied as a whole, and needs no comparison."""
    with closing(sqlite3.connect(thousand.backup_path)) as db, db:
        db.execute("DELETE FROM Things WHERE Id >= 20")
    asked.clear()
    assert thousand.counts() == (981, 0, 0, 19)
    assert sum(asked) >= 2 * 60


def test_a_large_cut_begins_with_a_small_part_and_covers_every_piece_once() -> None:
    cut = EvenCut(KeyRange(), 1, 2_000, 512, Limits.digests)
    parts = list(cut.parts())
    assert list(map(len, parts)) == [32, 480]
    assert [part.first for part in parts] == [1, 1 + 32 * 2_000]
    assert (parts[0].within, parts[1].within) == (KeyRange(None, (64_000,)), KeyRange((64_000,), None))
    small = EvenCut(KeyRange(), 1, 128, 512, Limits.digests)
    assert list(map(len, small.parts())) == [512]

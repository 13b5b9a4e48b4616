"""What a comparison asks of its two ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import DeletesWithheld, FatalError
from backup_sync.model.limits import Limits, Pieces
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sqlite.cutter import SqliteCutter
from backup_sync.stores.sqlite.reader import SqliteReader
from backup_sync.walk.find import Finder, Found
from backup_sync.walk.progress import Progress
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
    digests = SqliteCutter._digests

    def noted(self: SqliteCutter, cut: Any) -> Any:
        pieces.append(len(cut))
        return digests(self, cut)

    monkeypatch.setattr(SqliteCutter, "_digests", noted)
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


def compared(backend: SqliteBackend, *, force: bool = False) -> list[Found]:
    """All that a comparison finds."""
    source, backup = backend.open(backend.service())
    run = SyncResult(sync_id("dag", "look", "thing"), "thing", run_id="look")
    with closing(source), closing(backup):
        shape = source.catalog.describe()
        reader = source.reader(shape)
        finder = Finder(
            reader,
            backup.reader(shape),
            ("higher",),
            force=force,
            written=lambda _: frozenset(),
            progress=Progress(run),
            check=lambda: None,
            limits=backend.limits,
        )
        return list(finder.find(reader.cut(None, backend.limits.range_records)))


@pytest.mark.parametrize("force", [False, True])
def test_each_record_of_each_side_is_seen_once_whatever_becomes_of_its_piece(
    thousand: SqliteBackend, force: bool
) -> None:
    """The guard rests on these totals."""
    thousand.remove(*range(101, 301))  # whole pieces that the source no longer has
    thousand.put(*((number, 1, "new") for number in range(2_001, 2_201)))  # and that the backup does not have yet
    thousand.put((500, 2, "changed"), (501, 2, "changed"))
    found = compared(thousand, force=force)
    assert sum(one.source for one in found) == 1_000
    assert sum(one.target for one in found) == 1_000
    changes = [one.changes for one in found if one.changes is not None]
    assert {key for one in changes for (key,) in one.deletes} == set(range(101, 301))
    missing = sum(one.source for one in found if one.changes is None)
    assert missing + sum(len(one.inserts) for one in changes) == 200
    assert missing >= 180, "a piece of which the backup holds nothing is told as a range"
    assert all(one.target == 0 and one.within is not None for one in found if one.changes is None)
    updates = {key for one in changes for (key,) in one.updates}
    assert updates == ({*range(1, 101), *range(301, 1_001)} if force else {500, 501})


def test_a_piece_that_only_the_backup_has_is_read_from_the_backup_alone(
    thousand: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    thousand.remove(*range(101, 301))
    read: list[str] = []
    pairs = SqliteReader.pairs

    def noted(self: SqliteReader, within: Any) -> Any:
        read.append(self.view.table.label)
        return pairs(self, within)

    monkeypatch.setattr(SqliteReader, "pairs", noted)
    found = compared(thousand)
    assert sum(len(one.changes.deletes) for one in found if one.changes) == 200
    assert read.count("backup") > read.count("source"), "what is gone needs no look at the source"


def test_the_guard_counts_what_lies_in_pieces_that_are_gone(thousand: SqliteBackend) -> None:
    thousand.remove(*range(101, 401))
    with pytest.raises(DeletesWithheld, match="withheld 300 deletes from a backup of 1000 records"):
        thousand.sync()


def test_a_key_that_is_not_valid_text_is_refused_where_it_is_first_met(tmp_path: Path) -> None:
    found = SqliteBackend(tmp_path)
    found.run_source("DROP TABLE Things")
    found.run_source("CREATE TABLE Things (Id TEXT PRIMARY KEY NOT NULL, Version INTEGER NOT NULL)")
    found.run_source("INSERT INTO Things VALUES ('good', 1), (CAST(X'FF' AS TEXT), 1)")
    found.initialize()
    found.small(range_records=1)
    for _ in range(2):  # as a boundary of a cut, and among the pairs of a range
        with pytest.raises(
            FatalError, match=r"source: key column Id of app\.Things holds text that is not valid UTF-8"
        ):
            compared(found)
        found.small(range_records=100)


@pytest.mark.parametrize("every, gaps", [(40, True), (9, False)])
def test_few_pieces_are_read_one_by_one_and_many_as_one_long_range(
    thousand: SqliteBackend, every: int, gaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces hold 16 keys here."""
    read: list[KeyRange] = []
    pairs = SqliteReader.pairs

    def noted(self: SqliteReader, within: Any) -> Any:
        read.append(within)
        return pairs(self, within)

    thousand.small(digests=Limits.digests)
    thousand.put(*((number, 2, "new") for number in range(500, 1_001, every)))
    monkeypatch.setattr(SqliteReader, "pairs", noted)
    assert sum(len(one.changes.updates) for one in compared(thousand) if one.changes) == len(range(500, 1_001, every))
    assert any(within.only for within in read) == gaps


def test_a_piece_that_is_too_large_is_cut_by_the_side_that_holds_more_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SqliteBackend(tmp_path)
    found.small(pieces=Pieces(few=1, keys=4, parts=1))
    found.put(*((number, 1, "old") for number in range(1, 401)))
    found.initialize()
    found.sync()
    found.remove(*range(2, 200))
    found.small(range_records=50)
    cutting: list[str] = []
    cut = SqliteCutter.cut

    def noted(self: SqliteCutter, within: Any, records: int) -> Any:
        if within is not None:
            cutting.append(self.view.table.label)
        return cut(self, within, records)

    monkeypatch.setattr(SqliteCutter, "cut", noted)
    gone = [key for one in compared(found) if one.changes for (key,) in one.changes.deletes]
    assert sorted(gone) == list(range(2, 200))
    assert cutting[0] == "backup"


def test_parts_of_a_range_that_memory_cannot_hold_are_not_ranges(thousand: SqliteBackend) -> None:
    thousand.put(*((number, 2, "new") for number in range(1, 1_001)))
    assert all(one.within is not None for one in compared(thousand))
    thousand.small(held_pairs=20)
    found = compared(thousand)
    assert sum(len(one.changes.updates) for one in found if one.changes) == 1_000
    assert all(one.within is None for one in found)

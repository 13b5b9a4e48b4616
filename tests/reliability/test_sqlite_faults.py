"""What a SQLite file may do to a run: be full, be locked, lose its permissions, be no database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError, RetriableError
from backup_sync.stores.sqlite.store import sqlite_store
from tests.conformance.backends import SqliteBackend
from tests.reliability.machine import stamped, written

ROWS = 40


class Limited(SqliteBackend):
    """A backup that may not grow beyond so many pages (0: no limit), and is waited for no longer than ``patience``."""

    pages = 0
    patience = 0.2

    def open(self, service: Any) -> Any:
        def connect(path: Path) -> sqlite3.Connection:
            connection = sqlite3.connect(path, check_same_thread=False, timeout=self.patience)
            if self.pages and path == self.backup_path:
                connection.execute(f"PRAGMA max_page_count = {self.pages}")
            return connection

        return (
            sqlite_store(service, lambda _: connect(self.source_path), "source", copy=False),
            sqlite_store(service, lambda _: connect(self.backup_path), "backup", copy=True),
        )


@pytest.fixture
def sqlite(tmp_path: Path) -> Limited:
    """In step, and then with five updates, five deletes and many large inserts to be done."""
    found = Limited(tmp_path)
    found.put(*((key, 1, "old") for key in range(ROWS)))
    found.initialize()
    found.sync()
    found.put(*((key, 2, "changed") for key in range(5)), *((key, 1, "x" * 5_000) for key in range(ROWS, ROWS + 50)))
    found.remove(*range(10, 15))
    return found


def finished(sqlite: SqliteBackend) -> bool:
    run = sqlite.sync(run_id="tonight")
    counted = [row["RunId"] for row in sqlite.history_rows()].count("tonight")
    return sqlite.backup_rows() == sqlite.source_rows() and (run.inserted, run.updated, run.deleted, counted) == (
        50,
        5,
        5,
        1,
    )


def test_a_full_sqlite_database_undoes_its_batch_and_the_retry_writes_it(sqlite: Limited) -> None:
    """What it had written before that batch stays, and is what its record says."""
    before = stamped(sqlite)
    sqlite.pages = 12
    with pytest.raises(RetriableError) as caught:
        sqlite.sync(run_id="tonight")
    assert str(caught.value) == "backup: SQLite reports SQLITE_FULL: database or disk is full"
    [record] = [row for row in sqlite.history_rows() if row["RunId"] == "tonight"]
    counts = tuple(record[name] for name in ("InsertedCount", "UpdatedCount", "DeletedCount"))
    assert not record["Success"]
    assert counts == written(before, stamped(sqlite))
    assert counts[0] < 50
    assert counts[2] == 0
    sqlite.pages = 0
    assert finished(sqlite)


def test_a_first_load_that_fills_the_database_is_taken_up_by_its_retry(tmp_path: Path) -> None:
    backend = Limited(tmp_path)
    backend.put(*((key, 1, "x" * 5_000) for key in range(50)))
    backend.initialize()
    backend.pages = 12
    with pytest.raises(RetriableError, match="database or disk is full"):
        backend.sync(run_id="tonight")
    backend.pages = 0
    assert backend.sync(run_id="tonight").inserted == 50
    assert backend.backup_rows() == backend.source_rows()


@pytest.mark.parametrize("end", ["source", "backup"])
def test_a_sqlite_database_that_somebody_else_keeps_locked_is_retried(sqlite: Limited, end: str) -> None:
    path = sqlite.source_path if end == "source" else sqlite.backup_path
    before = sqlite.backup_rows()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RetriableError, match=rf"^{end}: SQLite reports SQLITE_BUSY.*: database is locked$"):
            sqlite.sync(run_id="tonight")
        other.execute("ROLLBACK")
    assert sqlite.backup_rows() == before
    assert finished(sqlite)


def test_a_file_that_is_no_database_is_a_wrong_path(sqlite: Limited) -> None:
    sqlite.source_path.write_bytes(b"hunter2, and no database at all" * 100)
    with pytest.raises(ConfigurationError) as caught:
        sqlite.sync()
    assert str(caught.value).startswith("source: SQLite reports SQLITE_NOTADB: file is not a database")
    assert len(sqlite.backup_rows()) == ROWS


def test_a_lock_file_that_cannot_be_made_is_named(sqlite: Limited) -> None:
    lock = sqlite.backup_path.with_name("backup.sqlite.things.lock")
    lock.unlink()
    lock.mkdir()  # as good as a folder without permissions, which root would not feel
    with pytest.raises(
        ConfigurationError, match=r"^backup: the backup of thing cannot be locked: .*things\.lock does not"
    ):
        sqlite.sync()
    assert len(sqlite.backup_rows()) == ROWS


def test_a_source_whose_file_is_damaged_half_way_never_causes_a_delete(sqlite: Limited) -> None:
    """Its first pages can be read, the later ones are noise."""
    sqlite.put(*((key, 1, "x" * 400) for key in range(1_000, 3_000)))
    sqlite.sync()
    before = {row["Id"] for row in sqlite.backup_rows()}
    sqlite.remove(20, 21, 22)
    size = sqlite.source_path.stat().st_size
    with sqlite.source_path.open("r+b") as file:
        file.seek(size * 3 // 4 // 4_096 * 4_096)
        file.write(b"\xff" * (size // 8))
    with pytest.raises(Exception, match=r"^source: SQLite reports SQLITE_CORRUPT"):
        sqlite.sync()
    assert {row["Id"] for row in sqlite.backup_rows()} == before

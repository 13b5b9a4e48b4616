"""What is set aside on disk during a run: private temporary files, and the keys that wait for its end."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from backup_sync.model.errors import RetriableError


def private_file(*, across_threads: bool = False) -> sqlite3.Connection:
    """A private, nameless SQLite database, gone when it is closed or the process ends.

    SQLite holds it in its page cache while it is small, and moves it to a temporary file when it is not
    (https://www.sqlite.org/inmemorydb.html#temp_db).
    """
    db = sqlite3.connect("", isolation_level=None, check_same_thread=not across_threads)
    db.execute("PRAGMA cache_size = -8192")
    return db


@contextmanager
def on_disk() -> Iterator[None]:
    """Raise RetriableError where the temporary file of a private database cannot be written or read."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RetriableError(
            f"the temporary file for what is too much to compare in memory failed ({error}): free some space, or name a "
            "directory that can be written in SQLITE_TMPDIR"
        ) from None


class KeySpool:
    """A list of keys of one width that costs a bounded amount of memory.

    Parts of a key may be int, float, str or bytes. ``file``: a :func:`private_file` that several lists share, each under its
    ``name``, and that its owner closes. Raises RetriableError where the temporary file fails.
    """

    def __init__(self, file: sqlite3.Connection, name: str) -> None:
        self._db, self._name = file, f"spool_{name}"
        self._width = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The keys in the order they came."""
        return itertools.chain.from_iterable(self.batches(1_000))

    def extend(self, keys: Iterable[tuple[Any, ...]]) -> None:
        rows = list(keys)
        if not rows:
            return
        with on_disk():
            if not self._width:
                self._width = len(rows[0])
                self._db.execute(f"CREATE TABLE {self._name} ({', '.join(f'k{i}' for i in range(self._width))})")
            self._db.execute("BEGIN")
            self._db.executemany(f"INSERT INTO {self._name} VALUES ({', '.join('?' * self._width)})", rows)
            self._db.execute("COMMIT")
        self._length += len(rows)

    def batches(self, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The keys in the order they came, ``size`` at a time."""
        for start in range(0, self._length, size):
            yield self.part(start, size)

    def part(self, start: int, count: int) -> list[tuple[Any, ...]]:
        """Up to ``count`` keys from the one at position ``start`` on."""
        if not self._width:
            return []
        with on_disk():
            sql = f"SELECT * FROM {self._name} WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
            return self._db.execute(sql, [start, start + count]).fetchall()

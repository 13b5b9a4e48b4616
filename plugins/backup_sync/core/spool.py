"""Keys set aside until the end of a run, however many there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any


class KeySpool:
    """A list of keys of one width that costs a bounded amount of memory.

    It is a private, nameless SQLite database, which SQLite holds in its page cache while it is small and moves to a
    temporary file of its own when it is not (https://www.sqlite.org/inmemorydb.html#temp_db). Parts of a key may be
    int, float, str or bytes.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA cache_size = -8192")
        self._width = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def extend(self, keys: Iterable[tuple[Any, ...]]) -> None:
        rows = list(keys)
        if not rows:
            return
        if not self._width:
            self._width = len(rows[0])
            self._db.execute(f"CREATE TABLE spool ({', '.join(f'k{i}' for i in range(self._width))})")
        self._db.execute("BEGIN")
        self._db.executemany(f"INSERT INTO spool VALUES ({', '.join('?' * self._width)})", rows)
        self._db.execute("COMMIT")
        self._length += len(rows)

    def batches(self, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The keys in the order they came, ``size`` at a time."""
        if self._width:
            cursor = self._db.execute("SELECT * FROM spool ORDER BY rowid")
            while rows := cursor.fetchmany(size):
                yield rows

    def close(self) -> None:
        self._db.close()

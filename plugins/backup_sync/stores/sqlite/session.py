"""A store's way to a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.limits import Limits
from backup_sync.stores import weight
from backup_sync.stores.sql.session import FETCH_ROWS, Row
from backup_sync.stores.sqlite.errors import translate
from backup_sync.stores.sqlite.values import hashed, is_broken, mark, text

MARK, HASH = "backup_sync_mark", "backup_sync_hash"
"""Functions of SQL: :func:`backup_sync.stores.sqlite.values.mark` and :func:`backup_sync.stores.sqlite.values.hashed`."""
HIDE = "backup_sync_hide"
"""Function of SQL, of a connection to a source that is masked (``masking.py``)."""


class SqliteSession:
    """See :class:`backup_sync.stores.sql.session.SqlSession`.

    :param label: how messages call this end: the connection id.
    :param connect: opens the file; called with ``"create"`` if it may be made. Raises ConfigurationError if it is not there.
    :param hide: what stands in place of a value that is masked.
    """

    def __init__(
        self,
        label: str,
        connect: Callable[[str | None], sqlite3.Connection],
        limits: Limits,
        hide: Callable[[Any], str | None] | None = None,
    ) -> None:
        self.label, self.limits, self._hide = label, limits, hide
        self._connect = connect
        self._connection: sqlite3.Connection | None = None

    def open(self, purpose: str | None = None) -> sqlite3.Connection:
        """The connection, opened if it is not. ``purpose``: passed to ``connect``."""
        if self._connection is None:
            with self._translated():
                connection = self._connect(purpose)
                connection.isolation_level = None  # transactions are written out where they are meant
                connection.text_factory = text
                connection.create_function(MARK, 2, mark, deterministic=True)
                connection.create_function(HASH, 1, hashed, deterministic=True)
                if self._hide is not None:
                    connection.create_function(HIDE, 1, self._hide, deterministic=True)
                self._connection = connection
        return self._connection

    def exists(self) -> bool:
        """Whether the file is there."""
        try:
            return self.open() is not None
        except ConfigurationError:
            return False

    @property
    def path(self) -> Path:
        return Path(next(self.query("PRAGMA database_list"))[2])

    @property
    def encoding(self) -> str:
        """``UTF-8``, or one of the forms of UTF-16."""
        return str(self.scalar("PRAGMA encoding"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(self.label, error) from None

    def pages(
        self, sql: str, params: Sequence[Any] = (), size: int = FETCH_ROWS, *, heavy: bool = False
    ) -> Iterator[list[Row]]:
        with self._translated():
            fetch = self.open().execute(sql, params).fetchmany
            yield from weight.pages(fetch, size, self.limits) if heavy else iter(partial(fetch, size), [])

    def query(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        return chain.from_iterable(self.pages(sql, params))

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        with self._translated():
            return self.open().execute(sql, params).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """Run a statement once for each of ``rows``; how many rows of tables that changed."""
        connection = self.open()
        before = connection.total_changes
        with self._translated():
            connection.executemany(sql, rows)
        return connection.total_changes - before

    def run_each(self, sql_of: Callable[[Sequence[str]], str], rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement once for each of ``rows``; how many rows of tables that changed. Within an open transaction.

        ``sql_of``: makes the statement of the marks under which the values are bound.
        """
        if not rows:
            return 0
        self.run("SAVEPOINT each")
        try:
            return self.run_many(sql_of(_marks(len(rows[0]))), rows)
        except UnicodeEncodeError:
            # Rare, so it is found out by trying: some text is not valid UTF-8, which only its bytes can tell.
            self.run("ROLLBACK TO each")
            return sum(self._run_by_bytes(sql_of, row) for row in rows)

    def _run_by_bytes(self, sql_of: Callable[[Sequence[str]], str], row: Sequence[Any]) -> int:
        broken = {index for index, value in enumerate(row) if is_broken(value)}
        values = [
            value.encode("utf-8", "surrogateescape") if index in broken else value for index, value in enumerate(row)
        ]
        return self.run_many(sql_of(_marks(len(row), broken)), [values])

    def scalar(self, sql: str, params: Sequence[Any] = ()) -> Any:
        return next(self.query(sql, params), (None,))[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.open().in_transaction:
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _marks(width: int, as_bytes: Set[int] = frozenset()) -> list[str]:
    """Parameters by number; the text of those ``as_bytes`` is bound as bytes."""
    return [f"CAST(?{n + 1} AS TEXT)" if n in as_bytes else f"?{n + 1}" for n in range(width)]

"""A store's way to SQL Server: connects when it is needed, again after a connection was lost, and never after the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

from backup_sync.model.errors import BackupSyncError, ConnectionMistake, RetriableError
from backup_sync.model.limits import Limits
from backup_sync.stores.mssql.connection import MssqlConnection
from backup_sync.stores.sql.session import FETCH_ROWS, Row


class MssqlSession:
    """See :class:`backup_sync.stores.sql.session.SqlSession`.

    :param label: how messages call this end: the connection id.
    :param connect: opens a DB-API connection to the named database (None: the one of the Airflow connection).
    :param address: host and port, for messages about a server that is away.
    :param introduction: a statement and its parameters, which each connection begins with.
    """

    def __init__(
        self,
        label: str,
        connect: Callable[[str | None], Any],
        address: str = "",
        limits: Limits | None = None,
        introduction: tuple[str, Sequence[Any]] | None = None,
    ) -> None:
        self.label, self.address, self.limits = label, address, limits or Limits()
        self._introduction = introduction
        self._connect = connect
        self._first: MssqlConnection | None = None
        self._second: MssqlConnection | None = None
        self._closed = False

    @property
    def connection(self) -> MssqlConnection:
        """The connection, opened if it is not."""
        if self._first is None or self._closed:
            self._first = self.open(None)
        return self._first

    @property
    def second(self) -> MssqlConnection:
        """Another one, for what is asked while the first one's rows are being read."""
        if self._second is None:
            self._second = self.open(None)
        return self._second

    def open(self, database: str | None) -> MssqlConnection:
        """One more connection, for the caller to close. Raises RetriableError once the session is closed."""
        # A thread that was left behind may come back from its statement, or from this one, and want to go on.
        if not self._closed:
            made = MssqlConnection(self.label, partial(self._connected, database), self.address, self.limits)
            if not self._closed:
                return self._introduced(made)
            made.close()
        raise RetriableError(f"{self.label}: the run has ended, and with it the connection")

    def _introduced(self, made: MssqlConnection) -> MssqlConnection:
        if self._introduction is not None:
            try:
                made.run(*self._introduction)
            except BaseException:
                made.close()
                raise
        return made

    def _connected(self, database: str | None) -> Any:
        try:
            return self._connect(database)
        except TypeError as error:
            # pymssql takes every entry of the connection's extra as an argument; the text names the one.
            raise ConnectionMistake(f"{self.label}: the connection's extra does not fit pymssql: {error}") from None
        except (ValueError, AttributeError) as error:
            raise ConnectionMistake(
                f"{self.label}: an entry of the connection's extra has a value that pymssql does not take "
                f"({type(error).__name__}); docs/connections.md says which there are"
            ) from None

    def pages(
        self, sql: str, params: Sequence[Any] = (), size: int = FETCH_ROWS, *, heavy: bool = False
    ) -> Iterator[list[Row]]:
        yield from self.connection.pages(sql, params, size, heavy=heavy)

    def query(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        return chain.from_iterable(self.pages(sql, params))

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self.connection.run(sql, params)

    def results(self, sql: str, params: Sequence[Any] = ()) -> list[list[Row]]:
        """The rows of each statement of a batch of SELECTs."""
        return self.connection.results(sql, params)

    def scalar(self, sql: str, params: Sequence[Any] = ()) -> Any:
        rows = list(self.query(sql, params))
        return rows[0][0] if rows else None

    def bulk_copy(self, table: str, rows: Iterable[Row], column_ids: list[int], batch_size: int) -> None:
        self.connection.bulk_copy(table, rows, column_ids, batch_size)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.run("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            try:
                self.run("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            except BackupSyncError:
                self.drop()  # the connection is gone, and the server rolls back
            raise
        self.run("COMMIT TRANSACTION")

    def drop(self) -> None:
        """Close the connections. The next statement opens one again, except where a run was interrupted: that is to end."""
        open_ = [connection for connection in (self._first, self._second) if connection is not None]
        for connection in open_:
            connection.close()
        if not any(connection.interrupted for connection in open_):
            self._first = self._second = None

    def close(self) -> None:
        """For good: later use of the session raises RetriableError."""
        self._closed = True
        self.drop()
        for connection in (self._first, self._second):
            if connection is not None:
                connection.close()
        self._first = self._second = None

"""One connection to SQL Server, and the thread in which everything is done with it.

The driver waits in C, where no signal's handler runs: a task that Airflow wants to end (``execution_timeout`` is an alarm
whose handler raises), or that somebody wants to stop with Ctrl-C, hung for as long as its statement did. So each call
into the driver is made by a thread that belongs to the connection, and the caller waits in Python. That wait
ends at once; the call does not, and so the connection is given up with it: nothing is sent on it any more, and it is
closed by its own thread once the call returns (closing it from another one while it is in use may end the process).
The thread is a daemon, so that not even the end of the process waits for it.

Left to the driver is one place where it waits and lets no other thread run: ``bcp_sendrow``, when the server reads
nothing more of a bulk copy. There the server's LOCK_TIMEOUT and the driver's ``timeout`` are what ends it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from backup_sync.model.errors import RetriableError
from backup_sync.model.limits import Limits
from backup_sync.stores import weight
from backup_sync.stores.mssql.errors import number_of, translate

T = TypeVar("T")
Row = tuple[Any, ...]

OPENING = "SET NOCOUNT OFF; SET LOCK_TIMEOUT {}; SET DEADLOCK_PRIORITY LOW"
"""With how many milliseconds a statement waits for a lock (sp_getapplock has its own time-out). Counts are what the driver is asked for, whatever the server's default is. A lock is not waited for for ever: behind
a statement that waits for one, everybody else's queue as well. And in a deadlock we are the ones who can wait.
https://learn.microsoft.com/sql/t-sql/statements/set-lock-timeout-transact-sql"""

CLOSING_SECONDS = 5.0
"""How long a connection that is not in use may take to be closed before nobody waits for that any more."""

_Outcome = tuple[Any, BaseException | None]
_Job = tuple[Callable[..., Any], tuple[Any, ...], "queue.SimpleQueue[_Outcome]"]


class MssqlConnection:
    """A connection that is open once this is made. Statements one after the other, from one thread at a time: one that
    comes while another is running finds the session over.

    :param label: how messages call this end: the connection id.
    :param connect: opens a DB-API connection.
    :param address: host and port, for messages about a server that is away.
    :param limits: sizes of pages, and how long a statement waits for a lock.

    What the driver raises is raised as an error of our own, and RetriableError once the session is over.
    """

    def __init__(self, label: str, connect: Callable[[], Any], address: str = "", limits: Limits | None = None) -> None:
        self.label = label
        self.address = address
        self.limits = limits or Limits()
        self.interrupted = False
        """A thread that waited for a call was interrupted. The rest of the run must not go on with another connection."""
        self._over = False
        self._waiting: queue.SimpleQueue[_Outcome] | None = None  # where the answer of the running call is expected
        self._connection: Any = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=f"backup_sync-sql-{label}", daemon=True).start()
        try:
            self._connection = self.call(_open, connect, self.limits)
        except BaseException:
            self._end()
            raise

    def pages(self, sql: str, params: Sequence[Any], size: int, *, heavy: bool = False) -> Iterator[list[Row]]:
        """Run a statement and stream its rows, ``size`` at a time; ``heavy``: fewer where they hold much."""
        found, page = self.call(_begin, self._connection, sql, params, size, self.limits if heavy else None)
        while page:
            waiting = [page]
            del page  # held by nobody but the one who asked for it, also while the next one is fetched
            yield waiting.pop()
            page = self.call(next, found, [])

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement that returns no rows; the number of rows it changed."""
        return self.call(_run, self._connection, sql, params)

    def results(self, sql: str, params: Sequence[Any] = ()) -> list[list[Row]]:
        """The rows of each statement of a batch of SELECTs."""
        return self.call(_results, self._connection, sql, params)

    def bulk_copy(self, table: str, rows: Iterable[Row], column_ids: list[int], batch_size: int) -> None:
        self.call(_bulk_copy, self._connection, table, rows, column_ids, batch_size)

    def close(self) -> None:
        """Close the connection: now, or when the call that is still running on it has returned.

        A thread that waits for that call gets RetriableError at once. So this may be called by any thread, and by a
        signal's handler.
        """
        if self._over:
            return
        idle = self._waiting is None
        closed = self._end()
        if idle:
            with suppress(queue.Empty):
                closed.get(timeout=CLOSING_SECONDS)

    def __del__(self) -> None:
        if not self._over:
            self._jobs.put(None)

    def call(self, call: Callable[..., T], *args: Any) -> T:
        """What ``call(*args)`` returns, done by the session's own thread.

        What it raises is raised here: an error of the driver as one of our own, anything else as it is.
        """
        if self._waiting is not None:
            # A thread was left behind in it. The cleanup must not hang in the same call.
            self.interrupted = True
            self._end()
        if self._over:
            raise self._gone()
        answer: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        try:
            self._waiting = answer
            self._jobs.put((call, args, answer))
            result, error = answer.get()
            self._waiting = None
        except BaseException:
            self.interrupted = True
            self._end()
            raise
        if error is None:
            return result
        number = number_of(error)
        try:
            # Not out of the driver's error: its frames hold the values that were sent.
            raise error if number is None else translate(self.label, number, error, self.address)
        finally:
            del error  # it holds this frame, which would hold it

    def _gone(self) -> RetriableError:
        return RetriableError(f"{self.label}: the connection was closed, because the run that used it was ended")

    def _end(self) -> queue.SimpleQueue[_Outcome]:
        """Nothing is sent any more: the connection is closed behind what runs on it, and then its thread ends."""
        if self._waiting is not None:
            self._waiting.put((None, self._gone()))
        closed: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._jobs.put((connection.close, (), closed))
        else:
            closed.put((None, None))
        if not self._over:
            self._over = True
            self._jobs.put(None)
        return closed


# What the session's own thread does.


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        call, args, answer = job
        try:
            outcome: _Outcome = call(*args), None
        except BaseException as error:
            outcome = None, error
        answer.put(outcome)
        del job, call, args, answer, outcome  # a connection that nobody holds any more closes itself


def _open(connect: Callable[[], Any], limits: Limits) -> Any:
    connection = connect()
    connection.autocommit(True)  # transactions are written out where they are meant
    _run(connection, OPENING.format(round(limits.lock_seconds * 1000)), ())
    return connection


def _executed(connection: Any, sql: str, params: Sequence[Any]) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql, tuple(params) or None)
    return cursor


def _begin(
    connection: Any, sql: str, params: Sequence[Any], size: int, heavy: Limits | None
) -> tuple[Iterator[list[Row]], list[Row]]:
    fetch = _executed(connection, sql, params).fetchmany
    found = weight.pages(fetch, size, heavy) if heavy else iter(partial(fetch, size), [])
    return found, next(found, [])


def _run(connection: Any, sql: str, params: Sequence[Any]) -> int:
    return int(_executed(connection, sql, params).rowcount)


def _results(connection: Any, sql: str, params: Sequence[Any]) -> list[list[Row]]:
    cursor = _executed(connection, sql, params)
    found = [cursor.fetchall()]
    while cursor.nextset():
        found.append(cursor.fetchall())
    return found


def _bulk_copy(connection: Any, table: str, rows: Iterable[Row], column_ids: list[int], batch_size: int) -> None:
    connection.bulk_copy(table, rows, column_ids=column_ids, batch_size=batch_size, tablock=False)

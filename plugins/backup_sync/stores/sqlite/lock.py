"""A lock that the operating system takes back from a process that dies: a file, and flock(2) on it."""

from __future__ import annotations

import fcntl
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from backup_sync.model.errors import ConfigurationError, LockHeld
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.names import without_case
from backup_sync.model.result import SyncResult
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sqlite.session import SqliteSession


class SqliteLock:
    """See :class:`backup_sync.stores.base.Lock`."""

    def __init__(self, session: SqliteSession, table: Table) -> None:
        self._session, self._table = session, table

    @contextmanager
    def hold(self, run: SyncResult, wait_seconds: float) -> Iterator[None]:
        # Named after the table, since that is what two writers must not share, whatever their services are called.
        path = self._session.path
        name = f"{path.name}.{urllib.parse.quote(without_case(self._table.table), safe='')}.lock"
        what = f"{self._table.label}: the backup of {self._table.service.name}"
        holder = f"run {run.run_id} since {iso(utc_now())}"
        with file_lock(path.with_name(name), what, holder, wait_seconds):
            yield


@contextmanager
def file_lock(path: Path, what: str, holder: str, wait_seconds: float) -> Iterator[None]:
    """Hold the file at ``path``, which stays there, for as long as this process lives and the context lasts.

    ``what`` is locked and ``holder`` holds it, as messages call them. Raises LockHeld, saying who holds it, when
    another one still does after ``wait_seconds``, and ConfigurationError if the file cannot be made.
    """
    deadline = time.monotonic() + wait_seconds
    with _opened(path, what) as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    handle.seek(0)
                    other = handle.read().decode() or "another run"
                    raise LockHeld(
                        f"{what} is being written by {other}; waited {wait_seconds:.0f} s for it to end"
                    ) from None
                time.sleep(0.2)
        handle.truncate(0)
        with suppress(OSError):  # the holder is written for the message only; a full disk shows soon enough
            handle.write(holder.encode())
        try:
            yield
        finally:
            handle.truncate(0)


def _opened(path: Path, what: str) -> FileIO:
    try:
        return FileIO(path, "a+")
    except OSError as error:
        raise ConfigurationError(
            f"{what} cannot be locked: {path} does not open ({error.strerror}); correct the permissions of its folder"
        ) from None

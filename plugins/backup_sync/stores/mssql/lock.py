"""An application lock of the session (sp_getapplock): gone with the connection, however that ends.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-getapplock-transact-sql
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backup_sync.model.errors import BackupSyncError, LockHeld
from backup_sync.model.result import SyncResult
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.table import Table

GET = (
    "DECLARE @got INT; EXEC @got = sp_getapplock @Resource = %s, @LockMode = 'Exclusive', "
    "@LockOwner = 'Session', @LockTimeout = %s; SELECT @got"
)
RELEASE = "EXEC sp_releaseapplock @Resource = %s, @LockOwner = 'Session'"


class MssqlLock:
    """See :class:`backup_sync.stores.base.Lock`. ``holder``: who is writing, as far as the history knows."""

    def __init__(self, session: MssqlSession, table: Table, holder: Callable[[], str]) -> None:
        self._session, self._table, self._holder = session, table, holder

    @contextmanager
    def hold(self, run: SyncResult, wait_seconds: float) -> Iterator[None]:
        # Named after the table, since that is what two writers must not share, whatever their services are called.
        resource = f"backup_sync:{self._table.full_name}".casefold()
        if self._session.scalar(GET, (resource, int(wait_seconds * 1000))) < 0:
            raise LockHeld(
                f"{self._table.label}: the backup of {self._table.service.name} is being written by {self._holder()}; "
                f"waited {wait_seconds:.0f} s for it to end"
            )
        try:
            yield
        finally:
            try:
                self._session.run(RELEASE, (resource,))
            except BackupSyncError:
                self._session.drop()  # closing the session releases the lock as well

"""Writing to a table, the flow once for all dialects: each batch and its counts in one transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence, Set
from datetime import datetime
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.base import Applied, Record
from backup_sync.stores.sql.ranges import KeyRange
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.undo import SqlEntries

Count = Callable[[Applied], None]


class SqlWriter(ABC):
    """See :class:`backup_sync.stores.base.Writer`. A dialect provides the statements.

    ``count``: adds what was written to the counts of the run, within the transaction that wrote it. A copy has that, and
    a column that says when a row was written; None: the table is somebody else's, and nothing of ours goes into it.
    ``entries``: keep what is replaced.
    """

    pull: Callable[[Any, Any], Generator[Applied, None, None] | None] | None = None

    def __init__(self, session: SqlSession, count: Count | None, entries: SqlEntries | None = None) -> None:
        self.session, self._count, self.entries = session, count, entries

    @property
    def copy(self) -> bool:
        return self._count is not None

    # what a dialect provides

    @abstractmethod
    def write_inserts(self, rows: Sequence[Record]) -> Applied: ...

    @abstractmethod
    def write_updates(self, rows: Sequence[Record]) -> Applied: ...

    @abstractmethod
    def write_deletes(self, keys: Sequence[Key]) -> int: ...

    @abstractmethod
    def keys_since(self, within: KeyRange, moment: datetime) -> Set[Key]:
        """Keys of a range of a copy whose rows were written at or after a moment."""

    # the flow

    @property
    def written_since(self) -> Callable[[KeyRange, datetime], Set[Key]] | None:
        return self.keys_since if self.copy else None

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        with self.session.transaction():
            if self.entries is not None:
                self.entries.before(inserts, updates)
            new = self.write_inserts(inserts) if inserts else Applied()
            old = self.write_updates(updates) if updates else Applied()
            return self.counted(Applied(new.inserted + old.inserted, new.updated + old.updated))

    def delete(self, keys: Sequence[Key]) -> Applied:
        with self.session.transaction():
            if self.entries is not None:
                self.entries.before_delete(keys)
            return self.counted(Applied(deleted=self.write_deletes(keys)))

    def counted(self, applied: Applied) -> Applied:
        if self._count is not None:
            self._count(applied)
        return applied

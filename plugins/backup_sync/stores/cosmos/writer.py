"""Writing documents to a container and deleting them, and keeping what that replaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Applied, Record
from backup_sync.stores.cosmos.account import Connection, all_of
from backup_sync.stores.cosmos.entries import CosmosEntries
from backup_sync.stores.cosmos.making import ContainerShape
from backup_sync.stores.cosmos.writes import delete_all, upsert_all


class CosmosWriter:
    """See :class:`backup_sync.stores.base.Writer`. ``count``: adds what was written to the counts of the run; None: the
    container is no copy of ours. ``entries``: keep what is replaced."""

    written_since = None  # a copy is the source's document and nothing else
    pull = None

    def __init__(
        self,
        connection: Connection,
        shape: ContainerShape,
        limits: Limits,
        count: Callable[[Applied], None] | None,
        entries: CosmosEntries | None = None,
    ) -> None:
        self.connection, self.shape, self.limits, self._count = connection, shape, limits, count
        self._entries = entries

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        """Upserts, then the counts. A run that is killed in between has written more than it counted, never less."""
        if self._entries is not None:
            self._entries.before(inserts, updates)
        new, old = self.connection.run(self._upsert(inserts, updates))
        return self._counted(Applied(new, old, rejected=len(inserts) + len(updates) - new - old))

    async def _upsert(self, *groups: Sequence[Record]) -> list[int]:
        names, batch_from = self.shape.names, self.limits.batch_from
        return await all_of(upsert_all(self.connection, group, names, batch_from=batch_from) for group in groups)

    def delete(self, keys: Sequence[Key]) -> Applied:
        if self._entries is not None:
            self._entries.before_delete(keys)
        return self._counted(Applied(deleted=self.connection.run(delete_all(self.connection, keys))))

    def _counted(self, applied: Applied) -> Applied:
        if self._count is not None:
            self._count(applied)
        return applied

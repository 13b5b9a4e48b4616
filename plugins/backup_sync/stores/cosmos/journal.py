"""What a Cosmos backup remembers: its runs and the states of its copies, both in the history container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Applied, Points
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.history import CosmosHistory
from backup_sync.stores.cosmos.state import CosmosState


class CosmosJournal:
    """See :class:`backup_sync.stores.base.Journal`.

    :param service: the service's name.
    :param history: the container that all of it lies in; ``copy``: that of the copy.
    """

    def __init__(self, connection: Connection, service: str, *, history: str, copy: str) -> None:
        self._history = CosmosHistory(connection, service, history)
        self._states = CosmosState(connection, history, copy)
        self._run: SyncResult | None = None

    def has_success(self) -> bool:
        return self._history.has_success()

    def begin(self, run: SyncResult) -> bool:
        resumed = self._history.begin(run)
        # A copy of it: the walk counts in ``run`` what the store reports back.
        self._run = SyncResult.from_dict(run.to_dict())
        return resumed

    def resume(self, run: SyncResult) -> bool:
        return self._history.resume(run)

    def save(self, run: SyncResult) -> None:
        self._history.save(run)

    def count(self, applied: Applied) -> None:
        """Add what was just written to the run's counts. Raises RetriableError where this attempt is over."""
        assert self._run is not None
        self._run.inserted += applied.inserted
        self._run.updated += applied.updated
        self._run.deleted += applied.deleted
        self._history.count(self._run)

    def fence(self, applied: Applied) -> None:
        """As :meth:`count`, and adds nothing: the attempt has to be the one that may write."""
        self.count(Applied())

    def points(self) -> Points:
        return self._history.points()

    def newest(self, limit: int = 20) -> list[dict[str, Any]]:
        return self._history.newest(limit)

    def states(self) -> dict[str, Any]:
        return self._states.all()

    def keep_state(self, name: str, value: Mapping[str, Any] | None, *, new: bool = False) -> bool:
        return self._states.keep(name, value, new=new)

"""What a copy keeps beside its history: a few small values by name, in a separate partition.

They lie in the history container under the partition key ``state:<container of the copy>``, so that queries by service
see runs only, and two services that write one container share them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from backup_sync.stores.cosmos.account import Connection, CosmosError
from backup_sync.stores.cosmos.history import found_in, lags, missing


class CosmosState:
    """The state documents of one copy. ``history``: the container they lie in; ``container``: the copy's."""

    def __init__(self, connection: Connection, history: str, container: str) -> None:
        self._connection, self._history = connection, history
        self._partition = f"state:{container}"

    def all(self) -> dict[str, Any]:
        """All values by name, in one request; none where the history container is missing.

        Raises FatalError for an answer that has no place here, and RetriableError for a server that is away.
        """
        try:
            found = self._connection.run(found_in(self._connection, self._history, self._partition))
        except CosmosError as error:
            if error.status == 404 and not lags(error):
                return {}
            raise missing(self._connection, self._history, error) from None
        return {document["id"]: document.get("value") for document in found}

    def keep(self, name: str, value: Mapping[str, Any] | None, *, new: bool = False) -> bool:
        """Write a value, or with None remove it; with ``new`` only if there is none of that name yet.

        Returns False only if it was to be new and there is one already. Raises FatalError if the history container is
        missing.
        """
        container = self._connection.container(self._history)
        if value is None:
            self._do(partial(container.delete_item, name, partition_key=self._partition), but=404)
            return True
        # The token tells our own document from an equal one of somebody else when the answer to its making was lost.
        token = uuid.uuid4().hex
        # A TTL on the history is not meant for this.
        document = {"id": name, "serviceName": self._partition, "value": dict(value), "token": token, "ttl": -1}
        if not new:
            self._do(partial(container.upsert_item, document, no_response=True))
            return True
        if self._do(partial(container.create_item, document, no_response=True), but=409):
            return True
        found = self._connection.run(
            found_in(self._connection, self._history, self._partition, "c.id = @id", {"@id": name})
        )
        return any(there.get("token") == token for there in found)

    def _do(self, request: Any, but: int | None = None) -> bool:
        """One write. False for the status ``but``, which is an answer."""
        try:
            self._connection.run(self._connection.call(request, write=True))
        except CosmosError as error:
            if error.status == but:
                return False
            raise missing(self._connection, self._history, error) from None
        return True

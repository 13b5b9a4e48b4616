"""The container ``sync-history``: one document for each (service, run), and the lease that keeps runs apart.

The lease is a document in a partition of its own (``lease:<service>``) and is removed when the run ends, so that
queries by service see runs only. It expires by itself, so a killed run holds up the next one for no longer than
LEASE_SECONDS; a thread renews it while the run lives.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from azure.core import MatchConditions

from backup_sync.core.errors import BackupSyncError, FatalError, LockHeld, RetriableError
from backup_sync.core.result import COMPLETED, FAILED, IN_PROGRESS, SyncResult, iso, utc_now
from backup_sync.stores.cosmos_account import Connection, CosmosError
from backup_sync.stores.history import resume

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0

# Field of SyncResult.to_dict → property. The first eight after the id are a contract with those who query them.
PROPERTIES = {
    "SyncId": "id",
    "ServiceName": "serviceName",
    "SyncedAt": "syncedAt",
    "InsertedCount": "insertedCount",
    "UpdatedCount": "updatedCount",
    "DeletedCount": "deletedCount",
    "SkippedCount": "skippedCount",
    "Success": "success",
    "ErrorMessage": "errorMessage",
    "WithheldCount": "withheldCount",
    "RejectedCount": "rejectedCount",
    "AheadCount": "aheadCount",
    "StartedAt": "startedAt",
    "CompletedAt": "completedAt",
    "Attempt": "attempt",
    "RunId": "runId",
    "RequestCharge": "requestCharge",
    "ThrottledCount": "throttledCount",
}


class CosmosHistory:
    def __init__(self, connection: Connection, service: str, container: str) -> None:
        self._connection, self._service, self._container = connection, service, container
        self._token = uuid.uuid4().hex
        self._keeper: _Keeper | None = None

    # runs

    def save(self, run: SyncResult) -> None:
        data = run.to_dict() | {"SyncedAt": iso(run.completed_at or utc_now()), "Success": run.success}
        document = {name: data[field] for field, name in PROPERTIES.items()}
        container = self._connection.container(self._container)
        self._do(lambda: container.upsert_item(document, no_response=True))

    def begin(self, run: SyncResult) -> bool:
        """Take over the counts of an earlier attempt, and make this attempt visible."""
        resumed = self.resume(run)
        self.save(run)
        return resumed

    def resume(self, run: SyncResult) -> bool:
        found = self._query("c.id = @id", self._service, {"@id": str(run.sync_id)})
        return resume(run, _from_document(found[0]) if found else None)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        found = self._query("true ORDER BY c.startedAt DESC", self._service, {}, f"TOP {limit} ")
        return [_from_document(document) for document in found]

    # the lease

    @contextmanager
    def lease(self, run: SyncResult, wait_seconds: float) -> Iterator[None]:
        etag = self._acquire(run, time.monotonic() + wait_seconds, wait_seconds)
        stop = threading.Event()
        keeper = _Keeper(self._connection, self._container, self._lease(run), etag, stop)
        keeper.start()
        self._keeper = keeper
        try:
            yield
        finally:
            stop.set()
            keeper.join()
            self._keeper = None
            self._release(keeper.etag)

    def check_lease(self) -> None:
        """Raise RetriableError if the lease was lost: another run may have started by now."""
        if self._keeper is not None and self._keeper.lost:
            raise RetriableError(
                f"{self._connection.where}: lost the lease on the backup of {self._service} (it could not be renewed in time)"
            )

    def _lease(self, run: SyncResult) -> dict[str, Any]:
        return {
            "id": "lease",
            "serviceName": f"lease:{self._service}",
            "holder": run.run_id,
            "since": iso(utc_now()),
            "token": self._token,
        }

    def _acquire(self, run: SyncResult, deadline: float, wait_seconds: float) -> str:
        container = self._connection.container(self._container)
        while True:
            document = self._lease(run) | {"until": iso(utc_now() + timedelta(seconds=LEASE_SECONDS))}
            try:
                return str(self._try(lambda document=document: container.create_item(document))["_etag"])
            except CosmosError as error:
                if error.status != 409:
                    raise self._unexpected(error) from None
            held = self._query("c.id = 'lease'", document["serviceName"], {})
            if not held:
                continue
            if held[0].get("token") == document["token"]:
                return str(held[0]["_etag"])  # ours after all: only the answer had been lost
            if _expired(held[0]["until"]):
                try:
                    taken = self._try(
                        lambda document=document, etag=held[0]["_etag"]: replace_if(container, document, etag)
                    )
                    log.info(
                        "%s: took over the lease of run %s, which had expired",
                        self._connection.where,
                        held[0]["holder"],
                    )
                    return str(taken["_etag"])
                except CosmosError as error:
                    if error.status not in (404, 412):
                        raise self._unexpected(error) from None
                    continue
            if time.monotonic() >= deadline:
                raise LockHeld(
                    f"{self._connection.where}: the backup of {self._service} is being written by run {held[0]['holder']} "
                    f"since {held[0]['since']}; waited {wait_seconds:.0f} s for it to end"
                )
            time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))

    def _release(self, etag: str) -> None:
        container = self._connection.container(self._container)
        try:
            self._try(
                lambda: container.delete_item(
                    "lease", partition_key=f"lease:{self._service}", etag=etag, match_condition=_if_not_modified()
                )
            )
        except (CosmosError, BackupSyncError):
            log.warning("%s: could not give back the lease; it expires by itself", self._connection.where)

    # helpers

    def _query(self, where: str, partition: str, parameters: dict[str, Any], top: str = "") -> list[dict[str, Any]]:
        container = self._connection.container(self._container)
        params = [{"name": name, "value": value} for name, value in {"@partition": partition, **parameters}.items()]
        # TOP makes the SDK ask for a plan first, and one id in one partition is one document anyway.
        text = f"SELECT {top}* FROM c WHERE c.serviceName = @partition AND {where}"

        async def read() -> list[dict[str, Any]]:
            query = container.query_items(text, parameters=params)
            return [item async for item in query]

        found: list[dict[str, Any]] = self._do(read)
        return found

    def _try(self, request: Any) -> Any:
        return self._connection.run(self._connection.call(request))

    def _do(self, request: Any) -> Any:
        try:
            return self._try(request)
        except CosmosError as error:
            raise self._unexpected(error) from None

    def _unexpected(self, error: CosmosError) -> FatalError:
        return FatalError(
            f"{self._connection.where}: Cosmos DB answered {error.status} on container {self._container}; "
            "if it is missing, run the DAG backup_initialize"
        )


class _Keeper(threading.Thread):
    """Renews the lease on a connection of its own, since the run's own loop is busy with the run."""

    def __init__(
        self, connection: Connection, container: str, lease: dict[str, Any], etag: str, stop: threading.Event
    ) -> None:
        super().__init__(name="backup_sync-lease", daemon=True)
        self._account, self._where = connection.account, connection.where
        self._container, self._lease, self._stop_event = container, lease, stop
        self.etag = etag
        self.lost = False

    def run(self) -> None:
        connection: Connection | None = None
        renewed = time.monotonic()
        try:
            while not self._stop_event.wait(LEASE_SECONDS / 3):
                connection = connection or Connection(self._account, self._where, 1, retry_seconds=LEASE_SECONDS / 4)
                document = self._lease | {"until": iso(utc_now() + timedelta(seconds=LEASE_SECONDS))}
                container = connection.container(self._container)
                try:
                    request = connection.call(lambda: replace_if(container, document, self.etag))  # noqa: B023
                    self.etag = str(connection.run(request)["_etag"])
                    renewed = time.monotonic()
                except (CosmosError, BackupSyncError) as error:
                    if isinstance(error, CosmosError) or time.monotonic() - renewed > LEASE_SECONDS:
                        self.lost = True
                        return
        finally:
            if connection is not None:
                connection.close()


def replace_if(container: Any, document: dict[str, Any], etag: str) -> Any:
    """Replace a document only if it is still the one with this etag; otherwise the answer is 412."""
    return container.replace_item(document["id"], document, etag=etag, match_condition=_if_not_modified())


def _if_not_modified() -> Any:
    return MatchConditions.IfNotModified


def _expired(until: str) -> bool:
    return datetime.fromisoformat(until.replace("Z", "+00:00")) < utc_now()


def _from_document(document: dict[str, Any]) -> dict[str, Any]:
    found = {field: document.get(name) for field, name in PROPERTIES.items()}
    found["Status"] = COMPLETED if found["Success"] else FAILED if found["CompletedAt"] else IN_PROGRESS
    return found

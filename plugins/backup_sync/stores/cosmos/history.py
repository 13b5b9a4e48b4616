"""The container ``sync-history``: one document for each (service, run).

The partition key is the service's name. The lease that keeps runs apart and the state of a copy lie in partitions of
their own (``lease:…``, ``state:…``), so that queries by service see runs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.core import MatchConditions

from backup_sync.model.errors import BackupSyncError, FatalError, RetriableError
from backup_sync.model.keep import Point
from backup_sync.model.moments import iso, parse, utc_now
from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Points
from backup_sync.stores.cosmos.account import Connection, CosmosError
from backup_sync.stores.history import as_result, resume

BEGIN_TRIES = 3
"""How often a run looks for its record and takes it over before it says that somebody else keeps writing it."""

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
    "Notice": "notice",
    "Mode": "mode",
    "StartedBy": "startedBy",
    "RunNumber": "runNumber",
    "DriftCount": "driftCount",
    "VerifiedShare": "verifiedShare",
    "VerifiedSince": "verifiedSince",
}


class CosmosHistory:
    """The runs of a service. ``container``: the history's."""

    def __init__(self, connection: Connection, service: str, container: str) -> None:
        self._connection, self._service, self._container = connection, service, container
        self._etag = ""

    def save(self, run: SyncResult) -> None:
        """Write the run's record over whatever is there. An attempt that is still counting in it stops at its next count."""
        container, document = self._connection.container(self._container), _document(run)
        self._etag = self._write(lambda: container.upsert_item(document, no_response=True))

    def begin(self, run: SyncResult) -> bool:
        """Take over the counts of an earlier attempt, and make this attempt visible.

        From here on the record is this attempt's: it is written only while it is as this attempt left it. Raises
        RetriableError if somebody else goes on writing it.
        """
        container = self._connection.container(self._container)
        for _ in range(BEGIN_TRIES):
            found = self._record(run)
            resumed = resume(run, _from_document(found) if found else None)
            document = _document(run)
            if found is None:
                written = self._own(
                    document, lambda document=document: container.create_item(document, no_response=True)
                )
            else:
                written = self._own(
                    document,
                    lambda document=document, etag=found["_etag"]: replace_if(
                        container, document, etag, no_response=True
                    ),
                )
            if written:
                return resumed
        raise self._taken(run)

    def count(self, run: SyncResult) -> None:
        """Write what this attempt counted until now.

        Raises RetriableError if the record is no longer as this attempt left it: another one has begun, or the run was
        recorded as ended.
        """
        container, document, etag = self._connection.container(self._container), _document(run), self._etag
        if not self._own(document, lambda: replace_if(container, document, etag, no_response=True)):
            raise self._taken(run)

    def resume(self, run: SyncResult) -> bool:
        found = self._record(run)
        return resume(run, _from_document(found) if found else None)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        found = self._query("true ORDER BY c.startedAt DESC", {}, f"TOP {limit} ")
        return [_from_document(document) for document in found]

    def points(self) -> Points:
        wrote = "(c.insertedCount > 0 OR c.updatedCount > 0 OR c.deletedCount > 0)"
        unnumbered = "(NOT IS_DEFINED(c.runNumber) OR c.runNumber = 0)"
        found = self._query(f"(c.runNumber > 0 AND c.success = true OR {unnumbered} AND {wrote})", {})
        return Points(
            [Point(int(run["runNumber"]), parse(run["completedAt"])) for run in found if run.get("runNumber")],
            max((parse(run["startedAt"]) for run in found if not run.get("runNumber")), default=None),
        )

    def has_success(self) -> bool:
        """Whether a run of this service has succeeded here; not where there is no such container."""
        try:
            found = found_in(self._connection, self._container, self._service, "c.success = true", {}, "TOP 1 ")
            return bool(self._connection.run(found))
        except CosmosError as error:
            if error.status == 404 and not lags(error):
                return False
            raise missing(self._connection, self._container, error) from None

    def _own(self, document: dict[str, Any], request: Any) -> bool:
        """A write that succeeds only if nobody else wrote the record; whether it did."""
        try:
            self._etag = self._write(request, but=(404, 409, 412))
            return True
        except CosmosError:
            # Refused; or done by an earlier try whose answer was lost, and then the record says just what we wrote.
            found = self._find(document["id"])
            if found is None or any(found.get(name) != value for name, value in document.items()):
                return False
            self._etag = str(found["_etag"])
            return True

    def _write(self, request: Any, but: tuple[int, ...] = ()) -> str:
        """The etag of what was written. Raises CosmosError for the statuses ``but``, FatalError for others."""
        try:
            answer = self._connection.run(self._connection.call(request, write=True))
        except CosmosError as error:
            if error.status in but:
                raise
            raise missing(self._connection, self._container, error) from None
        return str(answer.get_response_headers().get("etag") or answer.get("_etag"))

    def _record(self, run: SyncResult) -> dict[str, Any] | None:
        return self._find(str(run.sync_id))

    def _find(self, id_: str) -> dict[str, Any] | None:
        found = self._query("c.id = @id", {"@id": id_})
        return found[0] if found else None

    def _query(self, condition: str, parameters: Mapping[str, Any], top: str = "") -> list[dict[str, Any]]:
        try:
            return self._connection.run(
                found_in(self._connection, self._container, self._service, condition, parameters, top)
            )
        except CosmosError as error:
            raise missing(self._connection, self._container, error) from None

    def _taken(self, run: SyncResult) -> RetriableError:
        return RetriableError(
            f"{self._connection.label}: the record of run {run.run_id} of {self._service} was written by somebody else: "
            "another attempt of this run has begun, or it was recorded as ended; this attempt stops, and the retry "
            "carries on"
        )


async def found_in(
    connection: Connection,
    container: str,
    partition: str,
    condition: str = "true",
    parameters: Mapping[str, Any] | None = None,
    top: str = "",
) -> list[dict[str, Any]]:
    """Documents of one partition of the history container. Raises CosmosError for a status, 404 if it is missing."""
    handle = connection.container(container)
    params = [{"name": name, "value": value} for name, value in {"@partition": partition, **(parameters or {})}.items()]
    # TOP makes the SDK ask for a plan first, and one id in one partition is one document anyway.
    text = f"SELECT {top}* FROM c WHERE c.serviceName = @partition AND {condition}"

    async def read() -> list[dict[str, Any]]:
        return [item async for item in handle.query_items(text, parameters=params)]

    return await connection.call(read)


def replace_if(container: Any, document: dict[str, Any], etag: str, **options: Any) -> Any:
    """Replace a document only if it is still the one with this etag; otherwise the answer is 412, or 404."""
    return container.replace_item(
        document["id"], document, etag=etag, match_condition=MatchConditions.IfNotModified, **options
    )


def lags(error: CosmosError) -> bool:
    """Whether it is the one 404 that does not say that something is missing: the replica that was asked lags behind
    (https://learn.microsoft.com/azure/cosmos-db/troubleshoot-not-found)."""
    return (error.status, error.sub_status) == (404, 1002)


def missing(connection: Connection, container: str, error: CosmosError) -> BackupSyncError:
    """The fault that a status of the history container is where it has no meaning."""
    if lags(error):
        return RetriableError(f"{connection.label}: a replica of container {container} lags behind")
    return FatalError(
        f"{connection.label}: Cosmos DB answered {error.status} on container {container}; "
        "if it is missing, run the DAG backup_initialize"
    )


def _document(run: SyncResult) -> dict[str, Any]:
    data = run.to_dict() | {"SyncedAt": iso(run.completed_at or utc_now()), "Success": run.success}
    return {name: data[field] for field, name in PROPERTIES.items()}


def _from_document(document: dict[str, Any]) -> dict[str, Any]:
    return as_result({field: document.get(name) for field, name in PROPERTIES.items()})

"""What an HTTP status of the service says of the account as a whole, in one sentence.

Source: https://learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb, and for tokens
https://learn.microsoft.com/azure/cosmos-db/troubleshoot-forbidden: 403 with sub-status 5300 for what is no request about
data, whatever roles the identity has; with 5301 where a role lacks (https://github.com/Azure/azure-cosmos-dotnet-v3/issues/2891);
401 with 5202 for a key where the account takes none.
"""

from __future__ import annotations

from backup_sync.model.errors import BackupSyncError, ConnectionMistake, FatalError, RetriableError

PASSING = {408, 410, 429, 449, 500, 502, 503, 504}
"""Throttled, timed out, retry with, partition gone (split), and the server's own troubles."""

NO_DATA, NO_ROLE, NO_KEYS, FULL = 5300, 5301, 5202, 1014


class Forbidden(ConnectionMistake):
    """403: the connection's key or identity may not do this, or not from here."""


def refusal(
    label: str, status: int, sub_status: int, *, tokens: bool, container: str, retry_seconds: float
) -> BackupSyncError | None:
    """What to raise for a status; None for those that are about one request.

    ``tokens``: the connection has an identity, and no key. ``container``: that which the request may be about.
    """
    if (status, sub_status) == (403, FULL):
        return FatalError(
            f"{label}: a partition key value of container {container} holds 20 GB of documents, which "
            "is all that Cosmos DB takes (403, sub-status 1014); a hierarchical partition key has room for more"
        )
    if status == 401:
        return ConnectionMistake(_not_known(label, sub_status, tokens=tokens))
    if status == 403:
        return Forbidden(_not_allowed(label, sub_status, tokens=tokens))
    if status == 429:
        return RetriableError(
            f"{label}: Cosmos DB throttles requests (429) for longer than {retry_seconds:.0f} s; "
            "raise its throughput or lower 'concurrency'"
        )
    if status in PASSING:
        return RetriableError(f"{label}: Cosmos DB keeps answering {status}")
    return None


def _not_known(label: str, sub_status: int, *, tokens: bool) -> str:
    if tokens:
        return (
            f"{label}: Cosmos DB refused the token; correct the endpoint in the connection's login, or use an identity of "
            "the tenant that the account belongs to"
        )
    if sub_status == NO_KEYS:
        return (
            f"{label}: the account takes no keys (401, sub-status 5202); leave the connection's password empty, so that tokens "
            "of Microsoft Entra ID are used"
        )
    return f"{label}: Cosmos DB refused the key; correct the connection's password"


def _not_allowed(label: str, sub_status: int, *, tokens: bool) -> str:
    if not tokens:
        return (
            f"{label}: Cosmos DB forbids this (403): the key may be read-only, or the firewall closed to this address"
        )
    if sub_status == NO_ROLE:
        return (
            f"{label}: Cosmos DB forbids this (403, sub-status 5301): the connection's identity lacks a data-plane role; assign "
            "the one that docs/connections.md lists, and allow some minutes until it counts"
        )
    if sub_status == NO_DATA:
        return f"{label}: Cosmos DB lets no token do this (403, sub-status 5300); it takes a key, or Azure's management"
    return f"{label}: Cosmos DB forbids this (403): the firewall may be closed to this address"

"""Who may do what: the account's key everything, the bearer of a token what its role allows with data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from . import auth, tokens
from .answer import Call
from .errors import Blocked

_ACTION = "Microsoft.DocumentDB/databaseAccounts/"
_CONTAINER = f"{_ACTION}sqlDatabases/containers/"
_METADATA = f"{_ACTION}readMetadata"
_QUERY, _FEED = f"{_CONTAINER}executeQuery", f"{_CONTAINER}readChangeFeed"

# Which action an operation takes; no role covers what is not here, as it is about no data.
# https://learn.microsoft.com/azure/cosmos-db/how-to-setup-rbac (permission model, metadata requests).
_NEEDED = {
    **dict.fromkeys(
        ("ReadAccount", "ReadDatabases", "QueryDatabases", "ReadDatabase", "ReadContainers", "QueryContainers"),
        _METADATA,
    ),
    **dict.fromkeys(("ReadContainer", "ReadPartitionKeyRanges"), _METADATA),
    **dict.fromkeys(("QueryDocuments", "QueryPlan"), _QUERY),
    **dict.fromkeys(("ReadDocuments", "ChangeFeed"), _FEED),
    "ReadDocument": f"{_CONTAINER}items/read",
    "CreateDocument": f"{_CONTAINER}items/create",
    "UpsertDocument": f"{_CONTAINER}items/upsert",
    "ReplaceDocument": f"{_CONTAINER}items/replace",
    "PatchDocument": f"{_CONTAINER}items/replace",
    "DeleteDocument": f"{_CONTAINER}items/delete",
    # Of its parts each takes its own; here the whole takes what the built-in contributor has.
    "Batch": f"{_CONTAINER}items/upsert",
}
_READER = {_METADATA, _QUERY, _FEED, f"{_CONTAINER}items/read"}
ROLES = {"reader": _READER, "contributor": {*_READER, *_NEEDED.values()}}
"""The built-in roles: https://learn.microsoft.com/azure/cosmos-db/reference-data-plane-security."""


@dataclass
class Access:
    """``roles``: of principals by their object id, a name in ROLES. ``keys``: whether the account's key is taken."""

    key: str
    account: str
    keys: bool = True
    roles: dict[str, str] = field(default_factory=dict)

    def grant(self, principal: str, role: str | None) -> None:
        """Give a principal a role for the whole account; None takes it away."""
        if role is None:
            self.roles.pop(principal, None)
        elif role in ROLES:
            self.roles[principal] = role
        else:
            raise ValueError(f"no role {role}; there are {', '.join(ROLES)}")

    def check(self, call: Call, raw_path: str, operation: str) -> None:
        """401 or 403 unless the request comes from somebody who may make it."""
        given = dict(part.partition("=")[::2] for part in unquote(call.header("authorization") or "").split("&"))
        if given.get("type") == "aad":
            self._check_token(given.get("sig", ""), call, operation)
        elif not self.keys:
            raise Blocked(401, "", "Local Authorization is disabled. Use an AAD token to authorize all requests.", 5202)
        else:
            auth.verify(self.key, call.method, raw_path, given, call.headers)

    def _check_token(self, token: str, call: Call, operation: str) -> None:
        principal = tokens.bearer(token, self.account, {_audience(call.headers), tokens.ANY_ACCOUNT})
        # The answers: https://learn.microsoft.com/azure/cosmos-db/troubleshoot-forbidden (5300) and
        # https://github.com/Azure/azure-cosmos-dotnet-v3/issues/2891 (5301).
        path = "/" + "/".join(call.segments)
        if operation not in _NEEDED:
            request = f"{call.method} {path}"
            raise Blocked(
                403,
                self.account,
                f"The given request [{request}] cannot be authorized by AAD token in data plane.",
                5300,
            )
        action = _NEEDED[operation]
        if action not in ROLES.get(self.roles.get(principal, ""), ()):
            raise Blocked(
                403,
                self.account,
                f"Request is blocked because principal [{principal}] does not have required RBAC permissions to perform "
                f"action [{action}] on resource [{path}].",
                5301,
            )


def _audience(headers: Mapping[str, str]) -> str:
    """Whom a token has to be meant for: the account by its address, without port or slash."""
    host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    return f"https://{host}"

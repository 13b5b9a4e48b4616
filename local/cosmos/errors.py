"""The one exception that becomes an HTTP error answer."""

from __future__ import annotations

import json
from typing import Any

MAX_REQUEST_BYTES = 2 * 1024 * 1024
OWNER_NOT_FOUND = 1003
_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    412: "PreconditionFailed",
    413: "RequestEntityTooLarge",
    424: "FailedDependency",
    429: "TooManyRequests",
    449: "RetryWith",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


class CosmosError(Exception):
    """A request that cannot be served: HTTP status, Cosmos sub-status, and one sentence of explanation."""

    def __init__(self, status: int, message: str, sub_status: int | None = None, retry_after_ms: int | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.sub_status = sub_status
        self.retry_after_ms = retry_after_ms
        # What stands in the error document instead of the message, where the service has a form of its own.
        self.detail: dict[str, Any] | None = None

    def body(self, activity_id: str) -> str:
        """The error document, in the shape in which the service sends it."""
        detail = json.dumps(self.detail or {"Errors": [self.message]}, ensure_ascii=False, separators=(",", ":"))
        code = _CODES.get(self.status, str(self.status))
        text = f"Message: {detail}\r\nActivityId: {activity_id}"
        return json.dumps({"code": code, "message": text}, ensure_ascii=False)

    def headers(self) -> dict[str, str]:
        """The headers that make the SDK choose its retry policy."""
        headers = {}
        if self.sub_status is not None:
            headers["x-ms-substatus"] = str(self.sub_status)
        if self.retry_after_ms is not None:
            headers["x-ms-retry-after-ms"] = str(self.retry_after_ms)
        return headers


class Blocked(CosmosError):
    """401 or 403 because of who asks, in the form in which the service says so. ``account``: empty where it is not named."""

    def __init__(self, status: int, account: str, message: str, sub_status: int | None = None):
        learn = " Learn more: https://aka.ms/cosmos-native-rbac." if status == 403 else ""
        super().__init__(
            status, f"Request blocked by Auth {account} : {message}{learn}" if account else message, sub_status
        )

    def body(self, activity_id: str) -> str:
        """Without the list of errors that other answers have."""
        text = f"{self.message}\r\nActivityId: {activity_id}"
        return json.dumps({"code": _CODES[self.status], "message": text}, ensure_ascii=False)


def bad_request(message: str, sub_status: int | None = None) -> CosmosError:
    """400: the request itself is wrong, or asks for something this server does not do."""
    return CosmosError(400, message, sub_status)


def not_found(
    message: str = "Entity with the specified id does not exist in the system.", sub_status: int = 0
) -> CosmosError:
    """404: no such resource; sub-status 1003 if it is the owner of what is asked for that is missing."""
    return CosmosError(404, message, sub_status)


def check_request_size(size: int) -> None:
    """413 if a request (or a document, in bytes) is larger than the 2 MB that the service takes.

    Source: https://learn.microsoft.com/azure/cosmos-db/concepts-limits (per-request and per-item limits).
    """
    if size > MAX_REQUEST_BYTES:
        raise CosmosError(413, f"Request size is too large: {size} bytes, where {MAX_REQUEST_BYTES} are allowed.")


def conflict(message: str = "Entity with the specified id already exists in the system.") -> CosmosError:
    """409: a resource of that id is there already."""
    return CosmosError(409, message)


def precondition_failed() -> CosmosError:
    """412: the etag is not the one the client expected."""
    return CosmosError(412, "Operation cannot be performed because one of the specified precondition is not met.")

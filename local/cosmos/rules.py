"""What a container asks of its documents beside their partition key: how long they live, and what must be unique.

Sources: https://learn.microsoft.com/azure/cosmos-db/nosql/time-to-live and
https://learn.microsoft.com/azure/cosmos-db/unique-keys
"""

from __future__ import annotations

from typing import Any

from .compare import canonical
from .errors import bad_request
from .jsontext import dumps
from .partition import at, segments

_LONGEST_TTL = 2**31 - 1
_MAX_UNIQUE_KEYS, _MAX_UNIQUE_PATHS = 10, 16
UNIQUE_KEYS_ARE_FIXED = (
    "The unique index cannot be modified. To change the unique index, remove the collection and re-create a new one."
)


class UniqueKeys:
    """The unique keys of a container: no two documents of a logical partition have the same values at its paths."""

    def __init__(self, policy: Any):
        keys = policy.get("uniqueKeys") if isinstance(policy, dict) else None
        if policy is not None and not isinstance(keys, list):
            raise bad_request("The unique key policy needs a list of unique keys.")
        self.policy = keys or []
        if len(self.policy) > _MAX_UNIQUE_KEYS:
            raise bad_request(f"A container cannot have more than {_MAX_UNIQUE_KEYS} unique keys.")
        self._keys = [_paths(key) for key in self.policy]

    def values(self, document: dict[str, Any]) -> list[str]:
        """One text for each unique key; what is missing counts as null, as in the service."""
        return [
            dumps([canonical(dumps(None if (found := at(document, path)) is ... else found)) for path in paths])
            for paths in self._keys
        ]

    def __bool__(self) -> bool:
        return bool(self._keys)


def check_default_ttl(value: Any) -> int | None:
    """The `defaultTtl` of a container in seconds (-1: documents live on unless they say otherwise); None: no expiry."""
    if value is not None and not _is_ttl(value):
        raise bad_request(
            f"The value of defaultTtl '{dumps(value)[:40]}' specified in the container is invalid. Ensure to provide a "
            f"nonzero positive integer less than or equal to '{_LONGEST_TTL}', or '-1' which means never expire."
        )
    return None if value is None else int(value)


def check_ttl(document: dict[str, Any]) -> None:
    """400 if a document of a container with expiry has a `ttl` that is no life span (null included)."""
    if "ttl" in document and not _is_ttl(document["ttl"]):
        raise bad_request(
            f"The input ttl '{dumps(document['ttl'])[:40]}' is invalid. Ensure to provide a nonzero positive integer "
            f"less than or equal to '{_LONGEST_TTL}', or '-1' which means never expire."
        )


def _is_ttl(value: Any) -> bool:
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return whole and (value == -1 or 1 <= value <= _LONGEST_TTL)


def _paths(key: Any) -> list[list[str]]:
    paths = key.get("paths") if isinstance(key, dict) else None
    if not isinstance(paths, list) or not 1 <= len(paths) <= _MAX_UNIQUE_PATHS:
        raise bad_request(f"A unique key needs between one and {_MAX_UNIQUE_PATHS} paths.")
    return [segments(path, "unique key") for path in paths]

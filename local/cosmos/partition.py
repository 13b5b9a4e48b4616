"""Partition key values, and where in the hash space they place a document (the effective partition key)."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import CosmosError, bad_request
from .hashes import UNDEFINED, double, place_v1, place_v2

MINIMUM, MAXIMUM = "", "FF"
# https://learn.microsoft.com/azure/cosmos-db/concepts-limits
_MAX_STRING_BYTES = 2048


class PartitionKey:
    """A container's partition key definition."""

    def __init__(self, definition: Any):
        if not isinstance(definition, dict) or not definition.get("paths"):
            raise bad_request("The partition key definition needs at least one path.")
        self.kind = definition.get("kind", "Hash")
        paths = definition["paths"]
        if self.kind not in ("Hash", "MultiHash"):
            raise bad_request(f"Partition key kind {self.kind!r} is not supported: use Hash or MultiHash.")
        if len(paths) > (1 if self.kind == "Hash" else 3):
            raise bad_request(f"A {self.kind} partition key cannot have {len(paths)} paths.")
        # As in the service, one that does not tell its version has the first.
        self.version = definition.get("version", 1)
        if self.version not in (1, 2) or isinstance(self.version, bool):
            raise bad_request(f"Partition key version {self.version!r} is not valid: use 1 or 2.")
        if self.kind == "MultiHash" and self.version != 2:
            raise bad_request("A MultiHash partition key needs version 2.")
        self.paths = [segments(path, "partition key") for path in paths]

    def extract(self, document: dict[str, Any]) -> list[Any]:
        """The partition key components of a document."""
        return [_component(document, path) for path in self.paths]

    def parse(self, header: str) -> list[Any] | None:
        """The components that the partition key header names; None for the empty list (nothing said)."""
        try:
            components = json.loads(header)
        except ValueError:
            components = None
        if not isinstance(components, list):
            raise bad_request(f"The partition key header is not a JSON array: {header[:100]}")
        if any(isinstance(part, (list, dict)) and part != {} for part in components):
            raise bad_request("Partition key components must be strings, numbers, booleans or null.")
        if len(components) > len(self.paths):
            raise bad_request("Partition key provided has more components than the container's definition.", 1001)
        for part in components:
            _check_size(part)
        return [UNDEFINED if part == {} else part for part in components] or None

    def effective(self, components: list[Any]) -> str:
        """The effective partition key: where in the hash space the components lie."""
        if not components:
            return MINIMUM
        if self.kind == "MultiHash":
            return "".join(place_v2(part) for part in components)
        return place_v1(components[0]) if self.version == 1 else place_v2(components[0])

    def covers(self, components: list[Any]) -> bool:
        """Whether all levels of the key are given."""
        return len(components) == len(self.paths)


def _check_size(part: Any) -> None:
    if isinstance(part, str) and len(part.encode(errors="surrogatepass")) > _MAX_STRING_BYTES:
        raise bad_request(f"A partition key value cannot have more than {_MAX_STRING_BYTES} bytes.")


def canonical(components: list[Any]) -> str:
    """One text per distinct partition key value: 1 and 1.0 are the same, "1" and true are others."""
    return json.dumps([_canonical(part) for part in components], separators=(",", ":"))


def _canonical(part: Any) -> Any:
    if part is UNDEFINED:
        return {}
    if isinstance(part, int) and not isinstance(part, bool):
        return double(part)
    return part


def segments(path: Any, kind: str) -> list[str]:
    """The names in a path such as /a/"b c"; `kind` says in an error what the path is for."""
    if not isinstance(path, str) or not path.startswith("/") or path == "/":
        raise _refused(path, kind, 0)
    found, rest = [], path
    while rest:
        quote = rest[1:2]
        if rest[0] != "/" or rest == "/":
            raise _refused(path, kind, len(path) - len(rest))
        if quote in ('"', "'"):
            end = rest.find(quote, 2)
            if end < 0:
                raise _refused(path, kind, len(path))
            found.append(rest[2:end])
            rest = rest[end + 1 :]
        else:
            name, slash, tail = rest[1:].partition("/")
            # What is neither letter nor digit has to stand in quotes. Whether that holds for a hyphen the
            # documentation does not say, and containers with one are common.
            if odd := re.search(r"[^\w-]|^$", name):
                raise _refused(path, kind, len(path) - len(rest) + 1 + odd.start())
            found.append(name)
            rest = slash + tail
    return found


def _refused(path: Any, kind: str, position: int) -> CosmosError:
    return bad_request(
        f"The {kind} component definition path '{path}' could not be accepted, failed near position '{position}'. "
        f"{kind.capitalize()} paths must contain only valid characters and not contain a trailing slash or wildcard "
        "character."
    )


def at(document: Any, path: list[str]) -> Any:
    """What stands at a path in a document; ... if there is nothing."""
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return ...
        document = document[name]
    return document


def _component(document: Any, path: list[str]) -> Any:
    found = at(document, path)
    return UNDEFINED if found is ... or isinstance(found, (dict, list)) else found

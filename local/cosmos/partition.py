"""Partition key values and the hash that places them (effective partition key, hash version 2)."""

from __future__ import annotations

import json
import struct
from typing import Any

from .errors import bad_request

MINIMUM, MAXIMUM = "", "FF"
_MASK = (1 << 64) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


class Undefined:
    """The partition key value of a document that has no such property."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED = Undefined()


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
        if definition.get("version", 2) != 2:
            raise bad_request("Only partition key version 2 is supported by this server.")
        self.paths = [segments(path, "Partition key") for path in paths]

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
        return [UNDEFINED if part == {} else part for part in components] or None

    def effective(self, components: list[Any]) -> str:
        """The effective partition key: where in the hash space the components lie."""
        if not components:
            return MINIMUM
        if self.kind == "MultiHash":
            return "".join(_hash(_encode(part)) for part in components)
        return _hash(b"".join(_encode(part) for part in components))

    def covers(self, components: list[Any]) -> bool:
        """Whether all levels of the key are given."""
        return len(components) == len(self.paths)


def canonical(components: list[Any]) -> str:
    """One text per distinct partition key value: 1 and 1.0 are the same, "1" and true are others."""
    return json.dumps([_canonical(part) for part in components], separators=(",", ":"))


def _canonical(part: Any) -> Any:
    if part is UNDEFINED:
        return {}
    if isinstance(part, int) and not isinstance(part, bool):
        return _float(part)
    return part


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise bad_request("A partition key number is too large for a double.") from None


def segments(path: Any, kind: str) -> list[str]:
    """The names in a path such as /a/"b c"; `kind` says in an error what the path is for."""
    if not isinstance(path, str) or not path.startswith("/") or path == "/":
        raise bad_request(f"{kind} path {path!r} must begin with '/' and name a property.")
    found, rest = [], path
    while rest:
        quote = rest[1:2]
        if rest[0] != "/" or rest == "/":
            raise bad_request(f"{kind} path {path!r} is not valid.")
        if quote in ('"', "'"):
            end = rest.find(quote, 2)
            if end < 0:
                raise bad_request(f"{kind} path {path!r} has an unclosed quote.")
            found.append(rest[2:end])
            rest = rest[end + 1 :]
        else:
            name, slash, tail = rest[1:].partition("/")
            found.append(name)
            rest = slash + tail
    return found


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


def _encode(part: Any) -> bytes:
    if part is UNDEFINED:
        return b"\x00"
    if part is None:
        return b"\x01"
    if part is False:
        return b"\x02"
    if part is True:
        return b"\x03"
    if isinstance(part, str):
        try:
            return b"\x08" + part.encode("utf-8") + b"\xff"
        except UnicodeEncodeError:
            raise bad_request("A partition key string holds an unpaired surrogate.") from None
    return b"\x05" + struct.pack("<d", _float(part))


def _hash(data: bytes) -> str:
    low, high = _murmur3_128(data)
    # The two top bits are cleared because no key may sort at or beyond the maximum, "FF".
    return f"{((high << 64) | low) & ((1 << 126) - 1):032X}"


def _murmur3_128(data: bytes) -> tuple[int, int]:
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, at)
        h1 ^= _rotate(k1 * _C1 & _MASK, 31) * _C2 & _MASK
        h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK
        h2 ^= _rotate(k2 * _C2 & _MASK, 33) * _C1 & _MASK
        h2 = ((_rotate(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK
    k1, k2 = struct.unpack("<QQ", data[whole:].ljust(16, b"\x00"))
    h2 ^= _rotate(k2 * _C2 & _MASK, 33) * _C1 & _MASK
    h1 ^= _rotate(k1 * _C1 & _MASK, 31) * _C2 & _MASK
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _mix(h1), _mix(h2)
    h1 = (h1 + h2) & _MASK
    return h1, (h2 + h1) & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _mix(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33

"""Documents as JSON values: their properties by path, their keys, and what makes one impossible to copy.

A partition key value is text, a number, true, false or null. A document that holds anything else there (nothing, an
object, an array) is valid, and its key is *undefined*, which the wire writes as ``{}``: so do the SDKs take it out of a
document (``_retrieve_partition_key`` of azure-cosmos; ``PartitionKeyInternal.FromObjectArray`` of the .NET SDK for arrays).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from backup_sync.model.diff import MISSING, Key
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.text import encodable

Names = tuple[str, ...]
"""A path as the names of its properties, outermost first."""

SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts")
_UNADDRESSABLE = re.compile(r"[/\\?#\t\r\n\ud800-\udfff]| \Z|\A\.\.?\Z")
"""The service refuses the first four; the SDK tabs and line breaks; half a surrogate pair has no place in a URL, a blank
at the end is cut off there, and . and .. are steps of its path."""
_encode = json.JSONEncoder(ensure_ascii=False).encode
_NAME = re.compile(r"""/(?:(["'])((?:(?!\1).|(?<=\\)\1)*)(?<!\\)\1(?=/|\Z)|(?!["'])([^/]*))""", re.DOTALL)
"""A slash and a name, in quotes or bare."""
_EXACT = 2**53
"""Whole numbers below this one are themselves as a double, which is what the service keeps of a number."""
_BOOLS = {True: ("bool", True), False: ("bool", False)}
"""What stands for true and false in a stamp, since they equal 1 and 0 in Python."""


@dataclass(frozen=True)
class Nested:
    """An array or object in a stamp, by its JSON. It has no order, so that one that differs is a change."""

    text: str


@lru_cache(256)
def names_of(path: str) -> Names:
    """The names of a path: ``/a/b`` → a, b; a name in quotes, double or single, may hold anything: ``/"a/b"``, ``/"a.b"``.

    Read as the SDKs read a partition key's path (``ParsePaths`` of azure-cosmos): blanks around a bare name do not
    count, a quote behind a backslash does not end the name, and the backslash stays a part of it.
    Raises ConfigurationError for a path that names nothing or whose quotes do not close.
    """
    names, rest = [], path
    while rest not in ("", "/"):
        found = _NAME.match(rest)
        if not found:
            raise ConfigurationError(
                f"the path {path} cannot be read; write names with a slash between them, and a name that holds a slash in quotes"
            )
        names.append(found[2] if found[1] else found[3].strip())
        rest = rest[found.end() :]
    if not names:
        raise ConfigurationError(
            f"the path {path or '(empty)'} names no property; write one or more names with slashes"
        )
    return tuple(names)


def names_of_field(name: str) -> Names:
    """The names of a field in ``changed`` or ``where``: a path whose first slash may be left out."""
    return names_of(name if name.startswith("/") else f"/{name}")


def property_of(names: Names) -> str:
    """``c["a"]["b"]`` for a, b: as JSON text, so that a name can be a reserved word and none can end the expression."""
    return "c" + "".join(f"[{json.dumps(name)}]" for name in names)


def value_at(document: dict[str, Any], names: Names) -> Any:
    found: Any = document
    for name in names:
        if not isinstance(found, dict) or name not in found:
            return MISSING
        found = found[name]
    return found


def key_part(value: Any) -> Any:
    """A partition key value as the service tells it from others; MISSING: undefined. 1 and 1.0 are one number."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        if -_EXACT < value < _EXACT:
            return value
        try:
            return float(value)
        except OverflowError:
            return value  # the service says what it thinks of it
    if kind is float:
        whole = value.is_integer() and abs(value) < _EXACT and not (value == 0 and math.copysign(1, value) < 0)
        return int(value) if whole else value
    return MISSING


def key_text(values: Sequence[Any]) -> str:
    """The partition key value of a document as JSON text: equal for values that are the same to the service, and only for
    them. ``values``: what the document holds at the key's paths."""
    return _encode([{} if part is MISSING else part for part in map(key_part, values)])


def key_value(key: Key) -> Any:
    """The partition key value of a key as the SDK takes it: ``{}`` for what is undefined."""
    values = json.loads(str(key[1]))
    return values[0] if len(values) == 1 else values


def without_system(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}


def weight_of_document(document: dict[str, Any]) -> int:
    """Bytes of a document's JSON."""
    text = _encode(document)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def problem_of(id_: Any, values: Sequence[Any], paths: Sequence[str]) -> str | None:
    """Why a document cannot be copied, in words; None if it can. ``values``: those of the partition key ``paths``."""
    if not isinstance(id_, str) or not id_:
        return "has no id"
    if _UNADDRESSABLE.search(id_):
        return (
            "has an id with one of / \\ ? #, a tab, a line break, half a surrogate pair or a blank at its end, or the id . "
            "or .., by which Cosmos DB cannot address it"
        )
    if not encodable(key_text(values)):
        return (
            f"has half a surrogate pair in the partition key {', '.join(paths)}, by which Cosmos DB cannot address it"
        )
    return None


def shown(id_: Any) -> str:
    """An id as a line of a log can hold it."""
    text = str(id_ or "(no id)")
    return text if text.isprintable() else ascii(text)


def content_of(document: dict[str, Any]) -> int:
    """A number of 64 bits that stands for all of a document, whatever the order of its properties."""
    text = json.dumps(document, sort_keys=True)
    if ".0" in text:  # 1.0 and 1 are one number to the service, and some of its emulators write either
        text = json.dumps(_plain(document), sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_plain, value))
    return key_part(value) if isinstance(value, float) else value


def stamp_of(document: dict[str, Any], fields: Sequence[Names]) -> tuple[Any, ...]:
    """The values at some paths, as :func:`bundled` has them in a stamp."""
    return tuple(_stamp(value_at(document, names)) for names in fields)


def bundled(page: Sequence[dict[str, Any]], keys: Sequence[str], stamps: Sequence[str]) -> list[tuple[Any, ...]]:
    """(id, key values …, stamps …) of each row of a page, as values that go into a set.

    ``keys`` and ``stamps`` name the row's fields. Taken a column at a time, and with nothing looked at that only a
    document that changed needs, because a step for each row is what a comparison costs most.
    """
    ids = [row.get("i") for row in page]
    parts = [_told_apart([row.get(name, MISSING) for row in page]) for name in keys]
    columns = [_stamps([row.get(name, MISSING) for row in page]) for name in stamps]
    return list(zip(ids, *parts, *columns, strict=True))


def unbundled(bundle: tuple[Any, ...], width: int) -> tuple[Any, list[Any], tuple[Any, ...]]:
    """(id, values of the partition key's ``width`` parts, stamps) of a bundle."""
    values = [json.loads(part[0]) if isinstance(part, tuple) else part for part in bundle[1 : width + 1]]
    return bundle[0], values, bundle[width + 1 :]


def _told_apart(values: list[Any]) -> list[Any]:
    """Text as it is; what is none as its JSON in a tuple, since 1 and true are equal in Python."""
    if set(map(type, values)) <= {str}:
        return values
    parts = [value if isinstance(value, str) else key_part(value) for value in values]
    return [part if isinstance(part, str) or part is MISSING else (_encode(part),) for part in parts]


def _stamps(values: list[Any]) -> list[Any]:
    """The values so that all can go into a set and are equal there only if they are the same JSON, numbers by value."""
    kinds = set(map(type, values))
    if kinds.isdisjoint((bool, dict, list)):
        return values
    if kinds == {bool}:
        return list(map(_BOOLS.__getitem__, values))
    return [_stamp(value) for value in values]


def _stamp(value: Any) -> Any:
    if isinstance(value, bool):
        return _BOOLS[value]
    return Nested(json.dumps(value, sort_keys=True)) if isinstance(value, (dict, list)) else value

"""Documents as JSON values: their properties by path, their keys, and what makes one impossible to copy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from backup_sync.core.diff import Key

SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts")
_UNADDRESSABLE = re.compile(r"[/\\?#\t\r\n\ud800-\udfff]| \Z|\A\.\.?\Z")
"""The service refuses the first four; the SDK tabs and line breaks; half a surrogate pair has no place in a URL, a blank
at the end is cut off there, and . and .. are steps of its path."""
_encode = json.JSONEncoder(ensure_ascii=False).encode

MISSING: Any = object()
"""Stands for a property that a document does not have; null is a value."""


def property_of(path: str) -> str:
    """``c["a"]["b"]`` for the path ``/a/b``; names are quoted as JSON, so that none can end the expression."""
    return "c" + "".join(f"[{json.dumps(part)}]" for part in path.strip("/").split("/"))


def value_at(document: dict[str, Any], path: str) -> Any:
    found: Any = document
    for part in path.strip("/").split("/"):
        if not isinstance(found, dict) or part not in found:
            return MISSING
        found = found[part]
    return found


def key_text(values: Sequence[Any]) -> str:
    return _encode(list(values))


def key_value(key: Key) -> Any:
    values = json.loads(str(key[1]))
    return values[0] if len(values) == 1 else values


def without_system(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}


def held_by_document(document: dict[str, Any]) -> int:
    """Bytes of a document's JSON."""
    text = _encode(document)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def problem_of(id_: Any, values: Sequence[Any], paths: Sequence[str]) -> str | None:
    """Why a document cannot be copied, in words; None if it can. ``values``: those of the partition key ``paths``."""
    if not isinstance(id_, str) or not id_:
        return "has no id"
    if MISSING in values:
        return f"has no value for the partition key {', '.join(paths)}"
    if _UNADDRESSABLE.search(id_):
        return (
            "has an id with one of / \\ ? #, a tab, a line break, half a surrogate pair or a blank at its end, or the id . "
            "or .., by which Cosmos DB cannot address it"
        )
    if not _encodable(key_text(values)):
        return (
            f"has half a surrogate pair in the partition key {', '.join(paths)}, by which Cosmos DB cannot address it"
        )
    return None


def _encodable(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def shown(id_: Any) -> str:
    """An id as a line of a log can hold it."""
    text = str(id_ or "(no id)")
    return text if text.isprintable() else ascii(text)


def bundled(page: Sequence[dict[str, Any]], keys: Sequence[str], stamps: Sequence[str]) -> list[tuple[Any, ...]]:
    """(id, key values …, stamps …) of each row of a page, as values that go into a set.

    ``keys`` and ``stamps`` name the row's fields. Taken a column at a time, and with nothing looked at that only a
    document that changed needs, because a step for each row is what a comparison costs most.
    """
    ids = [row.get("i") for row in page]
    parts = [_told_apart([row.get(name, MISSING) for row in page]) for name in keys]
    return list(zip(ids, *parts, *(_hashable([row.get(name) for row in page]) for name in stamps), strict=True))


def unbundled(bundle: tuple[Any, ...], width: int) -> tuple[Any, list[Any], tuple[Any, ...]]:
    """(id, values of the partition key's ``width`` parts, stamps) of a bundle."""
    values = [json.loads(part[0]) if isinstance(part, tuple) else part for part in bundle[1 : width + 1]]
    return bundle[0], values, bundle[width + 1 :]


def _told_apart(values: list[Any]) -> list[Any]:
    """Text as it is; what is none as its JSON in a tuple, since 1, 1.0 and true are equal in Python."""
    if set(map(type, values)) <= {str}:
        return values
    return [value if isinstance(value, str) or value is MISSING else (_encode(value),) for value in values]


def _hashable(values: list[Any]) -> list[Any]:
    """The values, with arrays and objects among them as JSON text, so that all can go into a set."""
    if {dict, list}.isdisjoint(map(type, values)):
        return values
    return [json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value for value in values]

"""Documents as JSON values: their properties by path, their keys, and what makes one impossible to copy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

from backup_sync.core.diff import Key

SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts")
_UNADDRESSABLE = re.compile(r"[/\\?#\t\r\n\ud800-\udfff]| \Z|\A\.\.?\Z")
_UNADDRESSABLE_IN_LINES = re.compile(r"[/\\?#\t\r\n\ud800-\udfff]| (?:\0|\Z)|(?:\A|\0)\.\.?(?:\0|\Z)")
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


def key_texts(values: Sequence[str]) -> list[str]:
    """:func:`key_text` of many keys of one part that is text, at a tenth of its cost. Raises TypeError for other parts."""
    return [f"[{text}]" for text in map(encode_basestring, values)]


def key_value(key: Key) -> Any:
    values = json.loads(str(key[1]))
    return values[0] if len(values) == 1 else values


def without_system(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}


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


def all_good(ids: Sequence[str], key_texts: Sequence[str]) -> bool:
    """Whether :func:`problem_of` would find none of these wanting. Raises TypeError if an id is not text."""
    return all(ids) and not _UNADDRESSABLE_IN_LINES.search("\0".join(ids)) and _encodable("".join(key_texts))


def _encodable(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def shown(id_: Any) -> str:
    """An id as a line of a log can hold it."""
    text = str(id_ or "(no id)")
    return text if text.isprintable() else ascii(text)


def hashable(values: list[Any]) -> list[Any]:
    """The values, with arrays and objects among them as JSON text, so that all can go into a set."""
    if {dict, list}.isdisjoint(map(type, values)):
        return values
    return [json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value for value in values]

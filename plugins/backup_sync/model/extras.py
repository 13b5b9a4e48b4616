"""The ``extra`` of an Airflow connection, taken at its word: each entry is what it says, or is refused by name.

Airflow takes an extra that it cannot read for an empty one, and a connection that is written as a URI holds nothing but
text: ``?encryption=require&timeout=30`` has the timeout ``"30"``, and ``?connection_verify=false`` is a text that counts as
true wherever nobody looks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from backup_sync.model.errors import ConnectionMistake

Reader = Callable[[Any], Any]
"""The value of an entry as what takes it wants it. Raises ValueError with what it has to be."""


def read(conn_id: str, extra: Any, known: Mapping[str, Reader]) -> dict[str, Any]:
    """The entries of a connection's ``extra`` (its JSON text, or empty), each as its reader in ``known`` has it.

    An entry that is empty (null, or a field of Airflow's form that was left blank) counts as left out. Raises
    ConnectionMistake for an extra that is no JSON object, and for entries that are not known, given twice or not what they
    have to be; values are left out of it, since one of them may be a password.
    """
    return {
        name: _value(conn_id, name, value, known)
        for name, value in _entries(conn_id, extra)
        if not (value is None or value == "")
    }


def _entries(conn_id: str, extra: Any) -> list[tuple[str, Any]]:
    if extra is None or extra == "":
        return []
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(found)

    try:
        entries = json.loads(extra, object_pairs_hook=pairs) if isinstance(extra, (str, bytes)) else extra
    except ValueError:
        entries = None
    if not isinstance(entries, Mapping):
        raise ConnectionMistake(
            f'connection {conn_id}: its extra is no JSON object; write it as {{"name": "value", …}}, or leave it empty'
        )
    if twice:
        raise ConnectionMistake(f"connection {conn_id}: '{twice[0]}' stands twice in its extra; remove one of them")
    return list(entries.items())


def _value(conn_id: str, name: str, value: Any, known: Mapping[str, Reader]) -> Any:
    if name not in known:
        raise ConnectionMistake(
            f"connection {conn_id}: '{name}' in its extra is nothing that backup_sync knows, and would not be heeded; remove "
            f"it, or correct its name (known: {', '.join(known) or 'none'})"
        )
    try:
        return known[name](value)
    except ValueError as error:
        raise ConnectionMistake(f"connection {conn_id}: '{name}' in its extra has to be {error}") from None


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def one_of(*words: str) -> Reader:
    def reader(value: Any) -> str:
        for word in words:
            if isinstance(value, str) and value.strip().lower() == word.lower():
                return word
        raise ValueError(f"one of {', '.join(words)}")

    return reader


def flag(value: Any) -> bool:
    found = {"true": True, "false": False}.get(str(value).strip().lower())
    if found is None or not isinstance(value, (bool, str)):
        raise ValueError("true or false")
    return found


def seconds(value: Any) -> float:
    """Seconds, with or without a fraction; 0 or more."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1
    if isinstance(value, bool) or not 0 <= found < math.inf:
        raise ValueError("a number of seconds")
    return int(found) if found == int(found) else found


def whole_seconds(value: Any) -> int:
    found = str(value).strip()
    if isinstance(value, bool) or not (found.isascii() and found.isdecimal()):
        raise ValueError("a whole number of seconds")
    return int(found)


def verify(value: Any) -> bool | str:
    """Whether to check a server's certificate, or the path of the certificates to trust."""
    try:
        return flag(value)
    except ValueError:
        if isinstance(value, str) and "/" in value:
            return value
        raise ValueError("true, false or the path of a file of certificates") from None


def texts(value: Any) -> list[str]:
    """A list of texts; as one text, with commas in between or as JSON."""
    if isinstance(value, str):
        try:
            found = json.loads(value) if value.lstrip().startswith("[") else [part.strip() for part in value.split(",")]
        except ValueError:
            found = None
    else:
        found = value
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise ValueError("a list of texts")
    return found

"""Partial updates: add, set, replace, remove, incr and move."""

from __future__ import annotations

from typing import Any

from . import documents
from .containers import Container
from .documents import Conditions, Outcome
from .errors import bad_request
from .jsontext import SYSTEM_PROPERTIES, dumps, loads
from .storage import Store


def patch(store: Store, container: Container, key: str | None, name: str, body: str, conditions: Conditions) -> Outcome:
    """Change parts of a document. The whole document is parsed and written anew (values keep their meaning)."""
    found = documents.read(store, container, key, name).resource
    assert found is not None
    request = loads(body)
    if isinstance(request, dict) and request.get("condition"):
        raise bad_request("This development server does not support a filter predicate in a patch.")
    operations = request.get("operations") if isinstance(request, dict) else request
    if not isinstance(operations, list) or not 1 <= len(operations) <= 10:
        raise bad_request("A patch needs between one and ten operations.")
    document = loads(found.body)
    own = {tuple(path) for path in container.key.paths} | {(name,) for name in ("id", *SYSTEM_PROPERTIES)}
    for operation in operations:
        try:
            _check_paths(operation, own)
            _apply(document, operation)
        except (AttributeError, KeyError, IndexError, TypeError):
            raise bad_request(f"The patch operation {dumps(operation)[:200]} cannot be applied.") from None
    return documents.replace(store, container, key, name, dumps(document), conditions)


def _apply(document: dict[str, Any], operation: dict[str, Any]) -> None:
    kind: Any = operation.get("op")
    value: Any = operation.get("value")
    if kind == "move":
        moved = _take(document, operation.get("from", ""))
        kind, value = "add", moved
    holder, last = _holder(document, operation.get("path", ""))
    there = last in holder if isinstance(holder, dict) else isinstance(last, int) and last < len(holder)
    if kind == "remove":
        _take(document, operation["path"])
    elif kind in ("add", "set") and isinstance(holder, list):
        if kind == "set" and there:
            holder[last] = value
        else:
            holder.insert(len(holder) if last == "-" else last, value)
    elif kind in ("add", "set") or (kind == "replace" and there):
        holder[last] = value
    elif kind == "incr":
        holder[last] = (holder[last] if there else 0) + value
    else:
        raise bad_request(f"The patch operation {kind!r} cannot be applied at {operation.get('path')!r}.")


def _check_paths(operation: dict[str, Any], own: set[tuple[str, ...]]) -> None:
    for path in (operation.get("path", ""), operation.get("from", "")):
        steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])
        if steps in own:
            raise bad_request(
                f"The patch path {path!r} is the id, the partition key or a system property: it is fixed."
            )


def _take(document: dict[str, Any], path: str) -> Any:
    holder, last = _holder(document, path)
    try:
        return holder.pop(last)
    except (KeyError, IndexError, TypeError):
        raise bad_request(f"The patch path {path!r} does not exist.") from None


def _holder(document: dict[str, Any], path: str) -> tuple[Any, Any]:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    if not steps:
        raise bad_request(f"The patch path {path!r} is not valid.")
    at: Any = document
    for step in steps[:-1]:
        try:
            at = at[int(step)] if isinstance(at, list) else at[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise bad_request(f"The patch path {path!r} does not exist.") from None
    if not isinstance(at, list | dict):
        raise bad_request(f"The patch path {path!r} does not exist.")
    last = steps[-1]
    return at, int(last) if isinstance(at, list) and last.isdigit() else last

"""Transactional batch: several operations of one partition key value, all or none."""

from __future__ import annotations

import json
from typing import Any

from . import documents
from .containers import Container
from .documents import Conditions, Outcome
from .errors import CosmosError, bad_request
from .jsontext import dumps, elements, members
from .patch import patch
from .storage import Store

_MAX_OPERATIONS = 100


class _Undone(Exception):
    """Leaves the transaction so that it is rolled back."""


def execute(store: Store, container: Container, key: str | None, body: str) -> tuple[int, str, float, int]:
    """Run a batch: its status, the answer's text, the charge, and how many documents were read."""
    documents.check_size(body)
    operations = elements(body)
    if key is None:
        raise bad_request("A transactional batch needs a partition key.")
    if not operations:
        raise bad_request("A transactional batch needs at least one operation.")
    if len(operations) > _MAX_OPERATIONS:
        raise bad_request(f"Batch request has {len(operations)} operations, where {_MAX_OPERATIONS} are allowed.")
    results: list[str] = []
    charge, reads = 0.0, 0
    try:
        with store.transaction():
            for operation in operations:
                try:
                    outcome, read = _one(store, container, key, operation)
                except CosmosError as problem:
                    failed = [_result(424, 0.0) for _ in results]
                    results = [*failed, _result(problem.status, 1.0, problem.sub_status)]
                    results += [_result(424, 0.0) for _ in operations[len(results) :]]
                    raise _Undone from None
                charge += outcome.charge
                reads += read
                results.append(_success(outcome))
    except _Undone:
        return 207, "[" + ",".join(results) + "]", max(charge, 1.0), 0
    return 200, "[" + ",".join(results) + "]", charge, reads


def _one(store: Store, container: Container, key: str, operation: str) -> tuple[Outcome, bool]:
    parts = members(operation)
    named: dict[str, Any] = {name: member.value for name, member in parts.items() if name != "resourceBody"}
    body = parts["resourceBody"].text if "resourceBody" in parts else ""
    conditions = Conditions(named.get("ifMatch"), named.get("ifNoneMatch"))
    kind, name = named.get("operationType"), str(named.get("id", ""))
    if kind == "Create":
        return documents.create(store, container, key, body), False
    if kind == "Upsert":
        return documents.upsert(store, container, key, body, conditions), False
    if kind == "Replace":
        return documents.replace(store, container, key, name, body, conditions), False
    if kind == "Delete":
        return documents.delete(store, container, key, name, conditions), False
    if kind == "Patch":
        return patch(store, container, key, name, body, conditions), False
    if kind == "Read":
        return documents.read(store, container, key, name, conditions.none_match), True
    raise bad_request(f"A batch cannot hold the operation {kind!r}.")


def _success(outcome: Outcome) -> str:
    head = f'"statusCode":{outcome.status},"requestCharge":{json.dumps(outcome.charge)}'
    if outcome.etag:
        head += f',"eTag":{dumps(outcome.etag)}'
    if outcome.resource is not None:
        head += f',"resourceBody":{outcome.resource.body}'
    return "{" + head + "}"


def _result(status: int, charge: float, sub_status: int | None = None) -> str:
    result: dict[str, Any] = {"statusCode": status, "requestCharge": charge}
    if sub_status is not None:
        result["subStatusCode"] = sub_status
    return json.dumps(result)

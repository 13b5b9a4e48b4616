"""The query plan that the SDK asks for before it runs a query over several partitions itself."""

from __future__ import annotations

from typing import Any

from .jsontext import dumps
from .partition import MAXIMUM, MINIMUM
from .query import Compiled


def query_plan(compiled: Compiled) -> dict[str, Any]:
    """What the client has to do with the partitions' answers, and the query to send to each of them."""
    select = compiled.select
    return {
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": {
            "distinctType": "Unordered" if select.distinct else "None",
            "top": select.top,
            "offset": select.offset,
            "limit": select.limit,
            "orderBy": ["Descending" if descending else "Ascending" for _, descending in select.order],
            "orderByExpressions": [select.texts[f"order{i}"] for i in range(len(select.order))],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": compiled.aggregates,
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": _rewritten(compiled),
            "hasSelectValue": select.value,
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": MINIMUM, "max": MAXIMUM, "isMinInclusive": True, "isMaxInclusive": False}],
    }


def _rewritten(compiled: Compiled) -> str:
    select = compiled.select
    where = select.texts.get("where")
    tail = f"FROM {select.texts['from']}"
    if compiled.aggregates:
        tail += f" WHERE {where}" if where else ""
        return f"SELECT VALUE [{_partial(compiled)}] {tail}" if select.value else ""
    payload = _payload(compiled)
    # The client skips `offset` results of all partitions together, so each partition has to give that many more.
    first = None if select.limit is None else (select.offset or 0) + select.limit
    paging = f" OFFSET 0 LIMIT {first}" if first is not None else ""
    top = f"TOP {select.top} " if select.top is not None else ""
    if not select.order:
        if first is None:
            return ""
        distinct = "DISTINCT " if select.distinct else ""
        columns = "*" if select.star else f"VALUE {payload}"
        return f"SELECT {distinct}{columns} {tail}{' WHERE ' + where if where else ''}{paging}"
    keys = [select.texts[f"order{i}"] for i in range(len(select.order))]
    items = ", ".join(f'{{"item": {key}}}' for key in keys)
    conditions = [f"({where})"] if where else []
    if select.value and not compiled.whole:
        conditions.append(f"IS_DEFINED({payload})")
    filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    way = " DESC" if compiled.descending else " ASC"
    distinct = "DISTINCT " if select.distinct else ""
    return (
        f"SELECT {distinct}{top}{select.alias}._rid AS _rid, [{items}] AS orderByItems, {payload} AS payload "
        f"{tail}{filtered} ORDER BY {', '.join(key + way for key in keys)}{paging}"
    )


def _partial(compiled: Compiled) -> str:
    text = compiled.select.texts["column0"]
    if compiled.aggregates == ["Average"]:
        argument = text[text.index("(") + 1 : text.rindex(")")]
        return f'{{"item": {{"sum": SUM({argument}), "count": COUNT({argument})}}}}'
    return f'{{"item": {text}}}'


def _payload(compiled: Compiled) -> str:
    select = compiled.select
    if select.star:
        return select.alias
    if select.value:
        return select.texts["column0"]
    named = ((name, select.texts[f"column{i}"]) for i, (name, _) in enumerate(select.columns))
    return "{" + ", ".join(f"{dumps(name)}: {text}" for name, text in named) + "}"

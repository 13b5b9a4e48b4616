"""One page of a query, of a feed or of the change feed."""

from __future__ import annotations

import base64
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from .errors import bad_request
from .query import Compiled
from .ranges import Slice
from .storage import Store

_MAX_PAGE_BYTES = 4 * 1024 * 1024
_DEFAULT_COUNT, _DYNAMIC_COUNT = 100, 1000


@dataclass
class Page:
    """Results as JSON texts, where the next page begins (None: this was the last), and what it took."""

    texts: list[str]
    continuation: str | None
    scanned: int
    size: int


@dataclass
class Scope:
    """Which resources are looked at: those of an owner, in a slice, perhaps of one partition key value."""

    owner: int
    slice: Slice
    pk: str | None = None


def count_from(header: str | None) -> int:
    """The page size that a request asks for."""
    try:
        count = int(header) if header else _DEFAULT_COUNT
    except ValueError:
        raise bad_request(f"x-ms-max-item-count {header!r} is not a number.") from None
    return count if count > 0 else _DYNAMIC_COUNT


def query_page(store: Store, query: Compiled, scope: Scope, count: int, token: str | None) -> Page:
    """The next page of a query."""
    after = _open(token)
    if query.aggregates:
        return _aggregate_page(store, query, scope)
    if query.select.distinct:
        return _distinct_page(store, query, scope, count, int(after.get("d", 0)))
    left = after.get("n", query.select.top if query.select.top is not None else query.select.limit)
    if left is not None:
        count = min(count, left)
    offset = 0 if after else query.select.offset or 0
    rows = _rows(store, query, scope, after, count + 1, offset)
    page = Page([], None, 0, 0)
    last: tuple[Any, ...] | None = None
    keys = len(query.keys)
    for row in rows:
        if page.scanned == count or page.size > _MAX_PAGE_BYTES:
            remaining = None if left is None else left - len(page.texts)
            if last is not None and remaining != 0:
                page.continuation = _seal(last, keys, remaining)
            break
        last = row[: keys + 2]
        page.scanned += 1
        values = row[keys + 2 :]
        text = values[0] if query.render is None else query.render(values)
        if text is not None:
            page.texts.append(text)
            page.size += len(text)
    return page


def change_page(store: Store, scope: Scope, after_lsn: int, since: int, count: int) -> tuple[Page, int]:
    """Documents changed after `after_lsn`, each in its latest version, and the number of the last of them."""
    rows = store.connection.execute(
        "SELECT lsn, body FROM resource WHERE owner = :owner AND lsn > :lsn AND ts >= :since AND epk >= :start "
        "AND epk < :end AND (:pk IS NULL OR pk = :pk) ORDER BY lsn LIMIT :count",
        {
            "owner": scope.owner,
            "lsn": after_lsn,
            "since": since,
            "start": scope.slice.start,
            "end": scope.slice.end,
            "pk": scope.pk,
            "count": count,
        },
    )
    page, last = Page([], None, 0, 0), after_lsn
    for lsn, body in rows:
        if page.size > _MAX_PAGE_BYTES:
            break
        page.texts.append(body)
        page.size += len(body)
        page.scanned += 1
        last = lsn
    return page, last


def _rows(
    store: Store, query: Compiled, scope: Scope, after: dict[str, Any], count: int, offset: int = 0
) -> sqlite3.Cursor:
    where, bound = _where(query, scope)
    keys = [f"({key}) AS key{i}" for i, key in enumerate(query.keys)]
    names = [*(f"key{i}" for i in range(len(keys))), "epk", "seq"]
    # Where a page ends is told by the keys of its last row, so that writes in between move nothing.
    if after and not keys:
        # Written so that the index is entered at the place itself, not at the beginning of the slice.
        bound |= {"start": max(bound["start"], after["e"]), "epk": after["e"], "seq": after["s"]}
        where += " AND (epk > :epk OR seq > :seq)"
    elif after:
        marks = {f"after{i}": value for i, value in enumerate([*after.get("k", []), after["e"], after["s"]])}
        sign = "<" if query.descending else ">"
        left = ", ".join([*(f"({key})" for key in query.keys), "epk", "seq"])
        where += f" AND ({left}) {sign} ({', '.join(':' + name for name in marks)})"
        bound |= marks
    way = " DESC" if query.descending else ""
    index = "INDEXED BY resource_id" if query.ids is not None else ""
    sql = (
        f"SELECT {', '.join([*keys, 'epk', 'seq', *query.columns])} FROM resource {index} WHERE {where} "
        f"ORDER BY {', '.join(name + way for name in names)} LIMIT :count OFFSET :offset"
    )
    return _run(store, sql, {**bound, "count": count, "offset": offset})


def _where(query: Compiled, scope: Scope) -> tuple[str, dict[str, Any]]:
    bound = {**query.bound, "owner": scope.owner, "start": scope.slice.start, "end": scope.slice.end}
    where = "owner = :owner AND epk >= :start AND epk < :end"
    if scope.pk is not None:
        where += " AND pk = :pk"
        bound["pk"] = scope.pk
    if query.ids is not None:
        where += " AND id IN (SELECT value FROM json_each(:ids))"
        bound["ids"] = json.dumps(query.ids)
    return f"{where} AND ({query.where})", bound


def _aggregate_page(store: Store, query: Compiled, scope: Scope) -> Page:
    where, bound = _where(query, scope)
    columns = ", ".join([*query.columns, "COUNT(*)"])
    row = _run(store, f"SELECT {columns} FROM resource WHERE {where}", bound).fetchone()
    text = query.render(row) if query.render else None
    return Page([text] if text is not None else [], None, row[-1], len(text or ""))


def _distinct_page(store: Store, query: Compiled, scope: Scope, count: int, skip: int) -> Page:
    seen: dict[str, str] = {}
    scanned = 0
    keys = len(query.keys) + 2
    for row in _rows(store, query, scope, {}, -1):
        scanned += 1
        text = row[keys] if query.render is None else query.render(row[keys:])
        if text is not None:
            seen.setdefault(json.dumps(json.loads(text), sort_keys=True), text)
    select = query.select
    texts = list(seen.values())[select.offset or 0 :]
    most = select.top if select.top is not None else select.limit
    texts = texts if most is None else texts[:most]
    shown = texts[skip : skip + count]
    token = _encode({"d": skip + count}) if skip + count < len(texts) else None
    return Page(shown, token, scanned, sum(map(len, shown)))


def _run(store: Store, sql: str, bound: dict[str, Any]) -> sqlite3.Cursor:
    try:
        return store.connection.execute(sql, bound)
    except sqlite3.OperationalError as problem:
        raise bad_request(f"The query cannot be run: {problem}") from None


def _seal(last: tuple[Any, ...], keys: int, left: int | None) -> str:
    token: dict[str, Any] = {"e": last[keys], "s": last[keys + 1]}
    if keys:
        token["k"] = list(last[:keys])
    if left is not None:
        token["n"] = left
    return _encode(token)


def _encode(token: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def _open(token: str | None) -> dict[str, Any]:
    if not token:
        return {}
    try:
        opened = json.loads(base64.urlsafe_b64decode(token))
        if not isinstance(opened, dict) or not ({"e", "s"} <= opened.keys() or "d" in opened):
            raise ValueError
    except ValueError:
        raise bad_request("The continuation token is not valid.") from None
    return opened

"""Requests that read many documents: queries, the read feed, the change feed, and the query plan."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from functools import lru_cache

from . import charges
from .answer import Answer, Call, feed
from .containers import Container
from .errors import CosmosError, bad_request
from .jsontext import decode, loads
from .paging import Page, Scope, change_page, count_from, query_page
from .partition import canonical
from .plan import query_plan
from .query import Compiled, compiled
from .ranges import EVERYTHING, Slice, find
from .storage import Store

KEY = "x-ms-documentdb-partitionkey"
RANGE = "x-ms-documentdb-partitionkeyrangeid"
# https://learn.microsoft.com/azure/cosmos-db/concepts-limits: the query's text, without its parameters.
_MAX_QUERY_BYTES = 512 * 1024
_BOUND = re.compile("(?:[0-9A-F]{2})*")
_ALL = compiled("SELECT * FROM c", {})


def query_of(call: Call) -> Compiled:
    """The query in a request's body."""
    return _query(call.body)


# The pages of a query come one after the other, and the query may be long (a thousand ids).
@lru_cache(64)
def _query(body: bytes) -> Compiled:
    spec = loads(decode(body))
    if not isinstance(spec, dict) or not isinstance(spec.get("query"), str):
        raise bad_request("The request body has no query text.")
    size = len(spec["query"].encode(errors="surrogatepass"))
    if size > _MAX_QUERY_BYTES:
        raise bad_request(f"The SQL query text exceeded the maximum limit of {_MAX_QUERY_BYTES} bytes: {size}.")
    try:
        parameters = {one["name"]: one.get("value", ...) for one in spec.get("parameters") or []}
        return compiled(spec["query"], parameters)
    except (AttributeError, KeyError, TypeError):
        raise bad_request("The query's parameters are not a list of objects with name and value.") from None
    except RecursionError:
        raise bad_request("The query is nested too deeply.") from None


def plan(call: Call) -> Answer:
    """The query plan."""
    return Answer(200, json.dumps(query_plan(query_of(call))))


def query(store: Store, container: Container, call: Call) -> Answer:
    """One page of a query over documents."""
    wanted = query_of(call)
    _check_order(wanted, container)
    if call.header(KEY) is None and call.header(RANGE) is None:
        if not call.flag("x-ms-documentdb-query-enablecrosspartition"):
            raise bad_request(
                "Cross partition query is required but disabled. Please set "
                "x-ms-documentdb-query-enablecrosspartition to true, specify x-ms-documentdb-partitionkey, or revise "
                "your query to avoid this exception."
            )
        if not wanted.streams and len(store.ranges_of(container.key)) > 1:
            # The client then asks for the plan and puts the partitions' answers together.
            raise bad_request("The provided cross partition query can not be directly served by the gateway.", 1004)
    scope = scope_of(store, container, call)
    page = query_page(store, wanted, scope, count_from(call.header("x-ms-max-item-count")), _token(call))
    return _paged(container, page, page.scanned if wanted.whole else 0)


def _check_order(wanted: Compiled, container: Container) -> None:
    # https://learn.microsoft.com/azure/cosmos-db/index-policy: with several keys, an index of just these is needed,
    # all in this order or all in the opposite one.
    keys = [("/" + "/".join(map(str, path.steps)), descending) for path, descending in wanted.select.order]
    opposite = [(path, not descending) for path, descending in keys]
    plain = [[(path.replace('"', ""), way) for path, way in index] for index in container.composites]
    if len(keys) > 1 and keys not in plain and opposite not in plain:
        raise bad_request(
            "The order by query does not have a corresponding composite index that it can be served from."
        )


def read_feed(store: Store, container: Container, call: Call) -> Answer:
    """One page of all documents."""
    scope = scope_of(store, container, call)
    page = query_page(store, _ALL, scope, count_from(call.header("x-ms-max-item-count")), _token(call))
    return _paged(container, page, page.scanned)


def change_feed(store: Store, container: Container, call: Call) -> Answer:
    """Changed documents in the order of their last change; 304 if there are none."""
    if call.headers["a-im"].lower() != "incremental feed":
        raise bad_request("This development server serves the change feed in its latest-version mode only.")
    scope = scope_of(store, container, call)
    since = 0
    if stamp := call.header("if-modified-since"):
        try:
            since = int(parsedate_to_datetime(stamp).timestamp())
        except ValueError:
            raise bad_request(f"If-Modified-Since {stamp!r} is not a date.") from None
    now = store.lsn()
    after = _lsn(call.header("if-none-match"), now)
    page, last = change_page(store, scope, after, since, count_from(call.header("x-ms-max-item-count")))
    if not page.texts:
        return Answer(304, headers={"etag": f'"{now}"'}, charge=charges.METADATA)
    answer = _paged(container, page, len(page.texts))
    answer.headers["etag"] = f'"{last}"'
    return answer


def scope_of(store: Store, container: Container, call: Call) -> Scope:
    """The documents that the request's headers point at."""
    part, pk = EVERYTHING, None
    if (range_id := call.header(RANGE)) is not None:
        physical = find(store.ranges_of(container.key), range_id)
        part = Slice(physical.minimum, physical.maximum)
    start, end = call.header("x-ms-start-epk"), call.header("x-ms-end-epk")
    if start is not None or end is not None:
        part = part.meet(Slice(_bound(start, EVERYTHING.start), _bound(end, EVERYTHING.end)))
    key = call.header(KEY)
    components = container.key.parse(key) if key is not None else None
    if components is not None:
        epk = container.key.effective(components)
        whole = container.key.covers(components)
        # A blank sorts below every hex digit: nothing but the key itself lies in this slice.
        part = part.meet(Slice(epk, epk + (" " if whole else "FF")))
        pk = canonical(components) if whole else None
    return Scope(container.seq, part, pk)


def _bound(header: str | None, otherwise: str) -> str:
    # Bounds are of any length: those of a hierarchical key may name several levels.
    bound = (header or otherwise).upper()
    if not _BOUND.fullmatch(bound):
        raise bad_request(f"The effective partition key {header!r} is not made of bytes in hexadecimal digits.")
    return bound


def _paged(container: Container, page: Page, bodies: int) -> Answer:
    headers = {"x-ms-item-count": str(len(page.texts))}
    if page.continuation:
        headers["x-ms-continuation"] = page.continuation
    body = feed(container.rid, "Documents", page.texts)
    return Answer(200, body, headers, charges.query(page.scanned, page.size), bodies)


def _token(call: Call) -> str | None:
    return call.header("x-ms-continuation")


def _lsn(etag: str | None, now: int) -> int:
    if etag is None:
        return 0
    if etag == "*":
        return now
    try:
        return int(etag.strip('"'))
    except ValueError:
        raise CosmosError(400, f"The change feed continuation {etag!r} is not valid.") from None


def listing(store: Store, rid: str, kind: str, owner: int, call: Call, wanted: Compiled | None) -> Answer:
    """A page of databases or containers."""
    scope = Scope(owner, EVERYTHING)
    count = count_from(call.header("x-ms-max-item-count"))
    page = query_page(store, wanted or _ALL, scope, count, _token(call))
    headers = {"x-ms-item-count": str(len(page.texts))}
    if page.continuation:
        headers["x-ms-continuation"] = page.continuation
    return Answer(200, feed(rid, kind, page.texts), headers, charges.query(page.scanned, page.size))

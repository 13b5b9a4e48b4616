"""Streaming the answers of a query: slices of the hash space side by side, the next pages asked for ahead of need."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.documents import names_of_field, property_of
from backup_sync.stores.cosmos.ranges import Span

FULL: Span = ("", "FF")

Parameters = list[dict[str, Any]]


def question(
    where: Mapping[str, Any], select: str, condition: str = "", parameters: Sequence[dict[str, Any]] = ()
) -> tuple[str, Parameters]:
    """The text and the parameters of a query. ``where``: that of a service, if it is about the service's documents."""
    terms, params = [condition] if condition else [], list(parameters)
    for number, (name, value) in enumerate(where.items()):
        terms.append(f"{property_of(names_of_field(name))} = @w{number}")
        params.append({"name": f"@w{number}", "value": value})
    return (f"{select} WHERE {' AND '.join(terms)}" if terms else select), params


def pages(
    connection: Connection,
    text: str,
    parameters: Sequence[dict[str, Any]],
    spans: Sequence[Span] | None,
    size: int,
    *,
    eager: bool,
    container: str | None = None,
) -> Generator[list[Any], None, None]:
    """The pages of a query in the order in which they arrive; those of one span keep their order.

    ``spans``: slices of the hash space; None: the whole container. ``size``: the most results a page has. ``container``: its
    name; by default the connection's.
    With ``eager`` the server already works on the next pages while the caller works on those that came: for callers
    that are quick, because an answer that nobody takes for a minute is an answer lost. At most two pages of each span
    are in memory, without ``eager`` one.
    """
    feeds = [
        _feed(connection, text, parameters, span, size, container) for span in ([FULL] if spans is None else spans)
    ]
    asked: dict[asyncio.Task[list[Any] | None], Any] = {}
    try:
        while feeds or asked:
            connection.run(_ask(connection, feeds, asked))
            found = connection.run(_arrived(asked, asyncio.FIRST_COMPLETED if eager else asyncio.ALL_COMPLETED))
            feeds = [feed for feed, page in found if page is not None]
            if eager:
                connection.run(_ask(connection, feeds, asked))
                feeds = []
            yield from (page for _, page in found if page is not None)
    finally:
        if asked:
            connection.run(_give_up(list(asked)))


async def all_rows(
    connection: Connection, text: str, parameters: Sequence[dict[str, Any]], span: Span, size: int
) -> list[Any]:
    """Everything that a query finds in a slice, for those who know that it is not much."""
    feed = _feed(connection, text, parameters, span, size)
    found: list[Any] = []
    while (page := await _page(connection, feed)) is not None:
        found += page
    return found


def _feed(
    connection: Connection,
    text: str,
    parameters: Sequence[dict[str, Any]],
    span: Span,
    size: int,
    container: str | None = None,
) -> Any:
    options: dict[str, Any] = {"max_item_count": size}
    if span != FULL:
        # Without a range the asynchronous client crosses all partitions.
        low, high = span
        options["feed_range"] = {"Range": {"min": low, "max": high, "isMinInclusive": True, "isMaxInclusive": False}}
    return connection.container(container).query_items(text, parameters=list(parameters), **options).by_page()


async def _ask(connection: Connection, feeds: Sequence[Any], asked: dict[asyncio.Task[list[Any] | None], Any]) -> None:
    for feed in feeds:
        asked[asyncio.create_task(_page(connection, feed))] = feed
    # The requests leave now, not when the loop runs the next time: until then the caller works on the last pages.
    await asyncio.sleep(0)


async def _arrived(asked: dict[asyncio.Task[list[Any] | None], Any], until: str) -> list[tuple[Any, list[Any] | None]]:
    done, _ = await asyncio.wait(asked, return_when=until)
    return [(asked.pop(task), task.result()) for task in done]


async def _page(connection: Connection, feed: Any) -> list[Any] | None:
    """The next page; None behind the last one."""

    async def fetch() -> list[Any] | None:
        try:
            return [item async for item in await anext(feed)]
        except StopAsyncIteration:
            return None

    found: list[Any] | None = await connection.answer(fetch)
    return found


async def _give_up(tasks: Sequence[asyncio.Task[list[Any] | None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

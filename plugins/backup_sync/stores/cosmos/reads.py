"""Reading documents by their keys: what is asked in one query, and where.

The SDK's ``read_items`` is not used: of documents that share one partition key it asks for ``c.<first path> = @pk``, which
a hierarchical, nested or hyphenated key turns into a question that finds nothing or is refused, and null into *undefined*.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.cosmos.account import Connection, all_of
from backup_sync.stores.cosmos.documents import Names, key_value, property_of
from backup_sync.stores.cosmos.queries import FULL, Parameters, all_rows
from backup_sync.stores.cosmos.ranges import Span

MOST_KEYS = 1_000
"""Keys of a query."""
MOST_TERMS = 1_000
"""Comparisons with partition key values in a query, of which each becomes an AND."""
MOST_TEXT = 200_000
MOST_BODY = 1_000_000
"""Bytes of a query's text and of its request, where the service takes 512 KB and 2 MB
(https://learn.microsoft.com/azure/cosmos-db/concepts-limits#sql-query-limits)."""
_PARAMETER = 40
"""Bytes of a parameter besides its value: ``{"name":"@k999p2","value":},`` and more."""

KeyOf = Callable[[dict[str, Any]], Key]


@dataclass(frozen=True)
class Asked:
    """A condition for some keys. It is exact but for documents whose key the service does not tell apart from an asked
    one and this package does (0 and -0), so the reader of the answer checks the keys once more."""

    keys: list[Key]
    condition: str
    parameters: Parameters


def asked(keys: Iterable[Key], paths: Sequence[Names]) -> Iterator[Asked]:
    """The conditions that find the documents with these keys, each of them within the limits of a query.

    ``paths``: the container's partition key. Documents of one partition key value are asked for by a list of their ids,
    those of different ones by one OR beside the other: with two lists, of ids and of values, each id would come back
    from each partition that has it.
    """
    groups: dict[tuple[str, ...], list[Key]] = {}
    for key, group in zip(keys := list(keys), _groups(keys, paths), strict=True):
        groups.setdefault(group, []).append(key)
    part = _Part(paths)
    for group, members in groups.items():
        for key in members:
            if not part.took(group, key):
                yield part.asked()
                part = _Part(paths)
                part.took(group, key)
    if part.keys:
        yield part.asked()


def _groups(keys: Sequence[Key], paths: Sequence[Names]) -> Iterator[tuple[str, ...]]:
    """For each key the JSON of its partition key's values; "" for the id, which is asked for anyway."""
    own_id = [names == ("id",) for names in paths]
    if own_id == [True]:
        yield from ((("",),) * len(keys))
        return
    for key in keys:
        values = json.loads(str(key[1]))
        yield tuple("" if same else json.dumps(value) for value, same in zip(values, own_id, strict=True))


class _Part:
    """The keys of one query as they are gathered, and what they will weigh."""

    def __init__(self, paths: Sequence[Names]) -> None:
        self.paths = paths
        self.groups: dict[tuple[str, ...], list[str]] = {}
        self.keys: list[Key] = []
        self.text = self.body = 0
        # The longest that a term can be: with lists, and of numbers of four digits.
        terms = (_term(1_000, ["", ""], (value,) * len(paths), paths)[0] for value in ("{}", "0"))
        self._term = max(len(json.dumps(f" OR {term}")) for term in terms)

    def took(self, group: tuple[str, ...], key: Key) -> bool:
        """Take one more key, unless it is one too many: then it is not taken. The first is always taken."""
        # Everything is sent as escaped ASCII.
        text, body = 0, len(json.dumps(key[0])) + 1
        if group not in self.groups:
            text = self._term
            body += text + sum(map(len, group)) + _PARAMETER * (1 + len(group))
        if self.keys and (
            len(self.keys) == MOST_KEYS
            or (len(self.groups) + bool(text)) * len(self.paths) > MOST_TERMS
            or self.text + text > MOST_TEXT
            or self.body + body > MOST_BODY
        ):
            return False
        self.text += text
        self.body += body
        self.groups.setdefault(group, []).append(str(key[0]))
        self.keys.append(key)
        return True

    def asked(self) -> Asked:
        terms, parameters = [], list[dict[str, Any]]()
        for number, (group, ids) in enumerate(self.groups.items()):
            term, values = _term(number, ids, group, self.paths)
            terms.append(term)
            parameters += values
        return Asked(self.keys, terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})", parameters)


def _term(number: int, ids: Sequence[str], group: tuple[str, ...], paths: Sequence[Names]) -> tuple[str, Parameters]:
    """The condition for some ids of one partition key value."""
    name = f"@i{number}"
    terms = [f'c["id"] = {name}' if len(ids) == 1 else f'ARRAY_CONTAINS({name}, c["id"])']
    parameters = [{"name": name, "value": ids[0] if len(ids) == 1 else list(ids)}]
    for place, (text, names) in enumerate(zip(group, paths, strict=True)):
        if text == "{}":
            terms.append(f"NOT IS_PRIMITIVE({property_of(names)})")
        elif text:
            name = f"@k{number}p{place}"
            terms.append(f"{property_of(names)} = {name}")
            parameters.append({"name": name, "value": json.loads(text)})
    return (terms[0] if len(terms) == 1 else f"({' AND '.join(terms)})"), parameters


class ByKey:
    """Reads a container's documents by their keys.

    ``paths``: its partition key. ``question``: the text and parameters of a query, made of a SELECT, a condition and its
    parameters. ``size``: rows of a page, at most.
    """

    def __init__(
        self,
        connection: Connection,
        paths: Sequence[Names],
        question: Callable[[str, str, Parameters], tuple[str, Parameters]],
        feed_ranges: Callable[[], Awaitable[Sequence[Span]]],
        size: int,
    ) -> None:
        self._connection, self._paths, self._question, self._size = connection, paths, question, size
        self._places = Places(connection, feed_ranges)

    async def rows(self, select: str, keys: Sequence[Key], key_of: KeyOf) -> dict[Key, dict[str, Any]]:
        """What there is of some keys, by key: asked for where it should lie, and what is not there everywhere."""
        by_place = await self._places.sorted(keys)
        found = await self._rows(select, by_place, key_of)
        if by_place.keys() != {FULL}:
            found |= await self.rows_anywhere(select, [key for key in keys if key not in found], key_of)
        return found

    async def rows_anywhere(self, select: str, keys: Sequence[Key], key_of: KeyOf) -> dict[Key, dict[str, Any]]:
        """What there is of some keys, by key, wherever it lies."""
        return await self._rows(select, {FULL: keys}, key_of)

    async def place(self, key: Key) -> str:
        """Where a document lies in the hash space; "" where the SDK does not know."""
        return await self._places.place(key)

    async def _rows(
        self, select: str, by_place: Mapping[Span, Sequence[Key]], key_of: KeyOf
    ) -> dict[Key, dict[str, Any]]:
        """A partition that splits meanwhile may return a document twice."""
        parts = [(span, part) for span, keys in by_place.items() for part in asked(keys, self._paths)]
        found: dict[Key, dict[str, Any]] = {}
        for (_, part), rows in zip(parts, await all_of(self._ask(select, *one) for one in parts), strict=True):
            wanted = set(part.keys)
            found |= {key: row for row in rows if (key := key_of(row)) in wanted}
        return found

    def _ask(self, select: str, span: Span, part: Asked) -> Awaitable[list[dict[str, Any]]]:
        text, parameters = self._question(select, part.condition, part.parameters)
        return all_rows(self._connection, text, parameters, span, self._size)


class Places:
    """Where the documents of a container lie: which of its feed ranges holds a partition key value.

    Only a hint that saves asking all partitions. A partition may have split meanwhile, and a container that was migrated
    from one without partition key places documents by other rules: what is not found there is asked for everywhere.
    """

    def __init__(self, connection: Connection, feed_ranges: Callable[[], Awaitable[Sequence[Span]]]) -> None:
        self._connection, self._feed_ranges = connection, feed_ranges
        self._ranges: Sequence[Span] = ()

    async def sorted(self, keys: Sequence[Key]) -> dict[Span, list[Key]]:
        """The keys by the range that holds them; all under ``FULL`` where there is but one."""
        if not self._ranges:
            self._ranges = await self._feed_ranges()
        if len(self._ranges) < 2:
            return {FULL: list(keys)}
        by_value: dict[str, list[Key]] = {}
        for key in keys:
            by_value.setdefault(str(key[1]), []).append(key)
        lows = [low for low, _ in self._ranges]
        found: dict[Span, list[Key]] = {}
        for members in by_value.values():
            place = bisect_right(lows, await self.place(members[0])) - 1
            found.setdefault(self._ranges[max(0, place)], []).extend(members)
        return found

    async def place(self, key: Key) -> str:
        """The effective partition key of a key's partition key value; "" where the SDK knows none for it."""
        value = key_value(key)
        # With hash version 1 the SDK takes a whole number modulo 2³², which the service does not.
        exact = [_as_double(part) for part in value] if isinstance(value, list) else _as_double(value)
        container = self._connection.container()
        try:
            found = await self._connection.answer(lambda: container.feed_range_from_partition_key(exact))
        except (TypeError, ValueError, OverflowError):
            return ""
        return str(found["Range"]["min"])


def _as_double(value: Any) -> Any:
    return float(value) if type(value) is int else value

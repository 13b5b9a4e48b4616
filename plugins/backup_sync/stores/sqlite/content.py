"""The whole content of rows in one value, byte for byte: for many rows at once, or for each.

SQLite has no hash function, and a function of Python's that is called for each row costs more than reading it. So the
library writes some hundred rows as one JSON text, and that is what is hashed here. JSON holds whole numbers, text and NULL as
they are; for any other value stands its mark (:func:`backup_sync.stores.sqlite.values.mark`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.stores.sql.ranges import KeyRange
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sql.view import View
from backup_sync.stores.sqlite.dialect import affinity, quote
from backup_sync.stores.sqlite.errors import NotJson
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.session import HASH, MARK, SqliteSession

ROWS = 512
"""Rows of a text, at most."""
VALUES = 100
"""Values of an array: a function of SQLite takes 127."""


def content_of(session: SqliteSession, columns: Sequence[Column]) -> str:
    """The expression of a whole number that stands for a row."""
    text = _row([_any(quote(column.name)) for column in columns])
    # As bytes, since text need not be valid UTF-8; but those of UTF-16 would be others.
    return f"{HASH}({f'CAST({text} AS BLOB)' if session.encoding == 'UTF-8' else text})"


def _row(values: Sequence[str]) -> str:
    """Values as one JSON array: of arrays, where they are many."""
    while len(values) > VALUES:
        values = [f"json_array({', '.join(values[n : n + VALUES])})" for n in range(0, len(values), VALUES)]
    return f"json_array({', '.join(values)})"


def _any(name: str) -> str:
    """What stands for a value of any kind."""
    kind = f"typeof({name})"
    return f"CASE WHEN {kind} IN ('integer', 'text', 'null') THEN {name} ELSE {MARK}({name}, {kind}) END"


def _quick(column: Column) -> str:
    """What stands for a value as long as it is no BLOB, which makes JSON refuse the row."""
    name = quote(column.name)
    if affinity(column.type) == "TEXT":
        return name  # numbers become text there as they are stored
    # JSON would write 15 digits of it.
    return f"CASE WHEN typeof({name}) = 'real' THEN {MARK}({name}, 'real') ELSE {name} END"


class SqliteContent:
    """Digests of ranges of a table."""

    def __init__(self, session: SqliteSession, view: View, ranges: SqliteRanges, limits: Limits) -> None:
        self._session, self._view, self._ranges, self._limits = session, view, ranges, limits
        self._rows = min(limits.first_page, ROWS)  # of the next text: those before it say how heavy they are
        columns = view.shape.columns
        self._quick_row = _row(list(map(_quick, columns)))
        self._any_row = _row([_any(quote(column.name)) for column in columns])
        # Asked for when it is needed. The rows of a condition come by one index from one range, and by another from the next.
        self._in_order: bool | None = False if view.chosen else None

    def digest(self, within: KeyRange, *, short: bool = False) -> tuple[int, str]:
        """(rows, hash of them in the order of their keys) of a range; ``short``: of up to ``ROWS`` of them."""
        found, rows = hashlib.blake2b(digest_size=16), 0
        for count, text in self._texts(within, short and self._rows == ROWS):
            rows += count
            # Without the brackets, so that it does not matter how many rows came together.
            found.update(text[1:-1].encode("utf-8", "surrogateescape") + b",")
        return rows, found.hexdigest()

    def _texts(self, within: KeyRange, short: bool) -> Iterator[tuple[int, str]]:
        """(rows, JSON of them) for parts of a range."""
        parts = [within] if short else self._parts(within)
        for part in parts:
            try:
                count, text = self._text(part, self._quick_row)
            except NotJson:
                count, text = self._text(part, self._any_row)
            if count:
                fitting = int(self._limits.page_weight * count / len(text))
                self._rows = max(1, min(fitting, 4 * self._rows, ROWS))
                yield count, text

    def _parts(self, within: KeyRange) -> Iterator[KeyRange]:
        """A range in parts that together weigh little, judged by those before."""
        after = within.after
        while True:
            rest = KeyRange(after, within.upto, within.only)
            found = self._next(rest, self._rows)
            if found is None:
                yield rest
                return
            yield KeyRange(after, found, within.only)
            after = found

    def _next(self, within: KeyRange, rows: int) -> Key | None:
        """The key of the ``rows``-th row of a range that has more."""
        names = ", ".join(quote(column.name) for column in self._view.key)
        where, params = self._ranges.where(within)
        order = ", ".join(self._ranges.ordered)
        sql = f"SELECT {names} FROM {self._view.rows} WHERE {where} ORDER BY {order} LIMIT 1 OFFSET ?"
        found = list(self._session.query(sql, [*params, rows - 1]))
        self._ranges.check(found)
        return found[0] if found else None

    def _text(self, within: KeyRange, row: str) -> tuple[int, str]:
        where, params = self._ranges.where(within)
        rows = f"{self._view.rows} WHERE {where}"
        if self._in_order is None:
            self._in_order = self._comes_in_order(rows, params)
        if not self._in_order:
            rows = f"(SELECT * FROM {rows} ORDER BY {', '.join(self._ranges.ordered)})"  # takes half as long again
        count, text = next(self._session.query(f"SELECT COUNT(*), json_group_array({row}) FROM {rows}", params))
        return count, text

    def _comes_in_order(self, rows: str, params: Sequence[Any]) -> bool:
        """Whether SQLite finds the rows of a range by their rowid, which is the key."""
        plan = list(self._session.query(f"EXPLAIN QUERY PLAN SELECT * FROM {rows}", params))
        return len(plan) == 1 and "USING INTEGER PRIMARY KEY" in str(plan[0][-1])

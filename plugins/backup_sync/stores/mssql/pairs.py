"""Many (key, stamp) pairs in one row, for keys and stamps of nearly any type.

The driver's cost is by the row, and it holds Python's lock meanwhile. So the server joins each column's values over
some dozens of rows, and here they are paired again: a pair is the tuple that a separate row would have been. All
columns are joined in the order of one row number, which keeps them in step (a separate number, since a server that
is not Microsoft's ordered a column that is joined as a number by its text). No joined value is longer than VARCHAR(8000) or
NVARCHAR(4000) can be: with the MAX types the server lost more time than the rows had cost.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Hashable, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, Protocol

from backup_sync.model.diff import Key, Stamp
from backup_sync.model.errors import RetriableError
from backup_sync.stores.base import PairCodec
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.mssql.ranges import big, is_small, whole
from backup_sync.stores.sql.pairs import RowPairs
from backup_sync.stores.sql.session import FETCH_ROWS
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sql.view import View

# Drawn by each process, since any fixed text may be part of a value. The bar stands only at the beginning, so
# that the end of a value and the beginning of a separator never look like one.
SEPARATOR = "|" + secrets.token_hex(6)
NULL = "~" + secrets.token_hex(6)

FEWEST = 14
"""Pairs to a row below which too little is gained."""


@dataclass(frozen=True)
class _Form:
    """How a column's values are joined and taken apart."""

    expression: str  # with {} for the column
    room: int  # values that fit, separators included
    separator: str = ","
    null: str = ""  # only texts can be empty
    national: bool = False
    read: Callable[[str], Any] = str

    def joined(self, name: str, nullable: bool) -> str:
        n = "N" if self.national else ""
        value = self.expression.format(name)
        if nullable:  # STRING_AGG leaves NULL out
            value = f"COALESCE({value}, {n}'{self.null}')"
        return f"STRING_AGG({value}, {n}'{self.separator}') WITHIN GROUP (ORDER BY n)"

    def values(self, joined: str, nullable: bool) -> list[Any]:
        found = joined.split(self.separator)
        if nullable:
            return [None if value == self.null else self.read(value) for value in found]
        return found if self.read is str else list(map(self.read, found))


def _form(column: Column, is_key: bool) -> _Form | None:
    """None: values of this type go a row each.

    DATETIME and MONEY would lose digits by a CAST, and with CONVERT nothing is gained; for TIME the two differ there.
    """
    name = types.base(column.type)
    if name in types.INTEGERS:
        # STRING_AGG takes numbers as they are; the empty text of a NULL makes all of them text.
        return _Form("CAST({} AS VARCHAR(20))" if column.nullable else "{}", 4000 // 21, read=int)
    if column.type == "binary(8)":  # a rowversion's copy
        number = "CONVERT(BIGINT, {})"
        return _Form(f"CAST({number} AS VARCHAR(20))" if column.nullable else number, 4000 // 21, read=_eight_bytes)
    if name == "uniqueidentifier":
        return _Form(str(types.text(name)), 8000 // 37)
    if name in {"date", "datetime2", "datetimeoffset"}:
        return _Form(str(types.text(name)), 8000 // 35)
    if name in {"decimal", "numeric"}:
        # A separate row has decimals as text in the key, and as numbers in the stamp.
        return _Form(str(types.text(name)), 8000 // 46, read=str if is_key else Decimal)
    if name in {"char", "varchar", "nchar", "nvarchar"} and "max" not in column.type:
        n, length = "N" if name[0] == "n" else "", int(column.type.partition("(")[2].rstrip(")"))
        expression = "{}" if "var" in name else f"CAST({{}} AS {n}VARCHAR({length}))"
        room = (4000 if n else 8000) // (max(length, len(NULL)) + len(SEPARATOR))
        return _Form(expression, room, SEPARATOR, NULL, bool(n))
    return None


def _eight_bytes(text: str) -> bytes:
    return int(text).to_bytes(8, "big", signed=True)


PAIRS = 10_000
"""Pairs of a page, about."""


class MssqlPairs(PairCodec, Protocol):
    """A codec that says how its bundles are selected."""

    @property
    def rows(self) -> int:
        """Rows of a page."""

    def sql(self, table: str, where: str) -> str: ...


class PlainPairs(RowPairs):
    """A row to each pair: what any key and stamp can take."""

    rows = PAIRS

    def __init__(self, view: View) -> None:
        super().__init__(len(view.key))
        self._values = [types.outgoing(quote(column.name), column.type) for column in view.key]
        for column in view.fields:
            name = quote(column.name)
            # As text, 9.00 would be higher than 10.00.
            exact = types.base(column.type) in types.EXACT
            self._values.append(name if exact else types.outgoing(name, column.type))
        if view.content is not None:
            self._values.append(quote(view.content.name))
        self._values += map(whole, view.hashed)

    def sql(self, table: str, where: str) -> str:
        return f"SELECT {', '.join(self._values)} FROM {table} WHERE {where}"


class NumberPairs:
    """For a key and a stamp that are one 32-bit number each: both fit into one of 64 bits.

    ``to_a_row``: neighbouring keys whose pairs come as one text. Fewer, and there is more to fetch; more, and fewer texts
    are the same on both sides when a changed row comes every hundred. (STRING_AGG of numbers makes an NVARCHAR(4000), and
    a pair takes up to 21 characters of it.)
    """

    rows = FETCH_ROWS

    def __init__(self, view: View, to_a_row: int) -> None:
        self._key, self._stamp = (quote(column.name) for column in view.columns)
        self._to_a_row = to_a_row

    @staticmethod
    def possible(view: View) -> bool:
        return len(view.key) == len(view.stamp) == 1 and all(map(is_small, view.columns))

    def sql(self, table: str, where: str) -> str:
        pair = f"CONVERT(BIGINT, {self._key}) * {big(2**32)} + {self._stamp}"
        return f"SELECT STRING_AGG({pair}, ',') FROM {table} WHERE {where} GROUP BY {self._key} / {self._to_a_row}"

    def count(self, bundles: Collection[Any]) -> int:
        return sum(text.count(",") + 1 for (text,) in bundles)

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        return set(json.loads(f"[{','.join(text for (text,) in bundles)}]"))

    def split(self, pair: int) -> tuple[Key, Stamp]:
        key = (pair + 2**31) >> 32
        return (key,), (pair - (key << 32),)


class JoinedPairs(RowPairs):
    """Each column's values joined over some dozens of rows."""

    def __init__(self, view: View) -> None:
        super().__init__(len(view.key))
        self._columns = view.columns
        self._label = view.table.label
        self._names = [quote(column.name) for column in self._columns]
        self._order = ", ".join(self._names[: len(view.key)])
        forms = [*(_form(column, True) for column in view.key), *(_form(column, False) for column in view.stamp)]
        self._forms = [form for form in forms if form is not None]
        self.to_a_row = min((form.room for form in self._forms), default=0)
        self.possible = not view.hashed and len(self._forms) == len(forms) and self.to_a_row >= FEWEST

    @property
    def rows(self) -> int:
        return PAIRS // self.to_a_row

    def sql(self, table: str, where: str) -> str:
        joined = [
            form.joined(f"c{number}", column.nullable)
            for number, (form, column) in enumerate(zip(self._forms, self._columns, strict=True))
        ]
        taken = ", ".join(f"{name} AS c{number}" for number, name in enumerate(self._names))
        rank = f"ROW_NUMBER() OVER (ORDER BY {self._order}) AS n"
        return (
            f"SELECT COUNT_BIG(*), {', '.join(joined)} FROM (SELECT {taken}, {rank} FROM {table} WHERE {where}) p "
            f"GROUP BY (n - 1) / {self.to_a_row}"
        )

    def count(self, bundles: Collection[Any]) -> int:
        return sum(count for count, *_ in bundles)

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        return set(chain.from_iterable(map(self.unpack, bundles)))

    def unpack(self, row: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The pairs of one row, as separate rows would have been."""
        count, *texts = row
        columns = [
            form.values(text, column.nullable)
            for form, text, column in zip(self._forms, texts, self._columns, strict=True)
        ]
        if any(len(values) != count for values in columns):
            raise RetriableError(
                f"{self._label}: a key or stamp holds the very text that this process drew to stand between values; "
                "the next attempt draws another"
            )
        return list(zip(*columns, strict=True))


def codec_of(view: View, *, to_a_row: int) -> MssqlPairs:
    """The quickest form that these columns can take. ``to_a_row``: see :class:`NumberPairs`."""
    if NumberPairs.possible(view):
        return NumberPairs(view, to_a_row)
    joined = JoinedPairs(view)
    return joined if joined.possible else PlainPairs(view)

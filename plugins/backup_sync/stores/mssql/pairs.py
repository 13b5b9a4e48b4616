"""Many (key, stamp) pairs in one row, for keys and stamps of nearly any type.

The driver's cost is by the row, and it holds Python's lock meanwhile. So the server joins each column's values over
some dozens of rows, and here they are paired again: a pair is the tuple that a row of its own would have been. All
columns are joined in the order of one row number, which keeps them in step (a number of its own, since a server that
is not Microsoft's ordered a column that is joined as a number by its text). No joined value is longer than VARCHAR(8000) or
NVARCHAR(4000) can be: with the MAX types the server lost more time than the rows had cost.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backup_sync.model.errors import RetriableError
from backup_sync.stores.mssql import types
from backup_sync.stores.sql.shape import Column

# Drawn anew by each process, since any fixed text may be part of a value. The bar stands only at the beginning, so
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
        # A row of its own has decimals as text in the key, and as numbers in the stamp.
        return _Form(str(types.text(name)), 8000 // 46, read=str if is_key else Decimal)
    if name in {"char", "varchar", "nchar", "nvarchar"} and "max" not in column.type:
        n, length = "N" if name[0] == "n" else "", int(column.type.partition("(")[2].rstrip(")"))
        expression = "{}" if "var" in name else f"CAST({{}} AS {n}VARCHAR({length}))"
        room = (4000 if n else 8000) // (max(length, len(NULL)) + len(SEPARATOR))
        return _Form(expression, room, SEPARATOR, NULL, bool(n))
    return None


def _eight_bytes(text: str) -> bytes:
    return int(text).to_bytes(8, "big", signed=True)


class PackedPairs:
    """The packed pairs of one table. ``label``: how messages call its end."""

    def __init__(self, key: Sequence[Column], stamp: Sequence[Column], label: str) -> None:
        self._columns = (*key, *stamp)
        self._label = label
        self._key_width = len(key)
        forms = [*(_form(column, True) for column in key), *(_form(column, False) for column in stamp)]
        self._forms = [form for form in forms if form is not None]
        self.to_a_row = min((form.room for form in self._forms), default=0)
        self.possible = len(self._forms) == len(forms) and self.to_a_row >= FEWEST

    def sql(self, table: str, names: Sequence[str], where: str) -> str:
        """``names``: the columns' quoted names, key first."""
        joined = [
            form.joined(f"c{number}", column.nullable)
            for number, (form, column) in enumerate(zip(self._forms, self._columns, strict=True))
        ]
        taken = ", ".join(f"{name} AS c{number}" for number, name in enumerate(names))
        rank = f"ROW_NUMBER() OVER (ORDER BY {', '.join(names[: self._key_width])}) AS n"
        return (
            f"SELECT COUNT_BIG(*), {', '.join(joined)} FROM (SELECT {taken}, {rank} FROM {table} WHERE {where}) p "
            f"GROUP BY (n - 1) / {self.to_a_row}"
        )

    def unpack(self, row: Sequence[Any]) -> list[tuple[Any, ...]]:
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

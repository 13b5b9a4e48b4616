"""A range of keys as T-SQL's WHERE has it, and the digest of its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.sql.digest import DIGEST_P, DIGEST_Q, MIX, SMALL_COLUMNS, summed
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import Column

CONTENT_P = 2**40 - 87
"""A prime: the sum of the remainders of eight million rows fits into 64 bits."""


class MssqlRanges:
    """``key``: the key columns, in key order."""

    def __init__(self, key: Sequence[Column]) -> None:
        self._key = key

    def where(self, within: KeyRange) -> tuple[str, list[Any]]:
        """The condition and its parameters."""
        terms, params = ["1 = 1"], list[Any]()
        if within.after is not None:
            terms.append(self._beyond(within.after, ">", ">", params))
        if within.upto is not None:
            terms.append(self._beyond(within.upto, "<", "<=", params))
        for even, pieces in within.only:
            terms.append(f"{self.piece(even)} IN (SELECT CONVERT(INT, [value]) FROM OPENJSON(%s))")
            params.append(json.dumps(pieces))
        return " AND ".join(terms), params

    def _beyond(self, key: Key, strictly: str, finally_: str, params: list[Any]) -> str:
        """``(a, b) > (x, y)`` written out, since T-SQL has no row comparison: a > x OR (a = x AND b > y)."""
        alternatives = []
        for depth in range(len(key)):
            terms = []
            for position in range(depth + 1):
                column = self._key[position]
                operator = "=" if position < depth else finally_ if depth == len(key) - 1 else strictly
                placeholder, value = types.literal(key[position], column.type, column.collation)
                terms.append(f"{quote(column.name)} {operator} {placeholder}")
                params.append(value)
            alternatives.append(" AND ".join(terms))
        return "(" + " OR ".join(f"({terms})" for terms in alternatives) + ")"

    def piece(self, even: EvenCut) -> str:
        """The number of the piece that a key falls into."""
        name = quote(self._key[0].name)
        return (
            f"(CASE WHEN {name} < {big(even.first)} THEN 0 WHEN {name} >= {big(even.last_start)} THEN {even.count - 1} "
            f"ELSE (CONVERT(BIGINT, {name}) - {big(even.first)}) / {big(even.width)} END)"
        )

    def number(self, even: EvenCut) -> str:
        """The number of a key's piece, which for keys beyond those that were cut may lie beyond the pieces as well.

        Digests can be added up, so that what :meth:`piece` decides for each row can be decided for each group. Only
        where 64 bits have room for the difference of any two keys.
        """
        column = self._key[0]
        if types.base(column.type) == "bigint":
            return self.piece(even)
        return f"(CONVERT(BIGINT, {quote(column.name)}) - ({even.first})) / {even.width}"

    def content_sql(self, table: str, content: Column, within: KeyRange, even: EvenCut | None) -> tuple[str, list[Any]]:
        """As :meth:`digest_sql`, of the numbers that stand for whole rows. They are hashes already, so that their sum will do."""
        where, params = self.where(within)
        inner = f"SELECT {self.number(even) if even else '0'} AS piece, {quote(content.name)} AS mix"
        return (
            f"SELECT piece, COUNT_BIG(*), SUM(mix % {big(CONTENT_P)}) FROM ({inner} FROM {table} WHERE {where}) d GROUP BY piece"
        ), params

    def digest_sql(
        self, table: str, stamp: Sequence[Column], within: KeyRange, even: EvenCut | None
    ) -> tuple[str, list[Any]]:
        """A statement with rows of (piece, count, sums …), and its parameters."""
        columns = (*self._key, *stamp)
        small = len(columns) <= SMALL_COLUMNS and all(is_small(column) for column in columns)
        terms = [str(MIX[0])]
        for number, column in enumerate(columns, start=1):
            if small:
                terms.append(f"CONVERT(BIGINT, {quote(column.name)}) * {MIX[2 * number]}")
                continue
            value = f"{whole(column)} % {DIGEST_P} * {MIX[2 * number]}"
            terms.append(
                f"COALESCE({value}, {MIX[2 * number + 1]}) % {DIGEST_P}" if column.nullable else f"{value} % {DIGEST_P}"
            )
        where, params = self.where(within)
        # The mix is computed in a derived table so that it is written, and evaluated, once for each row.
        inner = f"SELECT {self.number(even) if even else '0'} AS piece, ({summed(terms)}) % {DIGEST_P} AS mix"
        return (
            f"SELECT piece, COUNT_BIG(*), SUM(mix * mix % {DIGEST_Q}), SUM(mix) "
            f"FROM ({inner} FROM {table} WHERE {where}) d GROUP BY piece"
        ), params


def whole(column: Column) -> str:
    """A whole number that stands for the column's value: itself, or 8 bytes of a hash of its text."""
    name = quote(column.name)
    if types.base(column.type) in types.INTEGERS:
        return f"CONVERT(BIGINT, {name})"
    if types.base(column.type) in types.BINARIES:
        return f"CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', {name})))"
    if types.base(column.type) in types.FLOATS:
        text = f"CONVERT(VARCHAR(40), {name}, 3)"  # all 17 digits; without a style it would be six
    else:
        text = types.outgoing(name, column.type)
    return f"CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), {text}))))"


def is_small(column: Column) -> bool:
    """Whether its values are 32-bit numbers, all of them."""
    return types.base(column.type) in types.INTEGERS - {"bigint"} and not column.nullable


def big(number: int) -> str:
    """A literal beyond INT is a NUMERIC in T-SQL, and a division by or of one is no whole-number division."""
    return f"CONVERT(BIGINT, {number})"

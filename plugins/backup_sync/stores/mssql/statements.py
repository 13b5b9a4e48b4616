"""The T-SQL text of a table's statements: everything that can be said without a connection."""

from __future__ import annotations

import json
from abc import ABC
from collections.abc import Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError
from backup_sync.stores.mssql import types
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.session import Row, SqlSession
from backup_sync.stores.sql.shape import SYNCED_AT, Column, Difference, TableShape, Types
from backup_sync.stores.sql.store import DIGEST_P, DIGEST_Q, MIX, SMALL_COLUMNS, SqlStore, summed

MSSQL_TYPES = {
    "uuid": "UNIQUEIDENTIFIER",
    "text": "NVARCHAR(MAX)",
    "count": "BIGINT",
    "flag": "BIT",
    "moment": "DATETIME2(7)",
}
PACKED_KEYS = 32
"""Numbers whose pairs come as one text. Fewer, and there is more to fetch; more, and fewer texts are the same on both
sides when a changed row comes every hundred. (STRING_AGG of numbers makes an NVARCHAR(4000), and a pair takes up to 21 characters of it.)"""


def quote(name: str) -> str:
    """A quoted identifier. Raises ConfigurationError for the few names that the driver would take for parameters."""
    if "%s" in name or "%d" in name:
        raise ConfigurationError(f"the name {name} holds a %s or %d, which the SQL Server driver cannot pass on")
    return "[" + name.replace("]", "]]") + "]"


def escaped(text: str) -> str:
    """Text inside N'…', for the few places where a statement takes no parameter."""
    return text.replace("'", "''")


def _big(number: int) -> str:
    """A literal beyond INT is a NUMERIC in T-SQL, and a division by or of one is no whole-number division."""
    return f"CONVERT(BIGINT, {number})"


def _posted_column(column: Column, field: str, position: int, name: str) -> tuple[str, str]:
    """A column of a posted JSON row: how OPENJSON takes it, and how it is selected as ``name``."""
    form = types.incoming(column.type, column.collation)
    collate = f" COLLATE {column.collation}" if column.collation else ""
    return f"{field} {form.json_type} '$[{position}]'", f"{form.expression.format(field)}{collate} AS {name}"


def _derived(columns: Sequence[tuple[str, str]]) -> str:
    selected = ", ".join(expression for _, expression in columns)
    return f"(SELECT {selected} FROM OPENJSON(%s) WITH ({', '.join(taken for taken, _ in columns)}))"


def _rows_if_there(session: SqlSession, table: str, sql: str, params: Sequence[Any]) -> Iterator[Row]:
    # What stands behind ELSE is bound to its table only when it runs.
    return session.query(f"IF OBJECT_ID(N'{escaped(table)}') IS NULL SELECT N'' WHERE 1 = 0 ELSE {sql}", params)


DIALECT = Dialect(
    quote=quote,
    kinds=MSSQL_TYPES,
    slot=lambda kind: f"CONVERT({MSSQL_TYPES[kind]}, %s)",
    newest_first=lambda limit: (f"TOP ({int(limit)})", ""),
    rows_if_there=_rows_if_there,
    types=Types(same=types.same, widens=types.widens),
)


class MssqlStatements(SqlStore, ABC):
    """Renders statements; values are always left to parameters."""

    name: str
    dialect = DIALECT

    def create_table_sql(self, shape: TableShape) -> str:
        """Plain columns only: no identity, computed column, default or trigger may change what is written."""
        lines = []
        for column in shape.columns:
            collate = f" COLLATE {column.collation}" if column.collation else ""
            lines.append(f"{quote(column.name)} {column.type}{collate} {'NULL' if column.nullable else 'NOT NULL'}")
        lines.append(f"{quote(SYNCED_AT)} DATETIME2(7) NOT NULL")
        lines.append(f"PRIMARY KEY ({', '.join(quote(name) for name in shape.key)})")
        return f"CREATE TABLE {self.name} ({', '.join(lines)})"

    def unfilled_sql(self) -> str:
        # What stands behind ELSE is bound to its table only when it runs.
        return (
            f"IF OBJECT_ID(N'{escaped(self.unfilled_name)}') IS NULL SELECT N'' WHERE 1 = 0 "
            f"ELSE SELECT ColumnName FROM {self.unfilled_name} WHERE TableName = {DIALECT.slot('text')}"
        )

    def alter_sql(self, found: Difference, default_collation: str | None) -> list[str]:
        """One column a statement; all of them are sent within one transaction.

        ALTER COLUMN takes the database's own collation and NULL where it is not told otherwise, so what is told is
        the collation where it is another one, and NOT NULL where it stays.
        """
        statements = []
        for column in found.added:
            collate = f" COLLATE {column.collation}" if column.collation else ""
            statements.append(f"ALTER TABLE {self.name} ADD {quote(column.name)} {column.type}{collate} NULL")
        loosened = {column.name for column in found.loosened}
        for column in (*found.widened, *found.loosened):
            collate = f" COLLATE {column.collation}" if column.collation not in (None, default_collation) else ""
            null = " NULL" if column.name in loosened else "" if column.nullable else " NOT NULL"
            statements.append(f"ALTER TABLE {self.name} ALTER COLUMN {quote(column.name)} {column.type}{collate}{null}")
        return statements

    def no_value(self, column: Column) -> str:
        return f"CAST(NULL AS {column.type})"

    def is_integer(self, column: Column) -> bool:
        return types.base(column.type) in types.INTEGERS

    def _where(self, within: KeyRange, prefix: str = "") -> tuple[str, list[Any]]:
        terms, params = ["1 = 1"], list[Any]()
        if within.after is not None:
            terms.append(self._beyond(within.after, ">", ">", params, prefix))
        if within.upto is not None:
            terms.append(self._beyond(within.upto, "<", "<=", params, prefix))
        for even, pieces in within.only:
            terms.append(f"{self._piece(even)} IN (SELECT CONVERT(INT, [value]) FROM OPENJSON(%s))")
            params.append(json.dumps(pieces))
        return " AND ".join(terms), params

    def _beyond(self, key: Key, strictly: str, finally_: str, params: list[Any], prefix: str) -> str:
        """``(a, b) > (x, y)`` written out, since T-SQL has no row comparison: a > x OR (a = x AND b > y)."""
        alternatives = []
        for depth in range(len(key)):
            terms = []
            for position in range(depth + 1):
                column = self.key_columns[position]
                operator = "=" if position < depth else finally_ if depth == len(key) - 1 else strictly
                placeholder, value = types.literal(key[position], column.type, column.collation)
                terms.append(f"{prefix}{quote(column.name)} {operator} {placeholder}")
                params.append(value)
            alternatives.append(" AND ".join(terms))
        return "(" + " OR ".join(f"({terms})" for terms in alternatives) + ")"

    def _piece(self, even: EvenCut) -> str:
        name = quote(self.key_columns[0].name)
        return (
            f"(CASE WHEN {name} < {_big(even.first)} THEN 0 WHEN {name} >= {_big(even.last_start)} THEN {even.count - 1} "
            f"ELSE (CONVERT(BIGINT, {name}) - {_big(even.first)}) / {_big(even.width)} END)"
        )

    def _number(self, even: EvenCut) -> str:
        """The number of a key's piece, which for keys beyond those that were cut may lie beyond the pieces as well.

        Digests can be added up, so that what :meth:`_piece` decides for each row can be decided for each group. Only
        where 64 bits have room for the difference of any two keys.
        """
        column = self.key_columns[0]
        if types.base(column.type) == "bigint":
            return self._piece(even)
        return f"(CONVERT(BIGINT, {quote(column.name)}) - ({even.first})) / {even.width}"

    def digest_sql(self, within: KeyRange, even: EvenCut | None) -> tuple[str, list[Any]]:
        columns = (*self.key_columns, *self.stamp_columns)
        small = len(columns) <= SMALL_COLUMNS and all(self._is_small(column) for column in columns)
        terms = [str(MIX[0])]
        for number, column in enumerate(columns, start=1):
            if small:
                terms.append(f"CONVERT(BIGINT, {quote(column.name)}) * {MIX[2 * number]}")
                continue
            value = f"{self._whole(column)} % {DIGEST_P} * {MIX[2 * number]}"
            terms.append(
                f"COALESCE({value}, {MIX[2 * number + 1]}) % {DIGEST_P}" if column.nullable else f"{value} % {DIGEST_P}"
            )
        where, params = self._where(within)
        # The mix is computed in a derived table so that it is written, and evaluated, once for each row.
        inner = f"SELECT {self._number(even) if even else '0'} AS piece, ({summed(terms)}) % {DIGEST_P} AS mix"
        return (
            f"SELECT piece, COUNT_BIG(*), SUM(mix * mix % {DIGEST_Q}), SUM(mix) "
            f"FROM ({inner} FROM {self.compared} WHERE {where}) d GROUP BY piece"
        ), params

    def _whole(self, column: Column) -> str:
        """A whole number that stands for the column's value: itself, or 8 bytes of a hash of its text."""
        name = quote(column.name)
        if self.is_integer(column):
            return f"CONVERT(BIGINT, {name})"
        if types.base(column.type) in types.BINARIES:
            return f"CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', {name})))"
        if types.base(column.type) in types.FLOATS:
            text = f"CONVERT(VARCHAR(40), {name}, 3)"  # all 17 digits; without a style it would be six
        else:
            text = types.outgoing(name, column.type)
        return f"CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('MD5', CONVERT(NVARCHAR(MAX), {text}))))"

    def _packable(self) -> bool:
        """Whether key and stamp are one 32-bit number each, so that both fit into one of 64 bits."""
        columns = (*self.key_columns, *self.stamp_columns)
        return len(columns) == 2 and all(self._is_small(column) for column in columns)

    def _is_small(self, column: Column) -> bool:
        return types.base(column.type) in types.INTEGERS - {"bigint"} and not column.nullable

    def packed_stamps_sql(self, within: KeyRange) -> tuple[str, list[Any]]:
        key, stamp = (quote(column.name) for column in (*self.key_columns, *self.stamp_columns))
        where, params = self._where(within)
        return (
            f"SELECT STRING_AGG(CONVERT(BIGINT, {key}) * {_big(2**32)} + {stamp}, ',') FROM {self.compared} WHERE {where} "
            f"GROUP BY {key} / {PACKED_KEYS}"
        ), params

    def _post(self, keys: Sequence[Key]) -> str:
        return types.posted([[i, *map(types.to_json, key)] for i, key in enumerate(keys)])

    def _posted(self) -> str:
        """A derived table of the posted keys, in the key columns' own types: (i, k0, k1 …)."""
        keys = [
            _posted_column(column, f"k{number}", number + 1, f"k{number}")
            for number, column in enumerate(self.key_columns)
        ]
        return _derived([("i int '$[0]'", "i"), *keys])

    def _join(self) -> str:
        return " AND ".join(f"t.{quote(column.name)} = p.k{number}" for number, column in enumerate(self.key_columns))

    def _posted_rows(self) -> str:
        """A derived table of posted rows, in the columns' own names and types."""
        assert self.shape is not None
        return _derived(
            [
                _posted_column(column, f"c{number}", number, quote(column.name))
                for number, column in enumerate(self.shape.columns)
            ]
        )

    def insert_sql(self) -> str:
        assert self.shape is not None
        names = ", ".join(quote(column.name) for column in self.shape.columns)
        same = " AND ".join(f"t.{quote(column.name)} = s.{quote(column.name)}" for column in self.key_columns)
        return (
            f"INSERT INTO {self.name} ({names}, {quote(SYNCED_AT)}) "
            f"SELECT {names}, CONVERT(DATETIME2(7), %s) FROM {self._posted_rows()} s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.name} t WHERE {same})"
        )

    def update_sql(self) -> str:
        assert self.shape is not None
        # Key columns are set as well: under a case-insensitive collation an equal key may be spelled anew.
        settings = ", ".join(f"{quote(column.name)} = s.{quote(column.name)}" for column in self.shape.columns)
        same = " AND ".join(f"t.{quote(column.name)} = s.{quote(column.name)}" for column in self.key_columns)
        return (
            f"UPDATE t SET {settings}, {quote(SYNCED_AT)} = CONVERT(DATETIME2(7), %s) "
            f"FROM {self.name} t JOIN {self._posted_rows()} s ON {same}"
        )

"""Keys and rows sent as one JSON parameter, which OPENJSON turns into a set.

Types and collations are given column by column, so that what is posted is compared as the column's own values are.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup_sync.model.diff import Key
from backup_sync.stores.base import Record
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.sql.shape import Column


def keys_json(keys: Sequence[Key]) -> str:
    """The parameter of :func:`posted_keys`."""
    return types.posted([[i, *map(types.to_json, key)] for i, key in enumerate(keys)])


def rows_json(rows: Sequence[Record]) -> str:
    """The parameter of :func:`posted_rows`."""
    return types.posted([[types.to_json(value) for value in row] for row in rows])


def posted_keys(columns: Sequence[Column]) -> str:
    """A derived table of posted keys, in the key columns' own types: (i, k0, k1 …)."""
    keys = [_column(column, f"k{number}", number + 1, f"k{number}") for number, column in enumerate(columns)]
    return _derived([("i int '$[0]'", "i"), *keys])


def posted_rows(columns: Sequence[Column]) -> str:
    """A derived table of posted rows, in the columns' own names and types."""
    return _derived(
        [_column(column, f"c{number}", number, quote(column.name)) for number, column in enumerate(columns)]
    )


def found_by(columns: Sequence[Column]) -> str:
    """The condition that a row ``t`` of the table has the posted key ``p``."""
    return " AND ".join(f"t.{quote(column.name)} = p.k{number}" for number, column in enumerate(columns))


def _column(column: Column, field: str, position: int, name: str) -> tuple[str, str]:
    """A column of a posted JSON row: how OPENJSON takes it, and how it is selected as ``name``."""
    form = types.incoming(column.type, column.collation)
    collate = f" COLLATE {column.collation}" if column.collation else ""
    return f"{field} {form.json_type} '$[{position}]'", f"{form.expression.format(field)}{collate} AS {name}"


def _derived(columns: Sequence[tuple[str, str]]) -> str:
    selected = ", ".join(expression for _, expression in columns)
    return f"(SELECT {selected} FROM OPENJSON(%s) WITH ({', '.join(taken for taken, _ in columns)}))"

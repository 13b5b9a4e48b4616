"""SQL Server's words: names, types, and how to ask whether a table is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.stores.mssql import types
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import Row, SqlSession
from backup_sync.stores.sql.shape import Types

MSSQL_TYPES = {
    "uuid": "UNIQUEIDENTIFIER",
    "text": "NVARCHAR(MAX)",
    "count": "BIGINT",
    "flag": "BIT",
    "moment": "DATETIME2(7)",
    "real": "FLOAT",
}


def quote(name: str) -> str:
    """A quoted identifier. Raises ConfigurationError for the few names that the driver would take for parameters."""
    if "%s" in name or "%d" in name:
        raise ConfigurationError(f"the name {name} holds a %s or %d, which the SQL Server driver cannot pass on")
    return "[" + name.replace("]", "]]") + "]"


def escaped(text: str) -> str:
    """Text inside N'…', for the few places where a statement takes no parameter."""
    return text.replace("'", "''")


def _rows_if_there(session: SqlSession, table: str, sql: str, params: Sequence[Any]) -> Iterator[Row]:
    # What stands behind ELSE is bound to its table only when it runs.
    return session.query(f"IF OBJECT_ID(N'{escaped(table)}') IS NULL SELECT N'' WHERE 1 = 0 ELSE {sql}", params)


DIALECT = Dialect(
    quote=quote,
    kinds=MSSQL_TYPES,
    slot=lambda kind: f"CONVERT({MSSQL_TYPES[kind]}, %s)",
    newest_first=lambda limit: (f"TOP ({int(limit)})", ""),
    exists=lambda session, table: session.scalar("SELECT OBJECT_ID(%s)", (table,)) is not None,
    rows_if_there=_rows_if_there,
    no_value=lambda column: f"CAST(NULL AS {column.type})",
    is_integer=lambda column: types.base(column.type) in types.INTEGERS,
    types=Types(same=types.same, widens=types.widens),
)

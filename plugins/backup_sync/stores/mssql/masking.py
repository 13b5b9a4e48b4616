"""What stands in place of values that the backup must not have. The key is said once to each connection, and to no statement.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-set-session-context-transact-sql
"""

from __future__ import annotations

from dataclasses import replace

from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import DIALECT, quote
from backup_sync.stores.sql.masking import Hiding
from backup_sync.stores.sql.shape import Column

CONTEXT = "backup_sync_mask"
INTRODUCTION = f"EXEC sp_set_session_context @key = N'{CONTEXT}', @value = %s, @read_only = 1"
"""To be run on each connection to a source, with the key."""


def _hashed(column: Column) -> Column:
    if types.base(column.type) in types.BINARIES:
        raise ValueError("mask it with null, or exclude it")
    return replace(column, type="binary(32)", collation=None)


def _hash_of(column: Column, name: str) -> str:
    """The SHA-256 of key and value, both as the bytes of their UTF-16. All keys are of one length."""
    floats = types.base(column.type) in types.FLOATS
    value = f"CONVERT(VARCHAR(40), {name}, 3)" if floats else types.outgoing(name, column.type)
    key = f"CONVERT(NVARCHAR(MAX), SESSION_CONTEXT(N'{CONTEXT}'))"
    bytes_ = f"CONVERT(VARBINARY(MAX), {key} + CONVERT(NVARCHAR(MAX), {value}))"
    return f"CONVERT(BINARY(32), HASHBYTES('SHA2_256', {bytes_}))"


def _nothing(column: Column) -> str:
    return DIALECT.no_value(column) + (f" COLLATE {column.collation}" if column.collation else "")


HIDING = Hiding(hashed=_hashed, hash_of=_hash_of, nothing=_nothing, quote=quote)

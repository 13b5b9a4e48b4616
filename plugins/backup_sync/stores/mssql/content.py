"""The whole content of a row as one number, computed by SQL Server: a hash of its columns' texts, one behind the other.

Every column in its wire form (``types.py``), in Unicode: so two rows are the same here if and only if a copy made of one
is the other. A text has its length in bytes in front, and NULL is a mark that no value has, so that no two rows have one text.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.sql.shape import Column

LONGEST = 4_000
"""What + of NVARCHARs keeps, unless there is a MAX type among them, which costs more."""
SHORT = 45
"""Characters of what stands for a value that is no text, at most."""


def content_of(columns: Sequence[Column]) -> str:
    """The expression of a BIGINT: the first 8 bytes of a SHA-256."""
    collations = {column.collation for column in columns if types.base(column.type) in types.TEXTS}
    parts = [_part(column, several=len(collations) > 1) for column in columns]
    length = sum(map(_length, columns))
    text = " + N'|' + ".join(["CONVERT(NVARCHAR(MAX), N'')"] * (length > LONGEST) + parts)
    return _hashed(text)


def _hashed(value: str) -> str:
    return f"CONVERT(BIGINT, CONVERT(BINARY(8), HASHBYTES('SHA2_256', {value})))"


def _part(column: Column, *, several: bool) -> str:
    """The text of a column. ``several``: columns have different collations, and could not be joined."""
    name = types.base(column.type)
    value = quote(column.name)
    if name in types.INTEGERS | {"bit"}:
        text = f"CAST({value} AS VARCHAR(20))"
    elif name in types.FLOATS:
        text = f"CONVERT(VARCHAR(40), {value}, 3)"  # all 17 digits
    elif name in types.BINARIES:
        text = f"CAST({_hashed(value)} AS VARCHAR(20))"  # rather than hex, which is twice as long as the value
    elif name in types.TEXTS:
        collate = " COLLATE Latin1_General_BIN2" if several else ""
        room = "MAX" if _length(column) > LONGEST else _declared(column)
        text = f"CAST(DATALENGTH({value}) AS VARCHAR(20)) + N':' + CAST({value} AS NVARCHAR({room})){collate}"
    else:
        text = (types.text(column.type) or types.outgoing("{}", column.type)).format(value)
    return f"COALESCE({text}, N'-')" if column.nullable else text


def _length(column: Column) -> int:
    """Characters of a column's text, at most; those of a MAX type are more than any number."""
    name = types.base(column.type)
    if name not in types.TEXTS | {"xml"}:
        return SHORT
    declared = _declared(column)
    return int(declared) + SHORT if declared.isdecimal() else 2**31


def _declared(column: Column) -> str:
    """``50`` of ``varchar(50)``; empty where the type has no length."""
    return column.type.partition("(")[2].rstrip(")")

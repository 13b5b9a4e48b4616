"""Values of the services file as SQLite's statements have them."""

from __future__ import annotations

from backup_sync.model.where import Value
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sqlite.dialect import affinity

LARGEST = 2**63


def literal(column: Column, value: Value) -> str:
    """See :data:`backup_sync.stores.sql.where.Literal`. Any column may hold anything; what its declared type makes of a value
    counts."""
    kind = affinity(column.type)
    if isinstance(value, str):
        if kind in ("INTEGER", "REAL"):
            raise ValueError("give a number")
        return "'" + value.replace("'", "''") + "'"
    if kind == "TEXT":
        raise ValueError("give text, in quotes")
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        raise ValueError("give a number of 64 bits at most")
    return str(int(value)) if isinstance(value, int) else repr(value)

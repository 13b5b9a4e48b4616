"""The statements that make and alter a copy's table. ``name``: the table's, quoted."""

from __future__ import annotations

from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.sql.shape import SYNCED_AT, Difference, TableShape


def create_table_sql(name: str, shape: TableShape, *, copy: bool = True) -> str:
    """Plain columns only: no identity, computed column, default or trigger may change what is written. ``copy``: with the
    column of our own."""
    lines = []
    for column in shape.columns:
        collate = f" COLLATE {column.collation}" if column.collation else ""
        lines.append(f"{quote(column.name)} {column.type}{collate} {'NULL' if column.nullable else 'NOT NULL'}")
    if copy:
        lines.append(f"{quote(SYNCED_AT)} DATETIME2(7) NOT NULL")
    lines.append(f"PRIMARY KEY ({', '.join(quote(name) for name in shape.key)})")
    return f"CREATE TABLE {name} ({', '.join(lines)})"


def alter_sql(name: str, found: Difference, default_collation: str | None) -> list[str]:
    """One column a statement; all of them are sent within one transaction.

    ALTER COLUMN falls back to the database's collation and to NULL, so a statement says the collation where it is
    another one, and NOT NULL where it stays.
    """
    statements = []
    for column in found.added:
        collate = f" COLLATE {column.collation}" if column.collation else ""
        statements.append(f"ALTER TABLE {name} ADD {quote(column.name)} {column.type}{collate} NULL")
    loosened = {column.name for column in found.loosened}
    for column in (*found.widened, *found.loosened):
        collate = f" COLLATE {column.collation}" if column.collation not in (None, default_collation) else ""
        null = " NULL" if column.name in loosened else "" if column.nullable else " NOT NULL"
        statements.append(f"ALTER TABLE {name} ALTER COLUMN {quote(column.name)} {column.type}{collate}{null}")
    return statements

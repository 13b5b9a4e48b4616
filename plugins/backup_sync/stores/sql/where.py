"""The rows of a source that a service is about, as a condition in SQL.

A condition is part of the table that is read (``view.py``), so it holds literals and no parameters: each is written by the
dialect, by the type of the column that it is compared with. The database compares, by the column's own collation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backup_sync.model.where import AT_LEAST, BELOW, IN, IS_NULL, Condition, Value
from backup_sync.stores.sql.shape import Column

ALIAS = "f"
"""What the table is called in a condition. A bare name that is no column would be a text to SQLite."""

Literal = Callable[[Column, Value], str]
"""A value as it stands in a statement. Raises ValueError, in words that say what to give, for one that is not of the column's type."""

Named = Callable[[Column], str]
"""A column as it is compared, ``f.`` in front."""


def condition_sql(conditions: Sequence[tuple[Column, Condition]], named: Named, plain: Named, literal: Literal) -> str:
    """All of the conditions. ``named``: how a column is compared; ``plain``: how it stands there. Raises what ``literal`` raises."""
    return " AND ".join(_sql(column, one, named, plain, literal) for column, one in conditions)


def _sql(column: Column, one: Condition, named: Named, plain: Named, literal: Literal) -> str:
    if one.operator == IS_NULL:
        return f"{plain(column)} IS {'' if one.values[0] else 'NOT '}NULL"
    values = [literal(column, value) for value in one.values]
    if one.operator in (AT_LEAST, BELOW):
        return f"{named(column)} {'>=' if one.operator == AT_LEAST else '<'} {values[0]}"
    listed = f"= {values[0]}" if len(values) == 1 else f"IN ({', '.join(values)})"
    if one.operator == IN:
        return f"{named(column)} {listed}"
    listed = f"<> {values[0]}" if len(values) == 1 else f"NOT {listed}"
    # NULL is none of these values, though SQL would not say so.
    return f"({named(column)} {listed} OR {plain(column)} IS NULL)"

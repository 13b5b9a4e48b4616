"""What of a table is read and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table


@dataclass(frozen=True)
class View:
    """A table, and the columns of ``shape`` that make up keys and stamps.

    ``fields``: the configured part of a stamp; ``content``: a column that stands for the whole row, and is part of it behind
    them; ``hashed``: columns that are part of it behind that. They enter as a hash, because a pair has to stay small
    whatever they hold. ``compared``: what keys and stamps are selected from.
    """

    table: Table
    shape: TableShape
    key: tuple[Column, ...]
    fields: tuple[Column, ...]
    hashed: tuple[Column, ...]
    compared: str
    content: Column | None = None

    @classmethod
    def of(
        cls,
        dialect: Dialect,
        table: Table,
        shape: TableShape,
        *,
        compare_also: Sequence[str] = (),
        lacking: Sequence[str] = (),
        content: str = "",
        stamps: bool = True,
    ) -> View:
        """``compare_also``: columns to be hashed. ``lacking``: columns that the table is yet to get, read as NULL.
        ``content``: the expression of a whole number that stands for the whole row; empty: it is not compared. ``stamps``: whether the
        configured fields are."""
        fields = [shape.column(name) for name in table.service.fields] if stamps else []
        whole = Column(_free_name(shape), dialect.kinds["count"], nullable=False) if content else None
        compared = table.name
        if lacking:
            missing = [f"{dialect.no_value(shape.column(name))} AS {dialect.quote(name)}" for name in lacking]
            compared = f"(SELECT t.*, {', '.join(missing)} FROM {table.name} t) planned"
        if whole:
            compared = f"(SELECT t.*, {content} AS {dialect.quote(whole.name)} FROM {compared} t) whole"
        return cls(
            table=table,
            shape=shape,
            key=tuple(shape.column(name) for name in shape.key),
            # Until they are filled in, any of these may be NULL.
            fields=tuple(replace(one, nullable=one.nullable or one.name in compare_also) for one in fields),
            hashed=tuple(replace(shape.column(name), nullable=True) for name in compare_also),
            compared=compared,
            content=whole,
        )

    @property
    def stamp(self) -> tuple[Column, ...]:
        return (*self.fields, *([self.content] if self.content else []), *self.hashed)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of a pair: the key's, then the stamp's."""
        return self.key + self.stamp


def _free_name(shape: TableShape) -> str:
    """A name that no column has."""
    name = "backup_sync_content"
    while shape.has(name):
        name += "_"
    return name

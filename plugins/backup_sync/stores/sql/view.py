"""What of a table is read and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.where import ALIAS

NO_MASKS: Mapping[str, str] = MappingProxyType({})
CHOSEN = " filtered"
"""What a derived table of chosen rows is called: T-SQL has none without a name."""


@dataclass(frozen=True)
class View:
    """A table, and the columns of ``shape`` that make up keys and stamps.

    ``fields``: the configured part of a stamp; ``content``: a column that stands for the whole row, and is part of it behind
    them; ``hashed``: columns that are part of it behind that. They enter as a hash, because a pair has to stay small
    whatever they hold. ``compared``: what keys and stamps are selected from.

    ``condition``: of the rows that are read, on the table as ``f``; empty: all are. ``chosen``: a derived table of these, if there
    is a condition or a mask. ``found``: in what rows are looked up by their keys, with an alias to follow. ``masked``: whether some
    columns are not read as they are.
    """

    table: Table
    shape: TableShape
    key: tuple[Column, ...]
    fields: tuple[Column, ...]
    hashed: tuple[Column, ...]
    compared: str
    content: Column | None = None
    condition: str = ""
    chosen: str = ""
    found: str = ""
    masked: bool = False

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
        condition: str = "",
        everywhere: bool = False,
        masks: Mapping[str, str] = NO_MASKS,
    ) -> View:
        """``compare_also``: columns to be hashed. ``lacking``: columns that the table is yet to get, read as NULL.
        ``content``: the expression of a whole number that stands for the whole row; empty: it is not compared. ``stamps``: whether the
        configured fields are. ``condition``: the rows that are read are those that fulfil it; with ``everywhere`` they are
        looked up by their keys among all. ``masks``: what is read in place of a column, on the table as ``f``."""
        fields = [shape.column(name) for name in table.service.fields] if stamps else []
        whole = Column(_free_name(shape), dialect.kinds["count"], nullable=False) if content else None
        base, alias, chosen, found = table.name, "", "", table.name
        if condition or masks:
            # Column by column, since those that are excluded may be forbidden.
            names = [(column.name, dialect.quote(column.name)) for column in shape.columns]
            taken = [f"{masks[name]} AS {quoted}" if name in masks else f"{ALIAS}.{quoted}" for name, quoted in names]
            everything = f"SELECT {', '.join(taken)} FROM {table.name} {ALIAS}"
            base = chosen = f"({everything} WHERE {condition})" if condition else f"({everything})"
            alias = CHOSEN
            found = chosen if not everywhere else f"({everything})" if masks else table.name
        if lacking:
            missing = [f"{dialect.no_value(shape.column(name))} AS {dialect.quote(name)}" for name in lacking]
            base, alias = f"(SELECT t.*, {', '.join(missing)} FROM {base} t)", " planned"
        if whole:
            base, alias = f"(SELECT t.*, {content} AS {dialect.quote(whole.name)} FROM {base} t)", " whole"
        return cls(
            table=table,
            shape=shape,
            key=tuple(shape.column(name) for name in shape.key),
            # Until they are filled in, any of these may be NULL.
            fields=tuple(replace(one, nullable=one.nullable or one.name in compare_also) for one in fields),
            hashed=tuple(replace(shape.column(name), nullable=True) for name in compare_also),
            compared=f"{base}{alias}",
            content=whole,
            condition=condition,
            chosen=chosen,
            found=found,
            masked=bool(masks),
        )

    @property
    def rows(self) -> str:
        """What rows are selected from."""
        return f"{self.chosen}{CHOSEN}" if self.chosen else self.table.name

    @property
    def mine(self) -> str:
        """The same, with an alias to follow."""
        return self.chosen or self.table.name

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

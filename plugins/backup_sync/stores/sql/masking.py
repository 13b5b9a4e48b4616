"""Columns that are read as something else: a hash, or nothing. The database that has the values makes it of them, so that they
never leave it, and everything above sees what the copy holds as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.mask import Mask
from backup_sync.model.service import Service
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.where import ALIAS


@dataclass(frozen=True)
class Hiding:
    """One product's words. ``hashed``: the column of the hashes of a column; raises ValueError, in words that say what to do, where
    its type has none. ``hash_of``: the expression of a hash, of the column as it stands in a statement; NULL stays NULL.
    ``nothing``: that of a NULL of the column's type. ``quote``: a name as it stands in a statement."""

    hashed: Callable[[Column], Column]
    hash_of: Callable[[Column, str], str]
    nothing: Callable[[Column], str]
    quote: Callable[[str], str]


def masks_of(service: Service, own: TableShape, shape: TableShape, hiding: Hiding) -> dict[str, str]:
    """What is read in place of those of a shape's columns that are masked, on the table as ``f``. ``own``: the table's shape."""
    kinds = {own.fold(name): kind for name, kind in service.mask.items()}
    found = {}
    for column in shape.columns:
        kind = kinds.get(own.fold(column.name))
        if kind is not None and own.has(column.name):
            found[column.name] = _in_place(own.column(column.name), kind, hiding)
    return found


def _in_place(column: Column, kind: Mask, hiding: Hiding) -> str:
    return hiding.hash_of(column, f"{ALIAS}.{hiding.quote(column.name)}") if kind == "hash" else hiding.nothing(column)


def masked_shape(service: Service, label: str, shape: TableShape, hiding: Hiding) -> TableShape:
    """The shape of what is read. Raises ConfigurationError where 'mask' names no column, one of the key, or one that has no hash."""
    columns = list(shape.columns)
    for name, kind in service.mask.items():
        if not shape.has(name):
            raise ConfigurationError(
                f"{label}: {service.table} has no column {name}, which 'mask' of service {service.name} names, so nothing was "
                "copied; correct the name, since a renamed column would be copied as it is"
            )
        if shape.fold(name) in map(shape.fold, shape.key):
            raise ConfigurationError(
                f"{label}: {name} is in the key of {service.table}, so it cannot be masked; remove it from 'mask'"
            )
        column = shape.column(name)
        try:
            seen = hiding.hashed(column) if kind == "hash" else replace(column, nullable=True)
        except ValueError as error:
            raise ConfigurationError(
                f"{label}: column {name} of {service.table} is {column.type}, which has no hash; {error}"
            ) from None
        columns[shape.index(name)] = seen
    return replace(shape, columns=tuple(columns))

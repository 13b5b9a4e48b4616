"""Two tables compared: what the backup has to change to fit its source, and what is left to a person.

Pure: no connection and no SQL. A dialect says which types hold which (``Types``), and writes the statements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from backup_sync.model.names import Fold, without_case

SYNCED_AT = "SyncedAt"


@dataclass(frozen=True)
class Column:
    """A column as its catalog describes it. ``type`` is written as in a CREATE TABLE statement."""

    name: str
    type: str
    nullable: bool = True
    collation: str | None = None


@dataclass(frozen=True)
class TableShape:
    """Columns in catalog order, the names of the key columns in key order, and when two names are one to the engine."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    fold: Fold = field(default=without_case, compare=False, repr=False)

    def column(self, name: str) -> Column:
        return self.columns[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a column. Raises KeyError."""
        wanted = self.fold(name)
        for index, column in enumerate(self.columns):
            if self.fold(column.name) == wanted:
                return index
        raise KeyError(name)

    def has(self, name: str) -> bool:
        return any(self.fold(column.name) == self.fold(name) for column in self.columns)


@dataclass(frozen=True)
class Types:
    """What a dialect knows of its types, both asked with (type in the backup, type in the source).

    ``same``: the backup's holds the source's values as it is. ``widens``: it would, once changed to the source's, and
    every value that it holds already would stay what it is.
    """

    same: Callable[[str, str], bool]
    widens: Callable[[str, str], bool]


@dataclass(frozen=True)
class Difference:
    """What sets a backup's table apart from its source. All but ``problems`` can be brought about without loss.

    ``added``: columns that the backup lacks, nullable whatever they are in the source: the rows that are there have no
    value for them until a sync fills it in, and the copy has no default that would stand in for it.
    ``widened``, ``loosened``: columns of the backup as they should become; the latter only get nullable.
    ``kept``: columns of the backup that the source no longer has. Those of them that are NOT NULL are in ``loosened``
    too, since new rows have nothing to put there.
    ``problems``: in words that follow "it"; nothing else counts if there is one.
    """

    added: tuple[Column, ...] = ()
    widened: tuple[Column, ...] = ()
    loosened: tuple[Column, ...] = ()
    kept: tuple[Column, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def alters(self) -> bool:
        return bool(self.added or self.widened or self.loosened)

    def words(self) -> list[str]:
        """What is different, in words that follow "it"."""
        found = list(self.problems)
        if self.added:
            found.append(f"lacks {_names(self.added)}")
        if self.widened:
            wider = ", ".join(f"{column.name} ({column.type} in the source)" for column in self.widened)
            found.append(f"is narrower in {wider}")
        gone = {column.name for column in self.kept}
        if loosened := [column for column in self.loosened if column.name not in gone]:
            found.append(f"has {_names(loosened)} as NOT NULL, which the source lets be NULL")
        if self.kept:
            found.append(f"has {_names(self.kept)}, which the source no longer has")
        return found


def difference(source: TableShape, own: TableShape, types: Types) -> Difference:
    """Compare a source's table with its copy (whose ``SyncedAt`` is its own affair).

    A copy that takes NULL where the source does not is no difference: it holds all that the source can. Which names are
    one is for the copy's engine to say, since it has to hold them.
    """
    fold = own.fold
    here = {fold(column.name): column for column in own.columns}
    key = {fold(name) for name in source.key}
    added, widened, loosened = list[Column](), list[Column](), list[Column]()
    other, keys = list[str](), list[str]()
    for column in source.columns:
        mine = here.get(fold(column.name))
        if mine is None:
            added.append(Column(column.name, column.type, True, column.collation))
            continue
        nullable = mine.nullable or column.nullable
        told = f"{column.name} ({_told(mine, column)} here, {_told(column, mine)} in the source)"
        if types.same(mine.type, column.type) and mine.collation == column.collation:
            if nullable != mine.nullable and fold(column.name) not in key:
                loosened.append(Column(mine.name, mine.type, True, mine.collation))
        elif fold(column.name) in key:
            keys.append(told)
        elif mine.collation == column.collation and types.widens(mine.type, column.type):
            widened.append(Column(mine.name, column.type, nullable, column.collation))
        else:
            other.append(told)
    known = {fold(column.name) for column in source.columns} | {fold(SYNCED_AT)}
    kept = [column for column in own.columns if fold(column.name) not in known]
    loosened += [Column(column.name, column.type, True, column.collation) for column in kept if not column.nullable]
    problems = []
    names = [fold(column.name) for column in source.columns]
    if one := [column.name for column in source.columns if names.count(fold(column.name)) > 1]:
        problems.append(f"cannot hold both {' and '.join(one)}, whose names are one in its database")
    if lacking := [column.name for column in added if fold(column.name) in key]:
        problems.append(f"lacks {', '.join(lacking)} of the key")
    if keys:
        problems.append(f"differs in key column {', '.join(keys)}")
    if other:
        problems.append(f"differs in {', '.join(other)}")
    if tuple(map(fold, own.key)) != tuple(map(fold, source.key)):
        problems.append(f"has the key {', '.join(own.key) or 'none'} and not {', '.join(source.key)}")
    return Difference(tuple(added), tuple(widened), tuple(loosened), tuple(kept), tuple(problems))


def _told(column: Column, other: Column) -> str:
    """The type, with the collation where that is what differs."""
    return (
        f"{column.type} {column.collation or 'without collation'}"
        if column.collation != other.collation
        else column.type
    )


def _names(columns: list[Column] | tuple[Column, ...]) -> str:
    return ", ".join(column.name for column in columns)

"""What a SQL database says of a table, whether it can be backed up, and a copy that follows its source's columns."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Any

from backup_sync.model.declaring import Declarable
from backup_sync.model.errors import BackupSyncError, ConfigurationError, FatalError, PairingRefused
from backup_sync.model.names import Fold
from backup_sync.model.where import Value
from backup_sync.stores.base import Filtered, Met
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.masking import Hiding, masked_shape, masks_of
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import SYNCED_AT, Column, Difference, TableShape, difference
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.unfilled import SqlUnfilled
from backup_sync.stores.sql.view import View
from backup_sync.stores.sql.where import ALIAS, condition_sql

log = logging.getLogger(__name__)

STAMP = "binary(8)"
"""What a ``rowversion`` is in a copy (``stores/mssql/types.py``)."""


class SqlCatalog(ABC):
    """See :class:`backup_sync.stores.base.Catalog`. A dialect reads its product's catalog, and writes the statements.

    ``copy``: this end holds the copy, whose table has a column of ours.
    """

    dialect: Dialect
    hiding: Hiding

    def __init__(self, session: SqlSession, table: Table, journal: SqlJournal, *, copy: bool) -> None:
        self.session, self.table, self.journal, self.copy = session, table, journal, copy
        self.service, self.label = table.service, table.label
        self.unfilled = SqlUnfilled(session, self.dialect, table, journal, self.own_shape)
        self._own: TableShape | None = None
        self.left_out: Sequence[str] = ()
        """Columns of the table that are excluded."""

    # what a dialect provides

    @abstractmethod
    def read_shape(self) -> TableShape | None:
        """The table's columns and primary key as the database has them, or None if there is no such table."""

    @abstractmethod
    def unique(self, key: tuple[str, ...]) -> bool:
        """Whether these columns are unique: by an index of the catalog, or else by looking."""

    @abstractmethod
    def empty(self) -> bool: ...

    @abstractmethod
    def obstacles(self) -> list[str]:
        """Triggers and foreign keys on the table, in words: they would change or refuse what is written."""

    @abstractmethod
    def alter(self, own: TableShape, found: Difference) -> None:
        """Bring about what ``found`` says, within the transaction that is open."""

    @abstractmethod
    def tables(self) -> list[tuple[str, str]]: ...

    @abstractmethod
    def computed(self) -> Set[str]:
        """Columns whose values the database makes itself, so that nobody can write them."""

    @abstractmethod
    def literal(self, column: Column, value: Value) -> str:
        """See :data:`backup_sync.stores.sql.where.Literal`."""

    def compared(self, column: Column) -> str:
        """A column as it is compared with a literal."""
        return self._in_condition(column)

    # what is there

    def excluded(self, fold: Fold) -> set[str]:
        """The columns (folded) that this end is not asked for. The copy has what it has."""
        return set() if self.copy else {fold(name) for name in self.service.exclude}

    def condition(self) -> str:
        """Of the rows that the service is about, on the table as ``f``; empty where it is about all. The copy holds no others.

        Raises ConfigurationError where 'where' names no column of the table, or no value of the column's type.
        """
        conditions = () if self.copy else self.service.conditions
        if not conditions:
            return ""
        shape = self.own_shape()
        assert shape is not None
        pairs = [(self._chosen_by(shape, one.column), one) for one in conditions]
        return condition_sql(pairs, self.compared, self._in_condition, self._literal)

    def _in_condition(self, column: Column) -> str:
        return f"{ALIAS}.{self.dialect.quote(column.name)}"

    def _chosen_by(self, shape: TableShape, name: str) -> Column:
        try:
            return shape.column(name)
        except KeyError:
            raise ConfigurationError(
                f"{self.label}: {self.service.table} has no column {name}, which 'where' of service {self.service.name} names, so "
                "nothing was read or deleted; correct the name"
            ) from None

    def _literal(self, column: Column, value: Value) -> str:
        try:
            return self.literal(column, value)
        except ValueError as error:
            raise ConfigurationError(
                f"{self.label}: 'where' of service {self.service.name} asks column {column.name} of {self.service.table}, which "
                f"is {column.type or 'of no type'}, for what it cannot be compared with; {error}"
            ) from None

    def view(self, table: Table, shape: TableShape, filtered: Filtered, *, keyed: bool, **options: Any) -> View:
        """What a reader reads of ``table``, this one or one that looks like it. ``keyed``: the session has the key of the hashes.
        ``options``: see :meth:`View.of`. Raises ConfigurationError where it is needed and missing."""
        masks = self.masks(shape)
        if masks and self.service.needs_key and not keyed:
            raise ConfigurationError(
                f"{self.label}: the key of 'mask' of service {self.service.name} is missing; name its 'mask_key'"
            )
        condition = "" if filtered == "none" else self.condition()
        everywhere = filtered == "ranges"
        return View.of(self.dialect, table, shape, condition=condition, everywhere=everywhere, masks=masks, **options)

    def masks(self, shape: TableShape) -> dict[str, str]:
        """See :func:`masks_of`. Of the copy nothing is masked: it holds what it was given."""
        own = self.own_shape() if self.service.mask and not self.copy else None
        return masks_of(self.service, own, shape, self.hiding) if own else {}

    def check_fields(self, *, matched: bool) -> None:
        """Raise ConfigurationError where no row is one of the service's while the table holds others. ``matched``: some were
        before, so that it is right though none is now."""
        condition = self.condition()
        if matched or not condition or self.empty():
            return
        sql = f"SELECT COUNT(*) WHERE EXISTS (SELECT 1 FROM {self.table.name} {ALIAS} WHERE {condition})"
        if not next(iter(self.session.query(sql)))[0]:
            raise ConfigurationError(
                f"{self.label}: no row of {self.service.table} matches 'where' of service {self.service.name} while the table "
                "holds others; correct its values"
            )

    def own_shape(self) -> TableShape | None:
        """The catalog's answer, asked for once: it costs more than reading a small table."""
        if self._own is None:
            self._own = self.read_shape()
        return self._own

    def changed(self) -> None:
        """The table is no longer what it was: ask again."""
        self._own = None

    def exists(self) -> bool:
        return self.own_shape() is not None

    def vacant(self) -> bool:
        own = self.own_shape()
        if own is None:
            return True
        self._check_is_copy(own)
        return self.empty()

    def describe(self) -> TableShape:
        shape = self.own_shape()
        if shape is None:
            raise ConfigurationError(
                f"{self.label}: table {self.service.table} does not exist or may not be read; correct 'table' of service "
                f"{self.service.name} or grant SELECT on it"
            )
        self.condition()
        if missing := self.excluded(shape.fold).difference(map(shape.fold, self.left_out)):
            raise ConfigurationError(
                f"{self.label}: {self.service.table} has no column {sorted(missing)[0]}, which 'exclude' of service "
                f"{self.service.name} names; correct or remove it"
            )
        if lost := [name for name in shape.key if shape.fold(name) in self.excluded(shape.fold)]:
            raise ConfigurationError(
                f"{self.label}: {lost[0]} is in the key of {self.service.table}, so it cannot be excluded; remove it from 'exclude'"
            )
        if self.copy:
            columns = tuple(column for column in shape.columns if shape.fold(column.name) != shape.fold(SYNCED_AT))
            shape = replace(shape, columns=columns)
        if self.service.key:
            shape = replace(shape, key=tuple(self.service.key))
        if not shape.key:
            raise ConfigurationError(
                f"{self.label}: table {self.service.table} has no primary key; name its key columns in 'key' of service "
                f"{self.service.name}"
            )
        for name in (*shape.key, *self.service.fields):
            self._must_have(shape, name)
        nullable = [name for name in shape.key if shape.column(name).nullable]
        if nullable:
            raise ConfigurationError(
                f"{self.label}: key column {', '.join(nullable)} of {self.service.table} is nullable; a key has to be NOT NULL"
            )
        if self.service.key and not self.unique(shape.key):
            raise ConfigurationError(
                f"{self.label}: key {', '.join(shape.key)} of {self.service.table} is not unique; name columns that are"
            )
        if shape.has(SYNCED_AT):
            raise ConfigurationError(
                f"{self.label}: {self.service.table} has a column {SYNCED_AT}, which the backup's copy needs for itself"
            )
        shape = replace(shape, key=tuple(shape.column(name).name for name in shape.key))
        if self.copy or not self.service.mask:
            return shape
        return masked_shape(self.service, self.label, shape, self.hiding)

    def _must_have(self, shape: TableShape, name: str) -> None:
        try:
            shape.index(name)
        except KeyError:
            raise ConfigurationError(
                f"{self.label}: {self.service.table} has no column {name}, which service {self.service.name} names; "
                f"it has {', '.join(column.name for column in shape.columns)}"
            ) from None

    def _check_is_copy(self, own: TableShape) -> None:
        """Raise PairingRefused for a table that is no copy of ours: the operational one itself, most likely."""
        if not own.has(SYNCED_AT):
            raise PairingRefused(
                f"{self.label}: the table {self.service.table} there is not a copy made by backup_sync (it has no column "
                f"{SYNCED_AT}); does the connection point at an operational database? If not, rename that table away"
            )

    # whether it fits

    def check_fit(self, shape: TableShape, *, planned: bool = False) -> list[str]:
        own = self.own_shape()
        if own is None:
            raise ConfigurationError(
                f"{self.label}: {self.service.table} does not exist yet; run the DAG backup_initialize first"
            )
        found = self.difference(shape, own)
        self._refuse(found)
        if found.alters and not (planned and self.service.on_schema_change == "evolve"):
            raise FatalError(
                f"{self.label}: the table {self.service.table} does not fit the source yet: it "
                f"{'; it '.join(found.words())}. Run the DAG backup_initialize, or clear the run from initialize on"
            )
        return [column.name for column in found.added]

    def difference(self, shape: TableShape, own: TableShape) -> Difference:
        if self.service.key and (
            not own.has(SYNCED_AT) or set(map(own.fold, own.key)) == set(map(own.fold, shape.key))
        ):
            # A configured key replaces the source's own one, and names columns in any order.
            own = replace(own, key=shape.key)
        return difference(shape, own, self.dialect.types)

    def _refuse(self, found: Difference) -> None:
        if found.problems:
            raise FatalError(
                f"{self.label}: the table {self.service.table} does not fit the source: it "
                f"{'; it '.join(found.problems)}. Change the backup's table to match, or rename it away and run "
                "backup_initialize"
            )

    def meet(self, shape: TableShape, without: Set[str]) -> Met:
        own = self.own_shape() if self.exists() else None
        computed = {own.fold(name) for name in self.computed()} if own else set[str]()
        masked = {shape.fold(name) for name in self.service.mask}
        columns, left = list[Column](), list[str]()
        for column in shape.columns:
            if shape.fold(column.name) in masked:
                needed = own is not None and own.has(column.name) and not own.column(column.name).nullable
                default = "; it is NOT NULL there, so that a new row needs its default" if needed else ""
                left.append(f"column {column.name} is masked in the backup, so it is not restored{default}")
            elif shape.fold(column.name) in without:
                left.append(f"column {column.name} is not part of that state of the backup, so it is left as it is")
            elif own is None:
                columns.append(column)
            elif own.fold(column.name) in self.excluded(own.fold):
                left.append(f"column {column.name} is excluded")
            elif not own.has(column.name):
                left.append(f"column {column.name} is not in {self.service.table} of {self.label}")
            elif own.fold(column.name) in computed:
                left.append(f"column {column.name} is computed by {self.label}")
            elif not self._takes(own.column(column.name), column):
                there = own.column(column.name)
                left.append(f"column {column.name} is {there.type} in {self.label} and {column.type} in the backup")
            else:
                columns.append(column)
        if own:
            others = [column.name for column in own.columns if not shape.has(column.name)]
            left += [f"column {name} of {self.label} is not in the backup: new rows get its default" for name in others]
        names = {column.name for column in columns}
        if lost := [name for name in shape.key if shape.column(name).name not in names]:
            raise FatalError(
                f"{self.label}: {self.service.table} cannot be written, for its key: {lost[0]}; {'; '.join(left)}"
            )
        left_out = {shape.fold(column.name) for column in shape.columns if column.name not in names}
        return Met(replace(shape, columns=tuple(columns)), left_out, left)

    def declarable(self) -> Declarable:
        shape = self.read_shape()
        assert shape is not None
        counted = {shape.fold(name) for name in self.computed()}
        stamps = [one.name for one in shape.columns if one.type == STAMP and shape.fold(one.name) in counted]
        types = {column.name: column.type for column in shape.columns}
        return Declarable(self.table.schema, self.table.table, types, shape.key, stamps)

    def drop(self) -> None:
        assert not self.copy
        if self.exists():
            self.session.run(f"DROP TABLE {self.table.name}")
            self._own = None

    def _takes(self, there: Column, here: Column) -> bool:
        """Whether a column holds all values of another one as they are."""
        types = self.dialect.types
        same = types.same(there.type, here.type) or types.widens(here.type, there.type)
        return same and there.collation == here.collation

    # following the source's columns

    def evolve(self, shape: TableShape, own: TableShape, *, dry_run: bool) -> list[str]:
        """Make the table that is there fit the source; returns what was done and what is odd, in words.

        Raises FatalError, and has altered nothing, where that is not safe or not wanted.
        """
        self._check_is_copy(own)
        if obstacles := self.obstacles():
            raise FatalError(
                f"{self.label}: the backup's table {self.service.table} has {' and '.join(obstacles)}: remove them, they "
                "would change or refuse what is copied"
            )
        found = self.difference(shape, own)
        self._refuse(found)
        if self.service.on_schema_change == "fail" and (found.alters or found.kept):
            raise FatalError(
                f"{self.label}: the table {self.service.table} differs from the source: it {'; it '.join(found.words())}. "
                f"Nothing was altered, since on_schema_change of service {self.service.name} is fail; change the backup's "
                "table to match, or set it to evolve"
            )
        if not dry_run and (found.alters or found.kept):
            self._alter(shape, own, found)
        for column in found.kept:
            log.warning(
                "%s: %s keeps column %s, which the source no longer has", self.label, self.service.table, column.name
            )
        table = self.service.table
        return [
            *(f"column {column.name} of {table}" for column in found.added),
            *(f"column {column.name} of {table} as {column.type}" for column in found.widened),
            *(f"column {column.name} of {table} as nullable" for column in found.loosened),
            *(f"kept column {column.name} of {table}, which the source no longer has" for column in found.kept),
        ]

    def _alter(self, shape: TableShape, own: TableShape, found: Difference) -> None:
        known = {own.fold(name) for name in self.unfilled.names()}
        added, dropped = (
            [column.name for column in columns if own.fold(column.name) not in known]
            for columns in (found.added, found.kept)
        )
        if not (found.alters or dropped):
            return
        try:
            with self.session.transaction():
                if added or dropped:
                    self.unfilled.mark(added, dropped)
                if found.alters:
                    self.alter(own, found)
        except BackupSyncError:
            # Chains run side by side, so another one may have done the same first: then all is well.
            if self._remains(shape).alters:
                raise
        remains = self._remains(shape)
        if remains.alters:
            raise FatalError(
                f"{self.label}: the server altered {self.service.table}, and still it {'; it '.join(remains.words())}. "
                "Change it by hand, or rename it away and run backup_initialize"
            )

    def _remains(self, shape: TableShape) -> Difference:
        self._own = None
        own = self.own_shape()
        return self.difference(shape, own) if own else Difference()


def holding(catalogs: Sequence[SqlCatalog], names: Sequence[str]) -> list[str]:
    """The tables that hold rows and have one of these columns."""
    found = []
    for catalog in catalogs:
        own = catalog.own_shape() if catalog.exists() else None
        if own is not None and any(map(own.has, names)) and not catalog.empty():
            found.append(catalog.table.full_name)
    return found

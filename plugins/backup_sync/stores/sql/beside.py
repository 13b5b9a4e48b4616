"""A table next to a copy that has the copy's columns and three more: what records were, before something was done to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import Column, Difference, TableShape, difference

SEQ, OP, SYNC_ID = "_Seq", "_Op", "_SyncId"
OWN = (SEQ, OP, SYNC_ID)
"""The columns that the copy does not have: the number of a run, what it did (``I``, ``U`` or ``D``), and its SyncId."""


class SqlBeside(ABC):
    """``copy`` and ``beside``: the catalogs of the copy's table and of the one beside it. ``what``: it is called so."""

    what = "history of records"

    def __init__(self, session: SqlSession, copy: SqlCatalog, beside: SqlCatalog) -> None:
        self.session, self.copy, self.beside = session, copy, beside
        self.dialect: Dialect = copy.dialect
        self.table, self.name = copy.table, beside.table.name

    # what a dialect provides

    @abstractmethod
    def create_sql(self, own: TableShape) -> str: ...

    @abstractmethod
    def make(self, statement: str) -> None:
        """Create the table, which another run may be creating as well."""

    # the table

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.beside.table.full_name

    @property
    def key(self) -> tuple[Column, ...]:
        own = self.copy.own_shape()
        assert own is not None
        return tuple(own.column(name) for name in own.key)

    def exists(self) -> bool:
        return self.dialect.exists(self.session, self.name)

    def create(self, *, dry_run: bool = False) -> list[str]:
        own = self.copy.own_shape() if self.copy.exists() else None
        full_name = self.shown
        there = self.beside.own_shape() if own is not None else None
        if there is None:
            if not dry_run:
                assert own is not None
                self._check_names(own)
                self.make(self.create_sql(own))
                self.beside.changed()
            return [f"table {full_name}"]
        assert own is not None
        found = self._difference(own, there)
        if not dry_run and found.alters:
            with self.session.transaction():
                self.beside.alter(there, found)
            self.beside.changed()
        return [f"column {column.name} of {full_name}" for column in (*found.added, *found.widened)]

    def check(self) -> None:
        """Raise FatalError unless what the copy's rows hold can be kept here as things are."""
        own, there = self.copy.own_shape(), self.beside.own_shape()
        assert own is not None
        if there is None or self._difference(own, there).alters:
            raise FatalError(
                f"{self.copy.label}: the {self.what} {self.shown} "
                f"{'does not exist' if there is None else 'lacks columns of the copy'}; run the DAG backup_initialize, or clear "
                "the run from initialize on"
            )

    def _check_names(self, own: TableShape) -> None:
        if taken := [name for name in OWN if own.has(name)]:
            raise ConfigurationError(
                f"{self.copy.label}: {self.table.full_name} has a column {taken[0]}, which its {self.what} needs for "
                "itself; remove 'keep_history', or back up a view with another name for it"
            )

    def _difference(self, own: TableShape, there: TableShape) -> Difference:
        if not all(map(there.has, OWN)):
            raise ConfigurationError(
                f"{self.copy.label}: the table {self.shown} is not a {self.what} made by backup_sync "
                f"(it has no column {SEQ}); rename it away, or remove 'keep_history'"
            )
        found = difference(own, replace(there, key=own.key), self.dialect.types)
        if found.problems:
            raise FatalError(
                f"{self.copy.label}: the {self.what} {self.shown} does not fit the copy: it "
                f"{'; it '.join(found.problems)}. Rename it away and run backup_initialize; older restore points go with it"
            )
        # Everything here may be NULL, and what the copy does not have is ours.
        return Difference(added=found.added, widened=found.widened)


def entry_columns(own: TableShape, quote: Callable[[str], str]) -> tuple[str, str]:
    """(of an entry, of the copy's row ``t``), in one order: what follows the three columns of our own."""
    names = [quote(column.name) for column in own.columns]
    return ", ".join(names), ", ".join(f"t.{name}" for name in names)

"""The copy follows its source's columns: what is done about a difference, and what is left to be filled in.

A column that was just added holds NULL in every row, and the rows' stamps did not move. So its name is written down in
the backup, in the same transaction that adds it, and for as long as it stands there a sync compares that column as if
it were part of the stamp: it finds the rows that lack the source's value, those only, and also after a crash. The name
is struck out once all of them are written. A column that the source dropped is written down as well, since the source
may get one of that name again, with other values.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from backup_sync.model.errors import BackupSyncError, FatalError, PairingRefused
from backup_sync.model.service import Service
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import SYNCED_AT, Column, Difference, TableShape, difference

log = logging.getLogger(__name__)


class SqlSchema:
    """The schema half of a SQL store; the dialects provide the catalog and the statements."""

    label: str
    service: Service
    session: SqlSession
    dialect: Dialect
    unfilled_name: str
    full_name: str
    shape: TableShape | None
    _own: TableShape | None
    _planned: tuple[Column, ...]

    @abstractmethod
    def own_shape(self) -> TableShape | None: ...

    @abstractmethod
    def obstacles(self) -> list[str]:
        """Triggers and foreign keys on the table, in words: they would change or refuse what is written."""

    @abstractmethod
    def alter(self, shape: TableShape, own: TableShape, found: Difference) -> None:
        """Bring about what ``found`` says, within the transaction that is open."""

    @abstractmethod
    def has_unfilled(self) -> bool:
        """Whether the table of unfilled columns is there."""

    @abstractmethod
    def read_unfilled(self) -> list[str]:
        """The columns of this table that are written down as unfilled; none if nothing ever was. One round trip."""

    def difference(self, shape: TableShape, own: TableShape) -> Difference:
        if self.service.key and (
            not own.has(SYNCED_AT) or set(map(own.fold, own.key)) == set(map(own.fold, shape.key))
        ):
            # A configured key replaces the source's own one, and names columns in any order.
            own = replace(own, key=shape.key)
        return difference(shape, own, self.dialect.types)

    def check_is_backup(self, own: TableShape) -> None:
        """Raise PairingRefused for a table that is no copy of ours: the operational one itself, most likely."""
        if not own.has(SYNCED_AT):
            raise PairingRefused(
                f"{self.label}: the table {self.service.table} there is not a copy made by backup_sync (it has no column "
                f"{SYNCED_AT}); does the connection point at an operational database? If not, rename that table away"
            )

    def check_fit(self, shape: TableShape, own: TableShape, *, planned: bool = False) -> tuple[Column, ...]:
        """Raise FatalError unless every record of ``shape`` can be written here as things are.

        ``planned``: or could be, once the table has followed the source. Returns the columns that it is to get then.
        """
        found = self.difference(shape, own)
        self._refuse(found)
        if found.alters and not (planned and self.service.on_schema_change == "evolve"):
            raise FatalError(
                f"{self.label}: the table {self.service.table} does not fit the source yet: it "
                f"{'; it '.join(found.words())}. Run the DAG backup_initialize, or clear the run from initialize on"
            )
        return found.added

    def _refuse(self, found: Difference) -> None:
        if found.problems:
            raise FatalError(
                f"{self.label}: the table {self.service.table} does not fit the source: it "
                f"{'; it '.join(found.problems)}. Change the backup's table to match, or rename it away and run "
                "backup_initialize"
            )

    def evolve(self, shape: TableShape, own: TableShape, *, dry_run: bool) -> list[str]:
        """Make the table that is there fit the source; returns what was done and what is odd, in words.

        Raises FatalError, and has altered nothing, where that is not safe or not wanted.
        """
        self.check_is_backup(own)
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
                "%s: %s keeps column %s, which the source has no more", self.label, self.service.table, column.name
            )
        return self._told(found)

    def _alter(self, shape: TableShape, own: TableShape, found: Difference) -> None:
        known = {own.fold(name) for name in self.read_unfilled()}
        names = [column.name for column in (*found.added, *found.kept) if own.fold(column.name) not in known]
        if not found.alters and not names:
            return
        try:
            with self.session.transaction():
                if names and not self.has_unfilled():
                    self.session.run(self.create_unfilled_sql())
                for name in names:
                    self.session.run(self.mark_unfilled_sql(), [self.full_name, name])
                if found.alters:
                    self.alter(shape, own, found)
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

    def _told(self, found: Difference) -> list[str]:
        table = self.service.table
        return [
            *(f"column {column.name} of {table}" for column in found.added),
            *(f"column {column.name} of {table} as {column.type}" for column in found.widened),
            *(f"column {column.name} of {table} as nullable" for column in found.loosened),
            *(f"kept column {column.name} of {table}, which the source has no more" for column in found.kept),
        ]

    # filling in

    def create_unfilled_sql(self) -> str:
        text = self.dialect.kinds["text"]
        return f"CREATE TABLE {self.unfilled_name} (TableName {text} NOT NULL, ColumnName {text} NOT NULL)"

    def mark_unfilled_sql(self) -> str:
        slot = self.dialect.slot("text")
        return f"INSERT INTO {self.unfilled_name} (TableName, ColumnName) VALUES ({slot}, {slot})"

    def unfilled(self) -> list[str]:
        """The columns of the open shape that still lack the source's values."""
        assert self.shape is not None
        own = self.own_shape()
        assert own is not None
        pending = {own.fold(name) for name in (*self.read_unfilled(), *(column.name for column in self._planned))}
        return [column.name for column in self.shape.columns if own.fold(column.name) in pending]

    def filled(self, fields: Sequence[str]) -> None:
        slot = self.dialect.slot("text")
        with self.session.transaction():
            for name in fields:
                self.session.run(
                    f"DELETE FROM {self.unfilled_name} WHERE TableName = {slot} AND ColumnName = {slot}",
                    [self.full_name, name],
                )

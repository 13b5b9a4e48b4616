"""Writing to a table of SQL Server: by bulk copy (many new rows), or as JSON that OPENJSON turns into a set.

MERGE is not used: it has known deadlocks and races, and UPDATE … FROM beside INSERT … WHERE NOT EXISTS says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from datetime import datetime

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.model.moments import utc_now
from backup_sync.stores.base import Applied, Record, batches
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.bulk import BulkRows
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.mssql.posted import found_by, keys_json, posted_keys, posted_rows, rows_json
from backup_sync.stores.mssql.ranges import MssqlRanges
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.mssql.undo import MssqlEntries
from backup_sync.stores.sql.ranges import KeyRange
from backup_sync.stores.sql.shape import SYNCED_AT, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.writer import Count, SqlWriter

NOW = "CONVERT(DATETIME2(7), %s)"


class MssqlWriter(SqlWriter):
    """See :class:`backup_sync.stores.base.Writer`. ``fold``: when two names of columns are one to the database. ``numbered``:
    identity columns, whose values are written only with the rows that are new."""

    session: MssqlSession

    def __init__(
        self,
        session: MssqlSession,
        table: Table,
        shape: TableShape,
        limits: Limits,
        count: Count | None,
        fold: Callable[[str], str],
        entries: MssqlEntries | None = None,
        numbered: Set[str] = frozenset(),
    ) -> None:
        super().__init__(session, count, entries)
        self.table, self.shape, self.limits, self._fold = table, shape, limits, fold
        # An identity column that is not written is the server's affair.
        self._numbered = {fold(name) for name in numbered}.intersection(fold(one.name) for one in shape.columns)
        self._key = tuple(shape.column(name) for name in shape.key)
        self._loose_key = any(types.base(column.type) in types.LOOSE for column in self._key)
        self._ranges = MssqlRanges(self._key)
        self._bulk = BulkRows(shape)
        self._places: list[int] = []  # known from the first bulk copy on

    def keys_since(self, within: KeyRange, moment: datetime) -> set[Key]:
        names = ", ".join(types.outgoing(quote(column.name), column.type) for column in self._key)
        where, params = self._ranges.where(within)
        sql = f"SELECT {names} FROM {self.table.name} WHERE {where} AND {quote(SYNCED_AT)} >= {NOW}"
        return set(self.session.query(sql, [*params, _text(moment)]))

    # the batch

    def write_inserts(self, rows: Sequence[Record]) -> Applied:
        inserted = updated = 0
        least = self.limits.bulk_rows_again if self._places else self.limits.bulk_rows
        if len(rows) >= least and not self._loose_key and not self._numbered and self._bulk.possible:
            fit, rows = self._bulk.split(rows)
            if fit:
                self._bulk_copy(fit)
            inserted = len(fit)
        for chunk in batches(rows, self.limits.json_rows):
            if self._loose_key:
                # Keys that differ here may be equal there: let the engine decide.
                updated += self._update(chunk)
            inserted += self._insert(chunk)
        return Applied(inserted=inserted, updated=updated)

    def write_updates(self, rows: Sequence[Record]) -> Applied:
        return Applied(updated=sum(self._update(chunk) for chunk in batches(rows, self.limits.json_rows)))

    def write_deletes(self, keys: Sequence[Key]) -> int:
        sql = f"DELETE t FROM {self.table.name} t JOIN {posted_keys(self._key)} p ON {found_by(self._key)}"
        return self.session.run(sql, [keys_json(keys)])

    # bulk copy

    def _bulk_copy(self, rows: Sequence[Record]) -> None:
        now = (_text(utc_now()),) * self.copy
        self.session.bulk_copy(self.table.name, ((*row, *now) for row in rows), self._positions(), len(rows) + 1)

    def _positions(self) -> list[int]:
        """Where each column stands in the table: a bulk copy goes by position."""
        if not self._places:
            sql = "SELECT name, column_id FROM sys.columns WHERE object_id = OBJECT_ID(%s)"
            found = {self._fold(name): position for name, position in self.session.query(sql, (self.table.name,))}
            names = [*(column.name for column in self.shape.columns), *([SYNCED_AT] * self.copy)]
            self._places = [found[self._fold(name)] for name in names]
        return self._places

    # OPENJSON

    def _insert(self, rows: Sequence[Record]) -> int:
        if not self._numbered:
            return self.session.run(self.insert_sql(), self._params(rows))
        self.session.run(f"SET IDENTITY_INSERT {self.table.name} ON")
        try:
            return self.session.run(self.insert_sql(), self._params(rows))
        finally:
            self.session.run(f"SET IDENTITY_INSERT {self.table.name} OFF")

    def _update(self, rows: Sequence[Record]) -> int:
        return self.session.run(self.update_sql(), self._params(rows))

    def _params(self, rows: Sequence[Record]) -> list[str]:
        return [*([_text(utc_now())] * self.copy), rows_json(rows)]

    def insert_sql(self) -> str:
        names = [quote(column.name) for column in self.shape.columns]
        into = ", ".join([*names, *([quote(SYNCED_AT)] * self.copy)])
        values = ", ".join([*names, *([NOW] * self.copy)])
        return (
            f"INSERT INTO {self.table.name} ({into}) SELECT {values} FROM {posted_rows(self.shape.columns)} s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.table.name} t WHERE {self._same_key()})"
        )

    def update_sql(self) -> str:
        # Key columns are set as well: under a case-insensitive collation an equal key may be spelled another way.
        columns = [column for column in self.shape.columns if self._fold(column.name) not in self._numbered]
        settings = [f"{quote(column.name)} = s.{quote(column.name)}" for column in columns]
        settings += [f"{quote(SYNCED_AT)} = {NOW}"] * self.copy
        return (
            f"UPDATE t SET {', '.join(settings)} "
            f"FROM {self.table.name} t JOIN {posted_rows(self.shape.columns)} s ON {self._same_key()}"
        )

    def _same_key(self) -> str:
        return " AND ".join(f"t.{quote(column.name)} = s.{quote(column.name)}" for column in self._key)


def _text(moment: datetime) -> str:
    """A moment in UTC. A blank between date and time: the form with a T is refused by the bulk-copy client."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")

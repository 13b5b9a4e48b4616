"""Writing to a table of SQLite: row by row, or taken over from another file."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.model.moments import iso, utc_now
from backup_sync.stores.base import Applied, Cut, Record
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import SYNCED_AT
from backup_sync.stores.sql.view import View
from backup_sync.stores.sql.where import ALIAS
from backup_sync.stores.sql.writer import Count, SqlWriter
from backup_sync.stores.sqlite.dialect import quote
from backup_sync.stores.sqlite.errors import Conflict
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.reader import SqliteReader
from backup_sync.stores.sqlite.session import SqliteSession
from backup_sync.stores.sqlite.undo import SqliteEntries


class SqliteWriter(SqlWriter):
    """See :class:`backup_sync.stores.base.Writer`."""

    session: SqliteSession
    entries: SqliteEntries | None

    def __init__(
        self,
        session: SqliteSession,
        view: View,
        limits: Limits,
        count: Count | None,
        entries: SqliteEntries | None = None,
    ) -> None:
        super().__init__(session, count, entries)
        self.table, self.limits = view.table, limits
        self._key = view.key
        self._columns = [quote(column.name) for column in view.shape.columns]
        self._written = [*self._columns, *([quote(SYNCED_AT)] * self.copy)]
        """The columns that are written."""
        self._ranges = SqliteRanges(view)

    def _now(self) -> list[str]:
        """What is written besides a row's own values."""
        return [f"'{iso(utc_now())}'"] * self.copy

    def keys_since(self, within: KeyRange, moment: datetime) -> set[Key]:
        names = ", ".join(quote(column.name) for column in self._key)
        where, params = self._ranges.where(within)
        # Without the Z: a moment with fraction digits comes before one without them, as text.
        since = str(iso(moment)).rstrip("Z")
        sql = f"SELECT {names} FROM {self.table.name} WHERE {where} AND {quote(SYNCED_AT)} >= ?"
        return set(self.session.query(sql, [*params, since]))

    # taking over

    def pull(self, source: SqliteReader, within: KeyRange | None) -> Generator[Applied, None, None] | None:
        """Both files are on this machine: SQLite reads the source itself, attached to the backup's connection."""
        if source.session.encoding != self.session.encoding:
            return None  # one is UTF-8 and the other UTF-16, and such files cannot be attached to each other
        if source.view.masked:
            return None  # the key of the mask stays with the source's connection
        return self._pull(source, source.cut(within, self.limits.pull_rows))

    def _pull(self, source: SqliteReader, cut: Cut) -> Generator[Applied, None, None]:
        self.session.run("ATTACH ? AS source", [str(source.session.path)])
        try:
            step = max(1, self.limits.pull_rows // cut.width) if isinstance(cut, EvenCut) else 1
            for start in range(0, len(cut), step):
                within = cut.select(range(start, min(start + step, len(cut))))
                yield self._pull_range(within, source.view.condition)
        finally:
            self.session.run("DETACH source")

    def _pull_range(self, within: KeyRange, condition: str) -> Applied:
        where, params = self._ranges.where(within)
        values = ", ".join([*self._columns, *self._now()])
        chosen = f" AND {condition}" if condition else ""
        rows = f"FROM source.{quote(self.table.table)} {ALIAS} WHERE {where}{chosen}"
        into = f"INTO {self.table.name} AS t ({', '.join(self._written)}) SELECT {values} {rows}"
        with self.session.transaction():
            if self.entries is not None:
                self.entries.absent_in(rows, params)
            try:
                applied = Applied(inserted=self.session.run(f"INSERT {into}", params))
            except Conflict:  # keys that are equal under the engine's collation, as in write_inserts
                inserted = self.session.run(f"INSERT OR IGNORE {into}", params)
                found = self.session.run(f"INSERT {into} {self._on_conflict()}", params)
                applied = Applied(inserted=inserted, updated=found - inserted)
            return self.counted(applied)

    # row by row

    def write_inserts(self, rows: Sequence[Record]) -> Applied:
        """Insert; a row whose key the engine finds there already (equal under its collation) is updated instead."""
        inserted = self._many("INSERT OR IGNORE", "", rows)
        if inserted == len(rows):
            return Applied(inserted=inserted)
        updated = self._upsert(rows) - inserted
        return Applied(inserted=inserted, updated=updated)

    def write_updates(self, rows: Sequence[Record]) -> Applied:
        # Another's table may have columns that are not written; an insert would need a value for them, whatever follows.
        return Applied(updated=self._upsert(rows) if self.copy else self._update(rows))

    def write_deletes(self, keys: Sequence[Key]) -> int:
        # Twice: by the column's own index, and so that 'a' is not 'A' even where somebody gave the copy such a collation.
        where = " AND ".join(
            f"{quote(column.name)} = ?{n} AND {quote(column.name)} = ?{n} COLLATE BINARY"
            for n, column in enumerate(self._key, start=1)
        )
        return self.session.run_many(f"DELETE FROM {self.table.name} WHERE {where}", keys)

    def _update(self, rows: Sequence[Record]) -> int:
        def sql(marks: Sequence[str]) -> str:
            values = dict(zip(self._columns, marks, strict=True))
            settings = ", ".join(f"{name} = {mark}" for name, mark in values.items())
            found = " AND ".join(f"{name} = {values[name]}" for name in (quote(column.name) for column in self._key))
            return f"UPDATE {self.table.name} SET {settings} WHERE {found}"

        return self.session.run_each(sql, rows)

    def _upsert(self, rows: Sequence[Record]) -> int:
        return self._many("INSERT", self._on_conflict(), rows)

    def _on_conflict(self) -> str:
        key = ", ".join(quote(column.name) for column in self._key)
        settings = ", ".join(f"{name} = excluded.{name}" for name in self._written)
        return f"ON CONFLICT ({key}) DO UPDATE SET {settings}"

    def _many(self, verb: str, suffix: str, rows: Sequence[Record]) -> int:
        """How many rows were changed by writing these. Within the transaction that the caller has opened."""

        def sql(marks: Sequence[str]) -> str:
            return (
                f"{verb} INTO {self.table.name} AS t ({', '.join(self._written)}) "
                f"VALUES ({', '.join([*marks, *self._now()])}) {suffix}"
            )

        return self.session.run_each(sql, rows)

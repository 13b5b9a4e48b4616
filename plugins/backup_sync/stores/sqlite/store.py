"""SQLite: the store of the embedded default, and a real one for whoever keeps data in it.

SQLite has no schemas: of ``customer.Customers`` it knows ``Customers``. Values are copied in their own storage
class, so nothing is ever converted. All SQL text for SQLite is here, in sqlite_ranges.py and
sqlite_pairs.py (keys and stamps) and in sqlite_catalog.py.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.names import without_case
from backup_sync.model.result import SyncResult, iso, utc_now
from backup_sync.model.service import STATE, Service
from backup_sync.stores import weight as heavy_rows
from backup_sync.stores.base import Applied, Cut, Identity, Record
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.session import FETCH_ROWS
from backup_sync.stores.sql.shape import SYNCED_AT
from backup_sync.stores.sql.store import SqlStore
from backup_sync.stores.sqlite.catalog import DIALECT, in_main, quote
from backup_sync.stores.sqlite.errors import Conflict, UnknownCollation
from backup_sync.stores.sqlite.lock import file_lock
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.session import SqliteSession
from backup_sync.stores.sqlite.values import is_broken

PULL_ROWS = 250_000
"""Records taken over in one transaction, about."""

POSTED = "temp.backup_sync_posted"
"""Keys that are asked for. Every other table is named with its database, so that this one hides none."""


class SqliteStore(SqliteRanges):
    kind = "sqlite"

    session: SqliteSession

    def __init__(self, service: Service, connect: Callable[[str | None], Any], label: str) -> None:
        super().__init__(service, SqliteSession(label, connect))
        # With the database's own name: a bare one would be that of a temporary table first.
        self.name = in_main(self.table)
        self.unfilled_name = in_main(self.unfilled_table)
        self.journal = SqlJournal(
            self.session,
            DIALECT,
            service,
            history=in_main(self.history_table),
            states=in_main(STATE),
            copy=self.table,
        )
        self._identity: dict[str, str | None] | None = None

    # what it is

    def identity(self) -> dict[str, str | None]:
        if self._identity is None:
            self._identity = {"file": os.path.realpath(self.session.path)} if self.session.exists() else {}
        return self._identity

    @staticmethod
    def same(one: Identity, other: Identity) -> bool:
        return one.get("file") == other.get("file")

    def is_at(self, other: SqliteStore) -> bool:
        """By the file itself: links of both kinds lead to one."""
        return (
            self.session.exists() and other.session.exists() and os.path.samefile(self.session.path, other.session.path)
        )

    def exists(self) -> bool:
        return self.session.exists() and super().exists()

    # reading

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        where, params = self._where(within)
        rows = self.session.pages(f"SELECT {self._columns()} FROM {self.name} WHERE {where}", params, heavy=True)
        return heavy_rows.batches(rows, FETCH_ROWS, heavy_rows.held_by_row)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        self._post(keys)
        sql = f"SELECT {self._columns('t.')} FROM {POSTED} p CROSS JOIN {self.name} t ON {self._join()}"
        yield from heavy_rows.batches(self.session.pages(sql, heavy=True), len(keys), heavy_rows.held_by_row)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        self._post(keys)
        # The column may find 'a' equal to 'A' or to 'a ' (NOCASE, RTRIM), but the copy has them as two keys.
        names = ", ".join(f"t.{quote(column.name)}" for column in self.key_columns)
        sql = f"SELECT {names} FROM {POSTED} p CROSS JOIN {self.name} t ON {self._join()}"
        return set(self.session.query(sql)).intersection(keys)

    def written_since(self, within: KeyRange, moment: datetime) -> set[Key]:
        names = ", ".join(quote(column.name) for column in self.key_columns)
        where, params = self._where(within)
        # Without the Z: a moment with fraction digits comes before one without them, as text.
        since = str(iso(moment)).rstrip("Z")
        sql = f"SELECT {names} FROM {self.name} WHERE {where} AND {quote(SYNCED_AT)} >= ?"
        return set(self.session.query(sql, [*params, since]))

    def count(self) -> int:
        try:
            return int(next(self.session.query(f"SELECT COUNT(*) FROM {self.name}"))[0])
        except UnknownCollation:
            # By the first index that comes in handy, whatever it is ordered by.
            return int(next(self.session.query(f"SELECT COUNT(*) FROM {self.name} NOT INDEXED"))[0])

    def empty(self) -> bool:
        return next(self.session.query(f"SELECT 1 FROM {self.name} LIMIT 1"), None) is None

    def _columns(self, prefix: str = "") -> str:
        assert self.shape is not None
        return ", ".join(prefix + quote(column.name) for column in self.shape.columns)

    def _join(self) -> str:
        return " AND ".join(f"t.{quote(c.name)} = p.k{i}" for i, c in enumerate(self.key_columns))

    def _post(self, keys: Sequence[Key]) -> None:
        """Put keys into a table of this connection's own, where they keep their exact values."""
        width = len(self.key_columns)
        self.session.run(f"DROP TABLE IF EXISTS {POSTED}")
        self.session.run(f"CREATE TABLE {POSTED} (i INTEGER, {', '.join(f'k{n}' for n in range(width))})")
        rows = ((i, *key) for i, key in enumerate(keys))
        self.session.run_many(f"INSERT INTO {POSTED} VALUES (?{', ?' * width})", rows)

    # writing

    def pull(self, source: SqlStore, within: KeyRange | None) -> Generator[Applied, None, None] | None:
        """Both files are on this machine: SQLite reads the source itself, attached to the backup's connection."""
        assert isinstance(source, SqliteStore)
        if source.session.encoding != self.session.encoding:
            return None  # one is UTF-8 and the other UTF-16, and such files cannot be attached to each other
        return self._pull(source, source.cut(within, PULL_ROWS))

    def _pull(self, source: SqliteStore, cut: Cut) -> Generator[Applied, None, None]:
        self.session.run("ATTACH ? AS source", [str(source.session.path)])
        try:
            step = max(1, PULL_ROWS // cut.width) if isinstance(cut, EvenCut) else 1
            for start in range(0, len(cut), step):
                yield self._pull_range(cut.select(range(start, min(start + step, len(cut)))))
        finally:
            self.session.run("DETACH source")

    def _pull_range(self, within: KeyRange) -> Applied:
        where, params = self._where(within)
        there = f"source.{quote(self.table)}"
        rows = f"SELECT {self._columns()}, '{iso(utc_now())}' FROM {there} WHERE {where}"
        into = f"INTO {self.name} AS t ({self._columns()}, {quote(SYNCED_AT)}) {rows}"
        with self.session.transaction():
            try:
                applied = Applied(inserted=self.session.run(f"INSERT {into}", params))
            except Conflict:  # keys that are equal under the engine's collation, as in write_inserts
                inserted = self.session.run(f"INSERT OR IGNORE {into}", params)
                found = self.session.run(f"INSERT {into} {self._on_conflict()}", params)
                applied = Applied(inserted=inserted, updated=found - inserted)
            self.journal.count(applied)
        return applied

    def write_inserts(self, rows: Sequence[Record]) -> Applied:
        """Insert; a row whose key the engine finds there already (equal under its collation) is updated instead."""
        inserted = self._many("INSERT OR IGNORE", "", rows)
        if inserted == len(rows):
            return Applied(inserted=inserted)
        updated = self._upsert(rows) - inserted
        return Applied(inserted=inserted, updated=updated)

    def write_updates(self, rows: Sequence[Record]) -> Applied:
        return Applied(updated=self._upsert(rows))

    def _upsert(self, rows: Sequence[Record]) -> int:
        return self._many("INSERT", self._on_conflict(), rows)

    def _on_conflict(self) -> str:
        assert self.shape is not None
        names = [*(column.name for column in self.shape.columns), SYNCED_AT]
        key = ", ".join(quote(name) for name in self.shape.key)
        settings = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in names)
        return f"ON CONFLICT ({key}) DO UPDATE SET {settings}"

    def _many(self, verb: str, suffix: str, rows: Sequence[Record]) -> int:
        """How many rows were changed by writing these. Within the transaction that the caller has opened."""
        self.session.run("SAVEPOINT many")
        try:
            changed = self.session.run_many(self._one_sql(verb, suffix, ()), rows)
        except UnicodeEncodeError:
            # Rare, so it is found out by trying: some text is not valid UTF-8, which only its bytes can tell.
            self.session.run("ROLLBACK TO many")
            changed = sum(self._one_by_bytes(verb, suffix, row) for row in rows)
        self.session.run("RELEASE many")
        return changed

    def _one_by_bytes(self, verb: str, suffix: str, row: Record) -> int:
        broken = [index for index, value in enumerate(row) if is_broken(value)]
        values = list(row)
        for index in broken:
            values[index] = row[index].encode("utf-8", "surrogateescape")
        return self.session.run_many(self._one_sql(verb, suffix, broken), [values])

    def _one_sql(self, verb: str, suffix: str, as_bytes: Sequence[int]) -> str:
        """Writes one row; the text of the columns ``as_bytes`` is bound as bytes."""
        assert self.shape is not None
        marks = ["CAST(? AS TEXT)" if index in as_bytes else "?" for index in range(len(self.shape.columns))]
        return (
            f"{verb} INTO {self.name} AS t ({self._columns()}, {quote(SYNCED_AT)}) "
            f"VALUES ({', '.join(marks)}, '{iso(utc_now())}') {suffix}"
        )

    def write_deletes(self, keys: Sequence[Key]) -> int:
        # Twice: by the column's own index, and so that 'a' is not 'A' even where somebody gave the copy such a collation.
        where = " AND ".join(
            f"{quote(column.name)} = ?{n} AND {quote(column.name)} = ?{n} COLLATE BINARY"
            for n, column in enumerate(self.key_columns, start=1)
        )
        return self.session.run_many(f"DELETE FROM {self.name} WHERE {where}", keys)

    # history and lock

    def lock(self, run: SyncResult, wait_seconds: float) -> AbstractContextManager[None]:
        # Named after the table, since that is what two writers must not share, whatever their services are called.
        name = f"{self.session.path.name}.{urllib.parse.quote(without_case(self.table), safe='')}.lock"
        what = f"{self.label}: the backup of {self.service.name}"
        return file_lock(
            self.session.path.with_name(name), what, f"run {run.run_id} since {iso(utc_now())}", wait_seconds
        )

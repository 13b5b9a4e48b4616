"""SQL Server. The T-SQL is here, in mssql_catalog.py and in mssql_statements.py; types, errors and bulk copy have rooms
of their own.

Rows are read with the columns' wire expressions, and written either by bulk copy (many new rows) or as a JSON array
in a bound parameter that OPENJSON turns into a set. MERGE is not used: it has known deadlocks and races, and UPDATE …
FROM beside INSERT … WHERE NOT EXISTS says the same. Needs SQL Server 2017 (STRING_AGG) or newer, and a database at
compatibility level 130 (OPENJSON) or higher.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from operator import add
from typing import Any

from backup_sync.model.diff import Key, Stamp
from backup_sync.model.errors import BackupSyncError, LockHeld, RetriableError
from backup_sync.model.result import SyncResult, utc_now
from backup_sync.model.service import STATE, Service
from backup_sync.stores import weight as heavy_rows
from backup_sync.stores.base import Applied, Record, batches
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.bulk import BulkRows
from backup_sync.stores.mssql.catalog import MssqlCatalog
from backup_sync.stores.mssql.pairs import PackedPairs
from backup_sync.stores.mssql.rows import ROWS_AT_ONCE, WireRows
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.mssql.statements import DIALECT, quote
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import SYNCED_AT, TableShape
from backup_sync.stores.sql.store import EVERYTHING

BULK_ROWS = 4_000
BULK_ROWS_AGAIN = 500
"""From here on a bulk copy is quicker than OPENJSON: its first use in a session costs about a third of a second."""
READ_ROWS = 10_000
BATCH_ROWS = 16_000
"""Whole rows of a batch, read and written together: three are in memory at once. Each costs a hundredth of a second."""
JSON_ROWS = 2_000


class MssqlStore(MssqlCatalog):
    kind = "mssql"

    session: MssqlSession

    def __init__(self, service: Service, connect: Any, label: str, database: str, address: str = "") -> None:
        super().__init__(service, MssqlSession(label, connect, address))
        self.database = database
        self._places: list[int] = []  # known from the first bulk copy on
        self.name = f"{quote(self.schema)}.{quote(self.table)}"
        self.unfilled_name = f"{quote(self.schema)}.{quote(self.unfilled_table)}"
        self.journal = SqlJournal(
            self.session,
            DIALECT,
            service,
            history=f"{quote(self.schema)}.{quote(self.history_table)}",
            states=f"{quote(self.schema)}.{quote(STATE)}",
            copy=self.full_name,
        )

    def open(self, shape: TableShape, *, planned: bool = False) -> None:
        super().open(shape, planned=planned)
        self._bulk = BulkRows(shape)
        self._packed = PackedPairs(self.key_columns, self._fields, self.label)
        self._rows = WireRows(shape)

    # reading

    def digestible(self) -> bool:
        return True

    def bounds(self, within: KeyRange) -> tuple[int, int] | None:
        name = quote(self.key_columns[0].name)
        where, params = self._where(within)
        low, high = next(self.session.query(f"SELECT MIN({name}), MAX({name}) FROM {self.name} WHERE {where}", params))
        return None if low is None else (int(low), int(high))

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        order = ", ".join(quote(column.name) for column in self.key_columns)
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.key_columns))
        wire = ", ".join(types.outgoing(f"k{number}", column.type) for number, column in enumerate(self.key_columns))
        where, params = self._where(within)
        sql = (
            f"SELECT {wire} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.name} WHERE {where}) k "
            f"WHERE n % {every} = 0 ORDER BY n"
        )
        return [tuple(row) for row in self.session.query(sql, params)]

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        sql, params = self.digest_sql(within, even)
        found: dict[int, tuple[int, ...]] = {}
        for number, *sums in chain.from_iterable(self.session.pages(sql, params, READ_ROWS)):
            piece = min(max(int(number), 0), even.count - 1) if even else 0
            digest = tuple(map(int, sums))
            found[piece] = tuple(map(add, found[piece], digest)) if piece in found else digest
        return ((piece, *digest) for piece, digest in found.items())

    def pairs(self, within: KeyRange | None) -> Iterator[Collection[Hashable]]:
        # Many pairs to a row: the driver's cost is by the row, and most rows are the same on both sides.
        within = within or EVERYTHING
        if self._packable():
            sql, params = self.packed_stamps_sql(within)
            return self.session.pages(sql, params)
        if self._columns_packed():
            names = [quote(column.name) for column in (*self.key_columns, *self.stamp_columns)]
            where, params = self._where(within)
            return self.session.pages(
                self._packed.sql(self.compared, names, where), params, READ_ROWS // self._packed.to_a_row
            )
        return self._plain_pairs(within)

    def _columns_packed(self) -> bool:
        return self._packed.possible and not self.watched

    def counted(self, bundles: Collection[Any]) -> int:
        if self._packable():
            return sum(text.count(",") + 1 for (text,) in bundles)
        return sum(count for count, *_ in bundles) if self._columns_packed() else len(bundles)

    def unpacked(self, bundles: Set[Any]) -> Set[Hashable]:
        if self._packable():
            return set(json.loads(f"[{','.join(text for (text,) in bundles)}]"))
        return set(chain.from_iterable(map(self._packed.unpack, bundles))) if self._columns_packed() else bundles

    def _plain_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]:
        """A row each: what :meth:`pairs` gives, whatever the types."""
        parts = [types.outgoing(quote(column.name), column.type) for column in self.key_columns]
        # As text, 9.00 would be higher than 10.00.
        parts += [
            quote(column.name)
            if types.base(column.type) in types.EXACT
            else types.outgoing(quote(column.name), column.type)
            for column in self._fields
        ]
        parts += [self._whole(column) for column in self.watched]
        where, params = self._where(within)
        return self.session.pages(f"SELECT {', '.join(parts)} FROM {self.compared} WHERE {where}", params, READ_ROWS)

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        if not isinstance(pair, int):
            return super().split(pair)
        key = (pair + 2**31) >> 32
        return (key,), (pair - (key << 32),)

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        where, params = self._where(within)
        sql = f"SELECT {self._rows.selected()} FROM {self.name} WHERE {where}"
        found = (self._rows.records(rows) for rows in self.session.pages(sql, params, ROWS_AT_ONCE, heavy=True))
        return heavy_rows.batches((self._exact(*records) for records in found), BATCH_ROWS, heavy_rows.held_by_row)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        sql = f"SELECT {self._rows.selected('t.')} FROM {self._posted()} p JOIN {self.name} t ON {self._join()}"
        missing = set(keys)

        def found() -> Iterator[list[Record]]:
            for rows in self.session.pages(sql, [self._post(keys)], ROWS_AT_ONCE, heavy=True):
                records, doubtful = self._rows.records(rows)
                missing.difference_update(map(self.key_of, records))
                yield self._exact(records, doubtful)

        yield from heavy_rows.batches(found(), len(keys), heavy_rows.held_by_row)
        self._check_found(missing)

    def _exact(self, found: list[Record], doubtful: Sequence[int]) -> list[Record]:
        """The records with all their text as it is: doubtful ones are read once more by their keys, text as bytes."""
        if not doubtful:
            return found
        assert self.shape is not None
        columns = self.shape.columns
        names = ", ".join(types.exactly(f"t.{quote(column.name)}", column.type) for column in columns)
        sql = f"SELECT {names} FROM {self._posted()} p JOIN {self.name} t ON {self._join()}"
        keys = [self.key_of(found[n]) for n in doubtful]
        exact = {}
        # On a connection of its own: the other one may be in the middle of its rows.
        for chunk in batches(keys, JSON_ROWS):
            for row in self.session.second.results(sql, (self._post(chunk),))[0]:
                record = tuple(map(types.from_exact, row, (column.type for column in columns)))
                exact[self.key_of(record)] = record
        self._check_found(set(keys).difference(exact))
        # One that is gone by now is left out, as any that is deleted while a run reads.
        again: dict[int, Record | None] = {n: exact.get(self.key_of(found[n])) for n in doubtful}
        return [record for n, known in enumerate(found) if (record := again.get(n, known)) is not None]

    def _check_found(self, missing: Collection[Key]) -> None:
        """Raise RetriableError if keys with a ? are not found again: that may have been another character."""
        for number, column in enumerate(self.key_columns):
            if types.base(column.type) in types.TEXTS and any("?" in str(key[number]) for key in missing):
                raise RetriableError(
                    f"{self.label}: rows of {self.service.table} were not found again by key column {column.name}: they were "
                    "deleted meanwhile (then a retry helps), or their keys hold a character that cannot be read (half a "
                    "surrogate pair, a byte outside the code page)"
                )

    def present(self, keys: Sequence[Key]) -> set[Key]:
        sql = f"SELECT p.i FROM {self._posted()} p WHERE EXISTS (SELECT 1 FROM {self.name} t WHERE {self._join()})"
        return {keys[row[0]] for row in self.session.query(sql, [self._post(keys)])}

    def written_since(self, within: KeyRange, moment: datetime) -> set[Key]:
        names = ", ".join(types.outgoing(quote(column.name), column.type) for column in self.key_columns)
        where, params = self._where(within)
        since = f"{quote(SYNCED_AT)} >= CONVERT(DATETIME2(7), %s)"
        return set(
            self.session.query(f"SELECT {names} FROM {self.name} WHERE {where} AND {since}", [*params, _text(moment)])
        )

    def count(self) -> int:
        return int(self.session.scalar(f"SELECT COUNT_BIG(*) FROM {self.name}"))

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT TOP (1) 1 FROM {self.name}") is None

    # writing

    def write_inserts(self, rows: Sequence[Record]) -> Applied:
        loose_key = any(types.base(column.type) in types.LOOSE for column in self.key_columns)
        inserted = updated = 0
        least = BULK_ROWS_AGAIN if self._places else BULK_ROWS
        if len(rows) >= least and not loose_key and self._bulk.possible:
            fit, rows = self._bulk.split(rows)
            if fit:
                self._bulk_copy(fit)
            inserted = len(fit)
        for chunk in batches(rows, JSON_ROWS):
            if loose_key:
                # Keys that differ here may be equal there: let the engine decide.
                updated += self._update(chunk)
            inserted += self._insert(chunk)
        return Applied(inserted=inserted, updated=updated)

    def write_updates(self, rows: Sequence[Record]) -> Applied:
        return Applied(updated=sum(self._update(chunk) for chunk in batches(rows, JSON_ROWS)))

    def _bulk_copy(self, rows: Sequence[Record]) -> None:
        assert self.shape is not None
        now = _text(utc_now())
        positions = self._positions()
        self.session.bulk_copy(self.name, ((*row, now) for row in rows), positions, len(rows) + 1)

    def _positions(self) -> list[int]:
        """Where each column stands in the backup's own table: a bulk copy goes by position."""
        assert self.shape is not None
        if not self._places:
            sql = "SELECT name, column_id FROM sys.columns WHERE object_id = OBJECT_ID(%s)"
            own = self.own_shape()
            assert own is not None
            found = {own.fold(name): position for name, position in self.session.query(sql, (self.name,))}
            names = (*(column.name for column in self.shape.columns), SYNCED_AT)
            self._places = [found[own.fold(name)] for name in names]
        return self._places

    def _insert(self, rows: Sequence[Record]) -> int:
        sql = self.insert_sql()
        return self.session.run(sql, [_text(utc_now()), _rows_json(rows)])

    def _update(self, rows: Sequence[Record]) -> int:
        return self.session.run(self.update_sql(), [_text(utc_now()), _rows_json(rows)])

    def write_deletes(self, keys: Sequence[Key]) -> int:
        return self.session.run(
            f"DELETE t FROM {self.name} t JOIN {self._posted()} p ON {self._join()}", [self._post(keys)]
        )

    # history and lock

    @contextmanager
    def lock(self, run: SyncResult, wait_seconds: float) -> Iterator[None]:
        """An application lock of this session (sp_getapplock): gone with the connection, however that ends.

        It is named after the table, since that is what two writers must not share, whatever their services are called.
        """
        resource = f"backup_sync:{self.full_name}".casefold()
        sql = (
            "DECLARE @got INT; EXEC @got = sp_getapplock @Resource = %s, @LockMode = 'Exclusive', "
            "@LockOwner = 'Session', @LockTimeout = %s; SELECT @got"
        )
        if self.session.scalar(sql, (resource, int(wait_seconds * 1000))) < 0:
            raise LockHeld(
                f"{self.label}: the backup of {self.service.name} is being written by {self.journal.holder()}; "
                f"waited {wait_seconds:.0f} s for it to end"
            )
        try:
            yield
        finally:
            try:
                self.session.run("EXEC sp_releaseapplock @Resource = %s, @LockOwner = 'Session'", (resource,))
            except BackupSyncError:
                self.session.drop()  # closing the session releases the lock as well


def _text(moment: datetime) -> str:
    """A moment in UTC. A blank between date and time: the form with a T is refused by the bulk-copy client."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _rows_json(rows: Sequence[Record]) -> str:
    return types.posted([[types.to_json(value) for value in row] for row in rows])

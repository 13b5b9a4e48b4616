"""The SQL flow, once, for every dialect. The SQL text itself is in the dialects (``mssql.py``, ``sqlite.py``)."""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from backup_sync.core.diff import Key, Stamp
from backup_sync.core.errors import ConfigurationError, FatalError
from backup_sync.service import Service
from backup_sync.stores.base import Applied, Cut, Digest, Record, Usage, batches
from backup_sync.stores.ranges import EvenCut, KeyRange, ListCut
from backup_sync.stores.sql_history import SqlHistory

log = logging.getLogger(__name__)

SYNCED_AT = "SyncedAt"
HISTORY = "SyncHistory"
EVERYTHING = KeyRange()

PIECE_KEYS = 128
"""Width of the finest pieces of a whole-number key: fine ones are nearly free in a GROUP BY, and a changed row then
costs the reading of a piece rather than of a range."""
MAX_PIECES = 16_384
"""Digests held in memory at once; a larger key space gets wider pieces, and those that differ are cut again."""
FETCH_ROWS = 2_000
POSTED_KEYS = 5_000

# The digest of a row is ((a·key + Σ bᵢ·stampᵢ + c) mod P)² mod Q. Two different primes, because with one the sum of
# squares is a polynomial in the sums of key², stamp² and key·stamp, and changes that keep those would go unseen.
DIGEST_P = 2**31 - 1
DIGEST_Q = 2**31 - 19


@dataclass(frozen=True)
class Column:
    """A column as its catalog describes it. ``type`` is written as in a CREATE TABLE statement."""

    name: str
    type: str
    nullable: bool = True
    collation: str | None = None


@dataclass(frozen=True)
class TableShape:
    """Columns in catalog order, and the names of the key columns in key order."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def column(self, name: str) -> Column:
        return self.columns[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a column; names are compared without case, as SQL does. Raises KeyError."""
        wanted = name.casefold()
        for index, column in enumerate(self.columns):
            if column.name.casefold() == wanted:
                return index
        raise KeyError(name)


# Drawn anew by each process: two rows that happen to cancel out tonight will not do so tomorrow.
MIX = tuple(random.SystemRandom().randrange(2**20, DIGEST_P) for _ in range(256))


class SqlStore(SqlHistory, ABC):
    """A table in a SQL database. Subclasses provide the SQL text and the few steps that differ by product.

    ``connect``: opens a DB-API connection to the named database (None: the one of the Airflow connection).
    """

    kind: str
    dense = 0.25

    def __init__(self, service: Service, connect: Callable[[str | None], Any], where: str) -> None:
        assert service.table is not None
        self.service = service
        self.where = where  # how messages call this end: the connection id
        self.schema, self.table = service.table.split(".")
        self.history_table = service.history or HISTORY
        self._connect = connect
        self._connection: Any = None
        self._own: TableShape | None = None
        self.shape: TableShape | None = None
        self._fields: tuple[Column, ...] = ()
        self._key: tuple[Column, ...] = ()

    # what a dialect provides

    @abstractmethod
    def catalog(self) -> TableShape | None:
        """The table's columns and primary key as the database tells them, or None if there is no such table."""

    @abstractmethod
    def pages(self, sql: str, params: Sequence[Any] = (), size: int = FETCH_ROWS) -> Iterator[list[tuple[Any, ...]]]:
        """Run a statement and stream its rows, ``size`` at a time. Raises only errors of the BackupSyncError tree."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a statement and stream its rows one by one."""
        return chain.from_iterable(self.pages(sql, params))

    @abstractmethod
    def run_sql(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement that returns no rows; the number of rows it changed."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]: ...

    @abstractmethod
    def is_integer(self, column: Column) -> bool: ...

    @abstractmethod
    def digestible(self) -> bool:
        """Whether this product can digest the key and stamp columns of the open shape."""

    @abstractmethod
    def bounds(self, within: KeyRange) -> tuple[int, int] | None:
        """Lowest and highest whole-number key of a range, or None if it is empty."""

    @abstractmethod
    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        """Every ``every``-th key of a range, in the engine's order."""

    @abstractmethod
    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        """(piece, count, sum of mixes) for each piece of ``even`` (None: one row, piece 0)."""

    @abstractmethod
    def pairs(self, within: KeyRange | None) -> Iterator[Collection[Hashable]]: ...

    @abstractmethod
    def read(self, within: KeyRange) -> Iterator[list[Record]]: ...

    @abstractmethod
    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]: ...

    @abstractmethod
    def present(self, keys: Sequence[Key]) -> set[Key]: ...

    @abstractmethod
    def unique(self, key: tuple[str, ...]) -> bool:
        """Whether these columns are unique: by an index of the catalog, or else by looking."""

    @abstractmethod
    def create(self, shape: TableShape | None, *, dry_run: bool = False) -> list[str]: ...

    @abstractmethod
    def write_inserts(self, rows: Sequence[Record]) -> Applied: ...

    @abstractmethod
    def write_updates(self, rows: Sequence[Record]) -> Applied: ...

    @abstractmethod
    def write_deletes(self, keys: Sequence[Key]) -> int: ...

    # the flow

    def own_shape(self) -> TableShape | None:
        """The catalog's answer, asked for once: it costs more than reading a small table."""
        if self._own is None:
            self._own = self.catalog()
        return self._own

    def describe(self) -> TableShape:
        shape = self.own_shape()
        if shape is None:
            raise ConfigurationError(
                f"{self.where}: table {self.service.table} does not exist or may not be read; correct 'table' of service "
                f"{self.service.name} or grant SELECT on it"
            )
        if self.service.key:
            shape = TableShape(shape.columns, tuple(self.service.key))
        if not shape.key:
            raise ConfigurationError(
                f"{self.where}: table {self.service.table} has no primary key; name its key columns in 'key' of service "
                f"{self.service.name}"
            )
        for name in (*shape.key, *self.service.fields):
            self._must_have(shape, name)
        nullable = [name for name in shape.key if shape.column(name).nullable]
        if nullable:
            raise ConfigurationError(
                f"{self.where}: key column {', '.join(nullable)} of {self.service.table} is nullable; a key has to be NOT NULL"
            )
        if self.service.key and not self.unique(shape.key):
            raise ConfigurationError(
                f"{self.where}: key {', '.join(shape.key)} of {self.service.table} is not unique; name columns that are"
            )
        if any(column.name.casefold() == SYNCED_AT.casefold() for column in shape.columns):
            raise ConfigurationError(
                f"{self.where}: {self.service.table} has a column {SYNCED_AT}, which the backup's copy needs for itself"
            )
        key = tuple(shape.column(name).name for name in shape.key)
        return TableShape(shape.columns, key)

    def _must_have(self, shape: TableShape, name: str) -> None:
        try:
            shape.index(name)
        except KeyError:
            raise ConfigurationError(
                f"{self.where}: {self.service.table} has no column {name}, which service {self.service.name} names; "
                f"it has {', '.join(column.name for column in shape.columns)}"
            ) from None

    def exists(self) -> bool:
        return self.own_shape() is not None

    def open(self, shape: TableShape) -> None:
        own = self.own_shape()
        if own is None:
            raise ConfigurationError(
                f"{self.where}: {self.service.table} does not exist yet; run the DAG backup_initialize first"
            )
        self.check_fit(shape, own)
        self.shape = shape
        self._fields = tuple(shape.column(name) for name in self.service.fields)
        self._key = tuple(shape.column(name) for name in shape.key)
        self._key_at = tuple(shape.index(name) for name in shape.key)

    def check_is_backup(self, own: TableShape) -> None:
        """Raise FatalError for a table that is no copy of ours: the operational one itself, most likely."""
        if all(column.name.casefold() != SYNCED_AT.casefold() for column in own.columns):
            raise FatalError(
                f"{self.where}: the table {self.service.table} there is not a copy made by backup_sync (it has no column "
                f"{SYNCED_AT}); does the connection point at an operational database? If not, rename that table away"
            )

    def check_fit(self, shape: TableShape, own: TableShape) -> None:
        """Raise FatalError unless every column of ``shape`` is here in the same type, with the same key."""
        names = {column.name.casefold(): column for column in own.columns}
        missing = [column.name for column in shape.columns if column.name.casefold() not in names]
        other = [
            f"{column.name} ({names[column.name.casefold()].type} here, {column.type} in the source)"
            for column in shape.columns
            if column.name.casefold() in names
            and (names[column.name.casefold()].type, names[column.name.casefold()].collation)
            != (column.type, column.collation)
        ]
        problems = []
        if missing:
            problems.append(f"lacks {', '.join(missing)}")
        if other:
            problems.append(f"differs in {', '.join(other)}")
        if not self.service.key and tuple(map(str.casefold, own.key)) != tuple(map(str.casefold, shape.key)):
            problems.append(f"has the key {', '.join(own.key) or 'none'} and not {', '.join(shape.key)}")
        if problems:
            raise FatalError(
                f"{self.where}: the table {self.service.table} does not fit the source: it {'; it '.join(problems)}. "
                "Change the backup's table to match, or rename it away and run backup_initialize"
            )

    @property
    def key_columns(self) -> tuple[Column, ...]:
        return self._key

    @property
    def stamp_columns(self) -> tuple[Column, ...]:
        return self._fields

    def key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

    # reading

    def cut(self, within: KeyRange | None, records: int) -> Cut:
        within = within or EVERYTHING
        if len(self._key) == 1 and self.is_integer(self._key[0]):
            ends = self.bounds(within)
            if ends is None:
                return ListCut(within, ())
            span = ends[1] - ends[0] + 1
            if span < 2**62:  # beyond that the arithmetic would overflow 64 bits
                width = min(max(PIECE_KEYS, -(-span // MAX_PIECES)), max(1, -(-span // 2)))
                return EvenCut(within, ends[0], width, -(-span // width))
        return ListCut(within, tuple(self.boundaries(within, records)))

    def digests(self, cut: Cut) -> dict[int, Digest] | None:
        if not self.digestible():
            return None
        if isinstance(cut, EvenCut):
            return {row[0]: row[1:] for row in self.digest_rows(cut.within, cut)}
        assert isinstance(cut, ListCut)
        found = {}
        for piece in range(len(cut)):
            for row in self.digest_rows(cut.select([piece]), None):
                if row[1]:
                    found[piece] = row[1:]
        return found

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        width = len(self._key)
        return pair[:width], pair[width:]

    def records(self, within: KeyRange | None) -> Iterator[list[Record]]:
        return self.read(within or EVERYTHING)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        for chunk in batches(keys, POSTED_KEYS):
            yield from self.read_keys(chunk)

    # writing

    def pull(self, source: SqlStore, within: KeyRange | None) -> Generator[Applied, None, None] | None:
        return None

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        with self.transaction():
            new = self.write_inserts(inserts) if inserts else Applied()
            old = self.write_updates(updates) if updates else Applied()
            applied = Applied(new.inserted + old.inserted, new.updated + old.updated)
            self.count_in_history(applied)
        return applied

    def delete(self, keys: Sequence[Key]) -> Applied:
        with self.transaction():
            applied = Applied(deleted=self.write_deletes(keys))
            self.count_in_history(applied)
        return applied

    # bookkeeping

    @property
    def rejected(self) -> int:
        return 0

    @property
    def usage(self) -> Usage:
        return Usage()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

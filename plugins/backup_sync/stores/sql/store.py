"""The SQL flow, once, for every dialect. The SQL text itself is in the dialects (``mssql.py``, ``sqlite.py``)."""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Hashable, Iterator, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from backup_sync.model.diff import Key, Stamp
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.names import parse_table
from backup_sync.model.service import HISTORY, UNFILLED, Service
from backup_sync.stores.base import Applied, Cut, Digest, Record, Usage, batches
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.evolution import SqlSchema
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.ranges import MOST_DIGESTS, EvenCut, KeyRange, ListCut
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import SYNCED_AT, Column, TableShape

log = logging.getLogger(__name__)

EVERYTHING = KeyRange()

FEW_PIECES = 512
PIECE_KEYS, WIDE_PIECE_KEYS = 128, 4_096
"""Widths between which the pieces of a whole-number key are chosen. In wide pieces a changed row costs the reading of
many pairs; many pieces make a server's digest dearer (a grouping into thousands took twice the time of one into
hundreds). So: some hundred pieces, as long as they are not too wide."""
POSTED_KEYS = 2_500

# The digest of a row is ((a·key + Σ bᵢ·stampᵢ + c) mod P)² mod Q. Two different primes, because with one the sum of
# squares is a polynomial in the sums of key², stamp² and key·stamp, and changes that keep those would go unseen.
DIGEST_P = 2**31 - 1
DIGEST_Q = 2**31 - 19


# Drawn anew by each process: two rows that happen to cancel out tonight will not do so tomorrow. Two for each of the
# 2,000 columns that a table may have; below 2^29, so that the products of three 32-bit columns and their sum stay within
# 64 bits and need no modulo of their own.
MIX = tuple(random.SystemRandom().randrange(2**20, 2**29) for _ in range(4_100))
SMALL_COLUMNS = 3


def summed(terms: Sequence[str]) -> str:
    """``a + b + c + …`` as a tree and not as a chain: engines bound how deep an expression may be (SQLite: 1,000)."""
    if len(terms) <= 2:
        return " + ".join(terms)
    middle = len(terms) // 2
    return f"({summed(terms[:middle])}) + ({summed(terms[middle:])})"


class SqlStore(SqlSchema, ABC):
    """A table in a SQL database. Subclasses provide the SQL text and the few steps that differ by product."""

    kind: str
    dialect: Dialect
    journal: SqlJournal
    name: str
    """The table's, quoted."""
    dense = 0.25
    few_pieces, piece_keys = FEW_PIECES, PIECE_KEYS
    most_parts = 8
    """Statements that digest a whole key space, at most: a larger one gets wider pieces, and one of them that holds too
    many records is cut again."""

    def __init__(self, service: Service, session: SqlSession) -> None:
        assert service.table is not None
        self.service = service
        self.session = session
        self.label = session.label
        self.schema, self.table = parse_table(service.table)
        self.full_name = f"{self.schema}.{self.table}"
        """However it is written in the services file."""
        self.history_table = service.history or HISTORY
        self.unfilled_table = self.history_table + UNFILLED
        self._own: TableShape | None = None
        self.shape: TableShape | None = None
        self._fields: tuple[Column, ...] = ()
        self.watched: tuple[Column, ...] = ()
        self._planned: tuple[Column, ...] = ()
        self._key: tuple[Column, ...] = ()

    # what a dialect provides

    @abstractmethod
    def catalog(self) -> TableShape | None:
        """The table's columns and primary key as the database tells them, or None if there is no such table."""

    @abstractmethod
    def no_value(self, column: Column) -> str:
        """NULL, of the column's type where that matters."""

    @abstractmethod
    def is_integer(self, column: Column) -> bool: ...

    @abstractmethod
    def digestible(self) -> bool:
        """Whether this product can digest the key and stamp columns of the open shape."""

    @abstractmethod
    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        """Lowest and highest key of a range, of one column whose type is that of whole numbers; None if it is empty."""

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
    def written_since(self, within: KeyRange, moment: datetime) -> set[Key]: ...

    @abstractmethod
    def unique(self, key: tuple[str, ...]) -> bool:
        """Whether these columns are unique: by an index of the catalog, or else by looking."""

    @abstractmethod
    def empty(self) -> bool: ...

    @abstractmethod
    def create(self, shape: TableShape, *, dry_run: bool = False) -> list[str]: ...

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
                f"{self.label}: table {self.service.table} does not exist or may not be read; correct 'table' of service "
                f"{self.service.name} or grant SELECT on it"
            )
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
        return replace(shape, key=tuple(shape.column(name).name for name in shape.key))

    def _must_have(self, shape: TableShape, name: str) -> None:
        try:
            shape.index(name)
        except KeyError:
            raise ConfigurationError(
                f"{self.label}: {self.service.table} has no column {name}, which service {self.service.name} names; "
                f"it has {', '.join(column.name for column in shape.columns)}"
            ) from None

    def check_fields(self, *, matched: bool = False) -> None:
        pass  # a table has its columns whatever it holds, and describe() looks for them

    def exists(self) -> bool:
        return self.own_shape() is not None

    def is_ours(self) -> bool:
        own = self.own_shape()
        if own is None:
            return True
        self.check_is_backup(own)
        return self.empty() or self.journal.has_success()

    def open(self, shape: TableShape, *, planned: bool = False) -> None:
        own = self.own_shape()
        if own is None:
            raise ConfigurationError(
                f"{self.label}: {self.service.table} does not exist yet; run the DAG backup_initialize first"
            )
        self._planned = self.check_fit(shape, own, planned=planned)
        self.shape = shape
        self._fields = tuple(shape.column(name) for name in self.service.fields)
        self._key = tuple(shape.column(name) for name in shape.key)
        self._key_at = tuple(shape.index(name) for name in shape.key)

    @property
    def compared(self) -> str:
        """What pairs and digests are read from: the table, with the columns it is yet to get where that is planned."""
        if not self._planned:
            return self.name
        columns = ", ".join(f"{self.no_value(column)} AS {self.dialect.quote(column.name)}" for column in self._planned)
        return f"(SELECT t.*, {columns} FROM {self.name} t) planned"

    @property
    def key_columns(self) -> tuple[Column, ...]:
        return self._key

    @property
    def stamp_columns(self) -> tuple[Column, ...]:
        return self._fields + self.watched

    def watch(self, fields: Sequence[str]) -> None:
        """These columns enter as a hash: a pair has to stay small whatever they hold. Unfilled, any may be NULL."""
        assert self.shape is not None
        self._fields = tuple(replace(one, nullable=one.nullable or one.name in fields) for one in self._fields)
        self.watched = tuple(replace(self.shape.column(name), nullable=True) for name in fields)

    def key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

    # reading

    def cut(self, within: KeyRange | None, records: int) -> Cut:
        within = within or EVERYTHING
        # Pieces that cannot be digested are all compared, so they should be as large as memory allows.
        if self.digestible() and len(self._key) == 1 and self.is_integer(self._key[0]):
            ends = self.bounds(within)
            if ends is None:
                return ListCut(within, ())
            # A column of SQLite may hold anything. And beyond 62 bits the arithmetic would overflow 64.
            if all(isinstance(end, int) for end in ends) and (span := ends[1] - ends[0] + 1) < 2**62:
                wanted = min(max(self.piece_keys, -(-span // self.few_pieces)), WIDE_PIECE_KEYS)
                wide = -(-span // (self.most_parts * MOST_DIGESTS))
                width = min(max(wanted, wide), max(1, -(-span // 2)))
                return EvenCut(within, ends[0], width, -(-span // width))
        return ListCut(within, tuple(self.boundaries(within, records)))

    def readable(self, cut: Cut) -> Cut:
        return cut

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

    def counted(self, bundles: Collection[Hashable]) -> int:
        return len(bundles)

    def unpacked(self, bundles: Set[Hashable]) -> Set[Hashable]:
        return bundles

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        width = len(self._key)
        return pair[:width], pair[width:]

    def records(self, within: KeyRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        return self.read(within or EVERYTHING)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        for chunk in batches(keys, POSTED_KEYS):
            yield from self.read_keys(chunk)

    # writing

    def pull(self, source: SqlStore, within: KeyRange | None) -> Generator[Applied, None, None] | None:
        return None

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        with self.session.transaction():
            new = self.write_inserts(inserts) if inserts else Applied()
            old = self.write_updates(updates) if updates else Applied()
            applied = Applied(new.inserted + old.inserted, new.updated + old.updated)
            self.journal.count(applied)
        return applied

    def delete(self, keys: Sequence[Key]) -> Applied:
        with self.session.transaction():
            applied = Applied(deleted=self.write_deletes(keys))
            self.journal.count(applied)
        return applied

    # bookkeeping

    def check_lock(self) -> None:
        pass  # the lock belongs to the session, or the process, that writes: it cannot be lost without it

    @property
    def rejected(self) -> int:
        return 0

    @property
    def usage(self) -> Usage:
        return Usage()

    def close(self) -> None:
        self.session.close()

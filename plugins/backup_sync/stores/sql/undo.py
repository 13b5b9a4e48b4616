"""The history of records of a SQL copy: what each row was before each run that changed it.

The table ``<Table>_Undo`` next to the copy has the copy's columns plus three: the run's number, what the run did (``I``,
``U`` or ``D``), and its SyncId. An insert stores the key alone. The state at the end of run S is the
copy with all entries of later runs undone: for each key the entry with the lowest number above S decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Keep, Reader, Record
from backup_sync.stores.sql.beside import OP, SEQ, SqlBeside
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import TableShape


class SqlUndo(SqlBeside):
    """See :class:`backup_sync.stores.base.Undo`. ``open_reader``: of a table that looks like the copy."""

    def __init__(
        self,
        session: SqlSession,
        copy: SqlCatalog,
        beside: SqlCatalog,
        open_reader: Callable[..., Reader],
        limits: Limits,
    ) -> None:
        super().__init__(session, copy, beside)
        self.limits, self._open_reader = limits, open_reader

    # what a dialect provides

    count_all = "COUNT(*)"

    @abstractmethod
    def delete_sql(self, condition: str, limit: int) -> str:
        """Deletes so many entries ``u`` for which a condition holds."""

    @abstractmethod
    def forget_one(self, key: Key) -> int:
        """Remove all entries of one key; how many there were."""

    @abstractmethod
    def as_of_name(self, number: int) -> str:
        """The state at the end of a run, as it stands in a statement in place of a table."""

    # looking

    def highest(self) -> int:
        sql = f"SELECT MAX({self._seq}) FROM {self.name}"
        found = next(iter(self.dialect.rows_if_there(self.session, self.name, sql, [])), (None,))
        return int(found[0] or 0)

    def count(self) -> int:
        return int(self.session.scalar(f"SELECT {self.count_all} FROM {self.name}"))

    def reader(self, shape: TableShape, number: int, *, content: bool = False, stamps: bool = True) -> Reader:
        table = replace(self.table, name=self.as_of_name(number))
        return self._open_reader(table, shape, content=content, stamps=stamps)

    def as_of_sql(self, number: str) -> str:
        """A SELECT of the state at the end of a run."""
        own = self.copy.own_shape()
        assert own is not None
        names = [self.dialect.quote(column.name) for column in own.columns]

        def columns(prefix: str) -> str:
            return ", ".join(f"{prefix}.{name}" for name in names)

        first, same = self._first(f"{self._seq} > {number}"), self._same_key
        return (
            f"SELECT {columns('t')} FROM {self.table.name} t LEFT JOIN {first} f ON {same('t', 'f')} WHERE f.{self._seq} IS NULL "
            f"UNION ALL SELECT {columns('u')} FROM {first} f JOIN {self.name} u ON u.{self._seq} = f.{self._seq} "
            f"AND {same('u', 'f')} WHERE u.{self.dialect.quote(OP)} <> 'I'"
        )

    # entries that are no longer needed

    def cut(self, number: int) -> int:
        return self._delete(f"u.{self._seq} <= {int(number)}")

    def forget(self, key: Sequence[Any]) -> int:
        if len(key) != len(self.key):
            names = ", ".join(column.name for column in self.key)
            raise ConfigurationError(
                f"{self.copy.label}: the key of {self.table.full_name} is {names}; give a value for each"
            )
        return self.forget_one(tuple(key)) if self.exists() else 0

    def thin(self, first: int, last: int) -> int:
        return self._delete(self.thin_condition(first, last))

    def thin_condition(self, first: int, last: int) -> str:
        """Of the entries ``u`` that nobody needs to rebuild the two states, if none in between is wanted."""
        within = f"{self._seq} > {int(first)} AND {{}}{self._seq} <= {int(last)}"
        lowest = self._first(within.format(""))
        return (
            f"u.{within.format('u.')} AND EXISTS (SELECT 1 FROM {lowest} f WHERE {self._same_key('u', 'f')} "
            f"AND f.{self._seq} < u.{self._seq})"
        )

    def _delete(self, condition: str) -> int:
        if not self.exists():
            return 0
        gone = 0
        while found := self.session.run(self.delete_sql(condition, self.limits.pending_keys)):
            gone += found
        return gone

    # texts

    @property
    def _seq(self) -> str:
        return self.dialect.quote(SEQ)

    def _same_key(self, one: str, other: str) -> str:
        names = [self.dialect.quote(column.name) for column in self.key]
        return " AND ".join(f"{one}.{name} = {other}.{name}" for name in names)

    def _first(self, condition: str) -> str:
        """A derived table of the lowest number of each key, of the entries for which a condition holds."""
        names = ", ".join(self.dialect.quote(column.name) for column in self.key)
        return f"(SELECT {names}, MIN({self._seq}) AS {self._seq} FROM {self.name} WHERE {condition} GROUP BY {names})"


class SqlEntries(ABC):
    """Keeps what a run is about to replace, within the transaction that replaces it. ``shape``: of the rows it writes."""

    def __init__(self, undo: SqlUndo, keep: Keep, shape: TableShape) -> None:
        self.undo, self.keep = undo, keep
        self._key_at = [shape.index(name) for name in shape.key]
        self._checked = False

    def key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

    # what a dialect provides

    @abstractmethod
    def absent(self, keys: Sequence[Key]) -> int:
        """Write down those keys that the copy does not hold; how many. One that this run wrote down before stays as it is."""

    @abstractmethod
    def image(self, operation: str, keys: Sequence[Key]) -> None:
        """Keep the rows that the copy holds under these keys, unless this run wrote the key down before."""

    @abstractmethod
    def image_changed(self, rows: Sequence[Record]) -> None:
        """Keep the copy's rows with the keys of ``rows``, where they differ from those in any byte."""

    # the flow

    def before(self, inserts: Sequence[Record], updates: Sequence[Record]) -> None:
        self._check()
        if inserts:
            keys = list(map(self.key_of, inserts))
            if self.absent(keys) < len(keys):
                self.image("U", keys)  # equal to a key that is there, to the engine
        if updates and self.keep.exact:
            self.image_changed(updates)
        elif updates:
            self.image("U", list(map(self.key_of, updates)))

    def before_delete(self, keys: Sequence[Key]) -> None:
        self._check()
        self.image("D", keys)

    def _check(self) -> None:
        if not self._checked:
            self.undo.check()
            self._checked = True

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

from backup_sync.model import keep
from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Keep, Reader, Record
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import Column, Difference, TableShape, difference

SEQ, OP, SYNC_ID = "_Seq", "_Op", "_SyncId"
OWN = (SEQ, OP, SYNC_ID)
"""The columns that the copy does not have."""


class SqlUndo(ABC):
    """See :class:`backup_sync.stores.base.Undo`.

    ``copy`` and ``beside``: the catalogs of the copy's table and of the one beside it. ``journal``: remembers which columns
    came later. ``open_reader``: of a table that looks like the copy.
    """

    def __init__(
        self,
        session: SqlSession,
        copy: SqlCatalog,
        beside: SqlCatalog,
        journal: SqlJournal,
        open_reader: Callable[..., Reader],
        limits: Limits,
    ) -> None:
        self.session, self.copy, self.beside, self.limits = session, copy, beside, limits
        self.dialect: Dialect = copy.dialect
        self.table, self.name = copy.table, beside.table.name
        self._journal, self._open_reader = journal, open_reader

    # what a dialect provides

    @abstractmethod
    def create_sql(self, own: TableShape) -> str: ...

    @abstractmethod
    def make(self, statement: str) -> None:
        """Create the table, which another run may be creating as well."""

    @abstractmethod
    def delete_sql(self, condition: str, limit: int) -> str:
        """Deletes so many entries ``u`` for which a condition holds."""

    @abstractmethod
    def forget_one(self, key: Key) -> int:
        """Remove all entries of one key; how many there were."""

    @abstractmethod
    def as_of_name(self, number: int) -> str:
        """The state at the end of a run, as it stands in a statement in place of a table."""

    # the table

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.beside.table.full_name

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
            return [f"table {full_name}"]
        assert own is not None
        found = self._difference(own, there)
        if not dry_run and found.alters:
            self._remember([column.name for column in found.added])
            with self.session.transaction():
                self.beside.alter(there, found)
            self.beside.changed()
        return [f"column {column.name} of {full_name}" for column in (*found.added, *found.widened)]

    def _remember(self, added: Sequence[str]) -> None:
        """Before columns are added: the states up to now lack them."""
        states = self._journal.states()
        if added and (value := states.get(keep.STATE)):
            kept = keep.Kept.from_value(value)
            newest = states.get(keep.RUN, {}).get("number", kept.since)
            known = {**dict.fromkeys(added, newest), **kept.added}
            self._journal.keep_state(keep.STATE, replace(kept, added=known).to_value())

    def check(self) -> None:
        """Raise FatalError unless what the copy's rows hold can be kept here as things are."""
        own, there = self.copy.own_shape(), self.beside.own_shape()
        assert own is not None
        if there is None or self._difference(own, there).alters:
            raise FatalError(
                f"{self.copy.label}: the history of records {self.shown} "
                f"{'does not exist' if there is None else 'lacks columns of the copy'}; run the DAG backup_initialize, or clear "
                "the run from initialize on"
            )

    def _check_names(self, own: TableShape) -> None:
        if taken := [name for name in OWN if own.has(name)]:
            raise ConfigurationError(
                f"{self.copy.label}: {self.table.full_name} has a column {taken[0]}, which its history of records needs for "
                "itself; remove 'keep_history', or back up a view with another name for it"
            )

    def _difference(self, own: TableShape, there: TableShape) -> Difference:
        if not all(map(there.has, OWN)):
            raise ConfigurationError(
                f"{self.copy.label}: the table {self.shown} is not a history of records made by backup_sync "
                f"(it has no column {SEQ}); rename it away, or remove 'keep_history'"
            )
        found = difference(own, replace(there, key=own.key), self.dialect.types)
        if found.problems:
            raise FatalError(
                f"{self.copy.label}: the history of records {self.shown} does not fit the copy: it "
                f"{'; it '.join(found.problems)}. Rename it away and run backup_initialize; older restore points go with it"
            )
        # Everything here may be NULL, and what the copy does not have is ours.
        return Difference(added=found.added, widened=found.widened)

    # looking

    def highest(self) -> int:
        sql = f"SELECT MAX({self._seq}) FROM {self.name}"
        found = next(iter(self.dialect.rows_if_there(self.session, self.name, sql, [])), (None,))
        return int(found[0] or 0)

    def reader(self, shape: TableShape, number: int, *, content: bool = False) -> Reader:
        return self._open_reader(replace(self.table, name=self.as_of_name(number)), shape, content=content)

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

    @property
    def key(self) -> tuple[Column, ...]:
        own = self.copy.own_shape()
        assert own is not None
        return tuple(own.column(name) for name in own.key)

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


def entry_columns(own: TableShape, quote: Callable[[str], str]) -> tuple[str, str]:
    """(of an entry, of the copy's row ``t``), in one order: what follows the three columns of our own."""
    names = [quote(column.name) for column in own.columns]
    return ", ".join(names), ", ".join(f"t.{name}" for name in names)

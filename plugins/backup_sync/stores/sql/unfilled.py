"""Columns that a copy was given after its rows, and that still lack the source's values.

A column that was just added holds NULL in every row, and the rows' stamps did not move. So its name is written down in
the backup, in the transaction that adds it, and as long as it stands there a sync compares that column as if it were part
of the stamp: it finds the rows that lack the source's value, those only, and also after a crash. The name is struck out
once all of them are written. A column that the source dropped is written down as well, since the source may get one of
that name again, with other values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from backup_sync.model import keep
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sql.table import Table


class SqlUnfilled:
    """See :class:`backup_sync.stores.base.Unfilled`. ``own``: the shape of the copy as it is now."""

    def __init__(
        self,
        session: SqlSession,
        dialect: Dialect,
        table: Table,
        journal: SqlJournal,
        own: Callable[[], TableShape | None],
    ) -> None:
        self.session, self.dialect, self.table, self.journal, self._own = session, dialect, table, journal, own

    def pending(self, shape: TableShape, lacking: Sequence[str] = ()) -> list[str]:
        own = self._own()
        assert own is not None
        pending = {own.fold(name) for name in (*self.names(), *lacking)}
        return [column.name for column in shape.columns if own.fold(column.name) in pending]

    def names(self) -> list[str]:
        """The columns that are written down; none if nothing ever was. One round trip."""
        slot = self.dialect.slot("text")
        sql = f"SELECT ColumnName FROM {self.table.unfilled} WHERE TableName = {slot}"
        found = self.dialect.rows_if_there(self.session, self.table.unfilled, sql, [self.table.full_name])
        return [row[0] for row in found]

    def mark(self, added: Iterable[str], dropped: Iterable[str]) -> None:
        """Write columns down, within the transaction that is open: those that the copy gets in it, so that no state before has
        them, and those that its source dropped, so that no state from now on does."""
        if not self.dialect.exists(self.session, self.table.unfilled):
            self.session.run(self.create_sql())
        states = self.journal.states()
        next_one = states.get(keep.RUN, {"number": 0})["number"] + 1
        for names, first in ((added, 0), (dropped, next_one)):
            for name in names:
                self.session.run(self.mark_sql(), [self.table.full_name, name])
                known = _between(states, self._fold(name)) if first else []
                self._keep_absent(name, [*known, (first, None)])

    def mark_filled(self, fields: Sequence[str], number: int) -> None:
        slot = self.dialect.slot("text")
        sql = f"DELETE FROM {self.table.unfilled} WHERE TableName = {slot} AND ColumnName = {slot}"
        states = self.journal.states()
        with self.session.transaction():
            for name in fields:
                self.session.run(sql, [self.table.full_name, name])
                known = _between(states, self._fold(name))
                if any(last is None for _, last in known):
                    self._keep_absent(name, [(first, number - 1 if last is None else last) for first, last in known])

    def _keep_absent(self, name: str, between: Sequence[tuple[int, int | None]]) -> None:
        folded = self._fold(name)
        self.journal.keep_state(keep.absent(folded), {"column": folded, "between": between})

    def _fold(self, name: str) -> str:
        own = self._own()
        assert own is not None
        return own.fold(name)

    def create_sql(self) -> str:
        text = self.dialect.kinds["text"]
        return f"CREATE TABLE {self.table.unfilled} (TableName {text} NOT NULL, ColumnName {text} NOT NULL)"

    def mark_sql(self) -> str:
        slot = self.dialect.slot("text")
        return f"INSERT INTO {self.table.unfilled} (TableName, ColumnName) VALUES ({slot}, {slot})"


def _between(states: Mapping[str, Any], name: str) -> list[tuple[int, int | None]]:
    return [(first, last) for first, last in states.get(keep.absent(name), {"between": ()})["between"]]

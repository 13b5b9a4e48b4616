"""Reading a table of SQLite: digests, pairs and whole rows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.stores import weight
from backup_sync.stores.base import Record
from backup_sync.stores.sql.pairs import RowPairs
from backup_sync.stores.sql.ranges import KeyRange
from backup_sync.stores.sql.reader import SqlReader
from backup_sync.stores.sql.session import FETCH_ROWS
from backup_sync.stores.sql.view import View
from backup_sync.stores.sql.where import ALIAS
from backup_sync.stores.sqlite.cutter import SqliteCutter
from backup_sync.stores.sqlite.dialect import DIALECT, quote
from backup_sync.stores.sqlite.errors import UnknownCollation
from backup_sync.stores.sqlite.pairs import MANY_VALUES, GroupedPairs
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.session import SqliteSession

POSTED = "temp.backup_sync_posted"
"""Keys that are asked for. Every other table is named with its database, so that this one hides none."""


class SqliteReader(SqlReader):
    """See :class:`backup_sync.stores.base.Reader`."""

    session: SqliteSession

    def __init__(self, session: SqliteSession, view: View, limits: Limits) -> None:
        super().__init__(session, view, limits, SqliteCutter(session, view, limits))
        self._ranges = SqliteRanges(view)
        values = [self._ranges.value(column) for column in view.columns]
        grouped = len(view.key) == 1 and DIALECT.is_integer(view.key[0]) and len(values) <= MANY_VALUES
        self.codec = GroupedPairs(values, limits.packed_keys) if grouped else RowPairs(len(view.key))
        self._row = ", ".join(values)

    # pairs

    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]:
        where, params = self._ranges.where(within)
        if isinstance(self.codec, GroupedPairs):
            yield from self._grouped(self.codec, where, params)
            return
        for rows in self.session.pages(f"SELECT {self._row} FROM {self.view.compared} WHERE {where}", params):
            self._ranges.check(rows)
            yield rows

    def _grouped(self, codec: GroupedPairs, where: str, params: list[Any]) -> Iterator[Collection[Hashable]]:
        for rows in self.session.pages(codec.sql(self.view.compared, where), params):
            odd = [row[2] for row in rows if row[1]]
            if odd:
                others = {n: list[Any]() for n in odd}
                for found in self.session.pages(codec.odd_sql(self.view.compared, where, len(odd)), [*params, *odd]):
                    self._ranges.check([row[1:] for row in found])
                    for n, *pair in found:
                        others[n].append(tuple(pair))
                rows = [row if not row[1] else codec.bundle(others[row[2]]) for row in rows]
            yield rows

    # records

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        where, params = self._ranges.where(within)
        rows = self.session.pages(f"SELECT {self._columns()} FROM {self.view.rows} WHERE {where}", params, heavy=True)
        return weight.batches(rows, FETCH_ROWS, weight.weight_of_row, self.limits)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        self._post(keys)
        sql = f"SELECT {self._columns('t.')} FROM {POSTED} p CROSS JOIN {self.view.found} t ON {self._join()}"
        rows = self.session.pages(sql, heavy=True)
        yield from weight.batches(rows, len(keys), weight.weight_of_row, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        self._post(keys)
        # The column may find 'a' equal to 'A' or to 'a ' (NOCASE, RTRIM), but the copy has them as two keys.
        names = ", ".join(f"t.{quote(column.name)}" for column in self.view.key)
        sql = f"SELECT {names} FROM {POSTED} p CROSS JOIN {self.view.mine} t ON {self._join()}"
        return set(self.session.query(sql)).intersection(keys)

    def count(self) -> int:
        try:
            return int(self.session.scalar(f"SELECT COUNT(*) FROM {self.view.rows}"))
        except UnknownCollation:
            # By the first index that comes in handy, whatever it is ordered by.
            where = f"{ALIAS} NOT INDEXED WHERE {self.view.condition or '1 = 1'}"
            return int(self.session.scalar(f"SELECT COUNT(*) FROM {self.view.table.name} {where}"))

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT 1 FROM {self.view.rows} LIMIT 1") is None

    def _columns(self, prefix: str = "") -> str:
        return ", ".join(prefix + quote(column.name) for column in self.view.shape.columns)

    def _join(self) -> str:
        return " AND ".join(f"t.{quote(c.name)} = p.k{i}" for i, c in enumerate(self.view.key))

    def _post(self, keys: Sequence[Key]) -> None:
        """Put keys into a table of this connection's own, where they keep their exact values."""
        width = len(self.view.key)
        self.session.run(f"DROP TABLE IF EXISTS {POSTED}")
        self.session.run(f"CREATE TABLE {POSTED} (i INTEGER, {', '.join(f'k{n}' for n in range(width))})")
        rows = ((i, *key) for i, key in enumerate(keys))
        self.session.run_many(f"INSERT INTO {POSTED} VALUES (?{', ?' * width})", rows)

"""Reading a table of SQL Server: digests, pairs and whole rows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.stores import weight
from backup_sync.stores.base import Record
from backup_sync.stores.mssql.cutter import MssqlCutter
from backup_sync.stores.mssql.pairs import MssqlPairs, codec_of
from backup_sync.stores.mssql.posted import found_by, keys_json, posted_keys
from backup_sync.stores.mssql.ranges import MssqlRanges
from backup_sync.stores.mssql.rows import MssqlRows
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.ranges import KeyRange
from backup_sync.stores.sql.reader import SqlReader
from backup_sync.stores.sql.view import View


class MssqlReader(SqlReader):
    """See :class:`backup_sync.stores.base.Reader`. ``joined``: see :class:`MssqlRows`."""

    session: MssqlSession
    codec: MssqlPairs

    def __init__(self, session: MssqlSession, view: View, limits: Limits, *, joined: bool = True) -> None:
        super().__init__(session, view, limits, MssqlCutter(session, view, limits))
        self._ranges = MssqlRanges(view.key)
        self._rows = MssqlRows(session, view, limits, joined=joined)
        # Many pairs to a row: the driver's cost is by the row, and most rows are the same on both sides.
        self.codec = codec_of(view, to_a_row=limits.packed_keys)

    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]:
        where, params = self._ranges.where(within)
        return self.session.pages(self.codec.sql(self.view.compared, where), params, self.codec.rows)

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        found = self._rows.where(*self._ranges.where(within))
        return weight.batches(found, self.limits.batch_rows, weight.weight_of_row, self.limits)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        return weight.batches(self._rows.of_keys(keys), len(keys), weight.weight_of_row, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        sql = (
            f"SELECT p.i FROM {posted_keys(self.view.key)} p WHERE EXISTS "
            f"(SELECT 1 FROM {self.view.mine} t WHERE {found_by(self.view.key)})"
        )
        return {keys[row[0]] for row in self.session.query(sql, [keys_json(keys)])}

    def count(self) -> int:
        return int(self.session.scalar(f"SELECT COUNT_BIG(*) FROM {self.view.rows}"))

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT TOP (1) 1 FROM {self.view.rows}") is None

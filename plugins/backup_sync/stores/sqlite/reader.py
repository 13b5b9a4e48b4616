"""Reading a table of SQLite: digests, pairs and whole rows."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import FatalError
from backup_sync.model.limits import Limits, Pieces
from backup_sync.model.text import encodable
from backup_sync.stores import weight
from backup_sync.stores.base import Record
from backup_sync.stores.sql.digest import DIGEST_P, DIGEST_Q, MIX, summed
from backup_sync.stores.sql.pairs import RowPairs
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.reader import SqlReader
from backup_sync.stores.sql.session import FETCH_ROWS
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sqlite.dialect import DIALECT, quote
from backup_sync.stores.sqlite.errors import UnknownCollation
from backup_sync.stores.sqlite.pairs import MANY_VALUES, GroupedPairs
from backup_sync.stores.sqlite.ranges import SqliteRanges
from backup_sync.stores.sqlite.session import MARK, SqliteSession

POSTED = "temp.backup_sync_posted"
"""Keys that are asked for. Every other table is named with its database, so that this one hides none."""


class SqliteReader(SqlReader):
    """See :class:`backup_sync.stores.base.Reader`."""

    dialect = DIALECT
    session: SqliteSession
    # A group costs next to nothing where no wire is crossed, and a pair that need not be read saves more.
    pieces = Pieces(few=2**20, keys=16, parts=512)

    def __init__(
        self, session: SqliteSession, table: Table, shape: TableShape, limits: Limits, **options: Sequence[str]
    ) -> None:
        super().__init__(session, table, shape, limits, **options)
        self.ranges = SqliteRanges(self.key_columns)
        values = [self._value(column) for column in (*self.key_columns, *self.stamp_columns)]
        one_number = len(self.key_columns) == 1 and self.is_integer(self.key_columns[0])
        grouped = one_number and len(values) <= MANY_VALUES
        self.codec = GroupedPairs(values, limits.packed_keys) if grouped else RowPairs(len(self.key_columns))
        self._row = ", ".join(values)

    def no_value(self, column: Column) -> str:
        return "NULL"

    def is_integer(self, column: Column) -> bool:
        # Any declared type may hold anything in SQLite, so INTEGER affinity alone does not promise whole numbers;
        # an INTEGER PRIMARY KEY does, and for other columns the digest checks each value's storage class.
        return "INT" in column.type

    def _value(self, column: Column) -> str:
        """What stands for a column's value in a pair and in a digest: itself, or a number that stands for it."""
        name = quote(column.name)
        if not any(column is hashed for hashed in self.hashed):
            return name
        # Text goes in as its bytes, since it need not be valid UTF-8.
        return f"{MARK}(CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name}))"

    # cutting

    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        name = quote(self.key_columns[0].name)
        where, params = self.ranges.where(within)
        # Two look-ups at the ends of the index; MIN and MAX in one SELECT would scan it.
        low, high = (
            self.session.scalar(f"SELECT {function}({name}) FROM {self.table.name} WHERE {where}", params)
            for function in ("MIN", "MAX")
        )
        return None if low is None else (low, high)

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.key_columns))
        taken = ", ".join(f"k{number}" for number in range(len(self.key_columns)))
        order = ", ".join(self.ranges.ordered)
        where, params = self.ranges.where(within)
        sql = (
            f"SELECT {taken} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.table.name} "
            f"WHERE {where}) WHERE n % ? = 0 ORDER BY n"
        )
        found = list(self.session.query(sql, [*params, every]))
        self._check_keys(found)
        return found

    # digests

    def digestible(self) -> bool:
        return all(self.is_integer(column) for column in (*self.key_columns, *self.fields))

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        terms = [f"{MIX[0]}"]
        whole = (*self.key_columns, *self.fields)
        for number, column in enumerate((*self.key_columns, *self.stamp_columns), start=1):
            value = self._value(column)
            terms.append(f"COALESCE({value} % {DIGEST_P} * {MIX[2 * number]}, {MIX[2 * number + 1]})")
        linear = f"(({summed([f'({term}) % {DIGEST_P}' for term in terms])}) % {DIGEST_P})"
        plain = [f"TOTAL(c{number})" for number in range(len(self.key_columns), len(whole))]
        odd = summed([f"SUM(typeof(c{number}) NOT IN ('integer', 'null'))" for number in range(len(whole))])
        where, params = self.ranges.where(within)
        piece = self.ranges.piece(even) if even else "0"
        names = ", ".join(f"{quote(column.name)} AS c{number}" for number, column in enumerate(whole))
        # The mix is computed in a derived table, which LIMIT -1 keeps from being merged, so that it is evaluated once.
        inner = f"SELECT {piece} AS piece, {linear} AS mix, {names} FROM {self.compared} WHERE {where} LIMIT -1"
        sql = (
            f"SELECT piece, COUNT(*), SUM(mix * mix % {DIGEST_Q}), {', '.join(plain)}, {odd} "
            f"FROM ({inner}) GROUP BY piece"
        )
        for row in self.session.query(sql, params):
            # A value that is no whole number was mixed as one: make such a piece differ from every other.
            yield row if not row[-1] else (*row, object())

    # pairs

    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]:
        where, params = self.ranges.where(within)
        if isinstance(self.codec, GroupedPairs):
            yield from self._grouped(self.codec, where, params)
            return
        for rows in self.session.pages(f"SELECT {self._row} FROM {self.compared} WHERE {where}", params):
            self._check_keys(rows)
            yield rows

    def _grouped(self, codec: GroupedPairs, where: str, params: list[Any]) -> Iterator[Collection[Hashable]]:
        for rows in self.session.pages(codec.sql(self.compared, where), params):
            odd = [row[2] for row in rows if row[1]]
            if odd:
                others = {n: list[Any]() for n in odd}
                for found in self.session.pages(codec.odd_sql(self.compared, where, len(odd)), [*params, *odd]):
                    self._check_keys([row[1:] for row in found])
                    for n, *pair in found:
                        others[n].append(tuple(pair))
                rows = [row if not row[1] else codec.bundle(others[row[2]]) for row in rows]
            yield rows

    def _check_keys(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keys are bound as values later on, and what is not valid UTF-8 cannot be. Asked of a whole column at once."""
        for number, column in enumerate(self.key_columns):
            if not encodable("".join(row[number] for row in rows if type(row[number]) is str)):
                raise FatalError(
                    f"{self.label}: key column {column.name} of {self.table.service.table} holds text that is not valid "
                    "UTF-8; store such keys as BLOB"
                )

    # records

    def read(self, within: KeyRange) -> Iterator[list[Record]]:
        where, params = self.ranges.where(within)
        rows = self.session.pages(f"SELECT {self._columns()} FROM {self.table.name} WHERE {where}", params, heavy=True)
        return weight.batches(rows, FETCH_ROWS, weight.weight_of_row, self.limits)

    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        self._post(keys)
        sql = f"SELECT {self._columns('t.')} FROM {POSTED} p CROSS JOIN {self.table.name} t ON {self._join()}"
        rows = self.session.pages(sql, heavy=True)
        yield from weight.batches(rows, len(keys), weight.weight_of_row, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        self._post(keys)
        # The column may find 'a' equal to 'A' or to 'a ' (NOCASE, RTRIM), but the copy has them as two keys.
        names = ", ".join(f"t.{quote(column.name)}" for column in self.key_columns)
        sql = f"SELECT {names} FROM {POSTED} p CROSS JOIN {self.table.name} t ON {self._join()}"
        return set(self.session.query(sql)).intersection(keys)

    def count(self) -> int:
        try:
            return int(self.session.scalar(f"SELECT COUNT(*) FROM {self.table.name}"))
        except UnknownCollation:
            # By the first index that comes in handy, whatever it is ordered by.
            return int(self.session.scalar(f"SELECT COUNT(*) FROM {self.table.name} NOT INDEXED"))

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT 1 FROM {self.table.name} LIMIT 1") is None

    def _columns(self, prefix: str = "") -> str:
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

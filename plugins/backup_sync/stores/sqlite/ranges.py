"""How SQLite cuts a table's keys into ranges, digests them and reads the (key, stamp) pairs of one."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import FatalError
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sql.store import DIGEST_P, DIGEST_Q, EVERYTHING, MIX, summed
from backup_sync.stores.sqlite.catalog import SqliteCatalog, quote
from backup_sync.stores.sqlite.pairs import bundle, group_of, packed_sql, unpack
from backup_sync.stores.sqlite.session import MARK

MANY_COLUMNS = 500
"""Stamp columns from which on pairs go a row each: SQLite takes 2,000 aggregates in a statement, and there are two for each."""


class SqliteRanges(SqliteCatalog):
    """Keys and stamps; what reads and writes whole rows is the store."""

    # A group costs next to nothing where no wire is crossed, and a pair that need not be read saves more.
    few_pieces, piece_keys, most_parts = 2**20, 16, 512

    def no_value(self, column: Column) -> str:
        return "NULL"

    def is_integer(self, column: Column) -> bool:
        # Any declared type may hold anything in SQLite, so INTEGER affinity alone does not promise whole numbers;
        # an INTEGER PRIMARY KEY does, and for other columns the digest checks each value's storage class.
        return "INT" in column.type

    def digestible(self) -> bool:
        return all(self.is_integer(column) for column in (*self.key_columns, *self._fields))

    def _where(self, within: KeyRange) -> tuple[str, list[Any]]:
        names = self._ordered_key()
        left = names[0] if len(names) == 1 else f"({', '.join(names)})"
        right = "?" if len(names) == 1 else f"({', '.join('?' * len(names))})"
        terms, params = ["1 = 1"], list[Any]()
        for bound, operator in ((within.after, ">"), (within.upto, "<=")):
            if bound is not None:
                terms.append(f"{left} {operator} {right}")
                params += bound
        for even, pieces in within.only:
            terms.append(f"{self._piece(even)} IN (SELECT value FROM json_each(?))")
            params.append(str(list(pieces)))
        return " AND ".join(terms), params

    def _ordered_key(self) -> list[str]:
        """Key columns as both ends order them: SQLite's catalog does not tell a column's collation, so none is used."""
        # The rowid by another name (which is of this type, and no other column of a key) has none.
        names = [quote(column.name) for column in self.key_columns]
        rowid = [column.type for column in self.key_columns] == ["INTEGER"]
        return names if rowid else [f"{name} COLLATE BINARY" for name in names]

    def _piece(self, even: EvenCut) -> str:
        name = quote(self.key_columns[0].name)
        return (
            f"(CASE WHEN {name} < {even.first} THEN 0 WHEN {name} >= {even.last_start} THEN {even.count - 1} "
            # A key of this type may hold 2.5, too.
            f"ELSE CAST(({name} - {even.first}) / {even.width} AS INTEGER) END)"
        )

    def bounds(self, within: KeyRange) -> tuple[Any, Any] | None:
        name = quote(self.key_columns[0].name)
        where, params = self._where(within)
        # Two look-ups at the ends of the index; MIN and MAX in one SELECT would scan it.
        ends = []
        for function in ("MIN", "MAX"):
            ends.append(
                next(self.session.query(f"SELECT {function}({name}) FROM {self.name} WHERE {where}", params))[0]
            )
        return None if ends[0] is None else (ends[0], ends[1])

    def boundaries(self, within: KeyRange, every: int) -> list[Key]:
        # Renamed within, since a column may be called anything.
        names = ", ".join(f"{quote(column.name)} AS k{number}" for number, column in enumerate(self.key_columns))
        taken = ", ".join(f"k{number}" for number in range(len(self.key_columns)))
        order = ", ".join(self._ordered_key())
        where, params = self._where(within)
        sql = (
            f"SELECT {taken} FROM (SELECT {names}, ROW_NUMBER() OVER (ORDER BY {order}) AS n FROM {self.name} WHERE {where}) "
            "WHERE n % ? = 0 ORDER BY n"
        )
        found = list(self.session.query(sql, [*params, every]))
        self._check_keys(found)
        return found

    def digest_rows(self, within: KeyRange, even: EvenCut | None) -> Iterator[tuple[Any, ...]]:
        terms = [f"{MIX[0]}"]
        whole = (*self.key_columns, *self._fields)
        for number, column in enumerate((*self.key_columns, *self.stamp_columns), start=1):
            value = self._value(column)
            terms.append(f"COALESCE({value} % {DIGEST_P} * {MIX[2 * number]}, {MIX[2 * number + 1]})")
        linear = f"(({summed([f'({term}) % {DIGEST_P}' for term in terms])}) % {DIGEST_P})"
        plain = [f"TOTAL(c{number})" for number in range(len(self.key_columns), len(whole))]
        odd = summed([f"SUM(typeof(c{number}) NOT IN ('integer', 'null'))" for number in range(len(whole))])
        where, params = self._where(within)
        piece = self._piece(even) if even else "0"
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

    def _value(self, column: Column) -> str:
        name = quote(column.name)
        if not any(column is watched for watched in self.watched):
            return name
        # Text goes in as its bytes, since it need not be valid UTF-8.
        return f"{MARK}(CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name}))"

    def pairs(self, within: KeyRange | None) -> Iterator[Collection[Hashable]]:
        within = within or EVERYTHING
        return self._packed_pairs(within) if self._packable() else self._plain_pairs(within)

    def _packable(self) -> bool:
        few = len(self.stamp_columns) < MANY_COLUMNS
        return few and len(self.key_columns) == 1 and self.is_integer(self.key_columns[0])

    def _packed_pairs(self, within: KeyRange) -> Iterator[list[tuple[Any, ...]]]:
        values = [self._value(column) for column in (*self.key_columns, *self.stamp_columns)]
        where, params = self._where(within)
        for rows in self.session.pages(packed_sql(self.compared, values, where), params):
            odd = [row[2] for row in rows if row[1]]
            if odd:
                others = {n: list[Any]() for n in odd}
                slots = ", ".join("?" * len(odd))
                sql = f"SELECT {group_of(values[0])}, {', '.join(values)} FROM {self.compared} WHERE {where}"
                for found in self.session.pages(f"{sql} AND {group_of(values[0])} IN ({slots})", [*params, *odd]):
                    self._check_keys([row[1:] for row in found])
                    for n, *pair in found:
                        others[n].append(tuple(pair))
                rows = [row if not row[1] else bundle(others[row[2]]) for row in rows]
            yield rows

    def _plain_pairs(self, within: KeyRange) -> Iterator[list[tuple[Any, ...]]]:
        names = ", ".join(self._value(column) for column in (*self.key_columns, *self.stamp_columns))
        where, params = self._where(within)
        for rows in self.session.pages(f"SELECT {names} FROM {self.compared} WHERE {where}", params):
            self._check_keys(rows)
            yield rows

    def counted(self, bundles: Collection[Any]) -> int:
        return sum(row[0] for row in bundles) if self._packable() else len(bundles)

    def unpacked(self, bundles: Set[Any]) -> Set[Hashable]:
        return set(unpack(bundles)) if self._packable() else bundles

    def _check_keys(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keys are bound as values later on, and what is not valid UTF-8 cannot be. Asked of a whole column at once."""
        for number, column in enumerate(self.key_columns):
            try:
                "".join(row[number] for row in rows if type(row[number]) is str).encode("utf-8")
            except UnicodeEncodeError:
                raise FatalError(
                    f"{self.label}: key column {column.name} of {self.service.table} holds text that is not valid UTF-8; "
                    "store such keys as BLOB"
                ) from None

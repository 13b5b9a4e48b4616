"""Some dozens of (key, stamp) pairs in one row, for whole-number keys.

The sqlite3 module hands Python's lock over at every row, so that two threads that read both sides row by row take three
to four times as long as one that reads one side. So SQLite puts the pairs of some neighbouring keys into a row, and
most rows are compared without being opened. JSON holds whole numbers and text as they are; values of another storage
class have to be read one by one, and are counted so that this is seen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Sequence, Set
from typing import Any

from backup_sync.stores.sql.digest import summed
from backup_sync.stores.sql.pairs import RowPairs

MANY_VALUES = 500
"""Values of a pair from which on pairs go a row each: SQLite takes 2,000 aggregates in a statement, and there are two for each."""


class GroupedPairs(RowPairs):
    """Bundles are rows of (pairs, values that JSON would change, the keys' shared number, keys, stamps …).

    ``values``: the expressions of a pair, the key first. ``to_a_row``: neighbouring whole numbers whose pairs come
    together: few, so that a change leaves most rows equal.
    """

    def __init__(self, values: Sequence[str], to_a_row: int) -> None:
        super().__init__(1)
        self._values = values
        self.group = f"{values[0]} / {to_a_row}"
        """The expression of the number that neighbouring keys share."""

    def sql(self, table: str, where: str) -> str:
        odd = summed([f"SUM(typeof({value}) NOT IN ('integer', 'text', 'null'))" for value in self._values])
        # A blob is an error to JSON, wherever its row ends up.
        lists = [
            f"json_group_array(CASE typeof({value}) WHEN 'blob' THEN 0 ELSE {value} END)" for value in self._values
        ]
        return (
            f"SELECT COUNT(*), {odd}, {self.group}, {', '.join(lists)} FROM {table} WHERE {where} GROUP BY {self.group}"
        )

    def odd_sql(self, table: str, where: str, groups: int) -> str:
        """The pairs of so many groups one by one, each behind its group's number."""
        slots = ", ".join("?" * groups)
        return (
            f"SELECT {self.group}, {', '.join(self._values)} FROM {table} WHERE {where} AND {self.group} IN ({slots})"
        )

    @staticmethod
    def bundle(pairs: Sequence[tuple[Any, ...]]) -> tuple[int, None, tuple[Any, ...]]:
        """A row like those of :meth:`sql` for pairs that were read one by one."""
        return len(pairs), None, tuple(pairs)

    def count(self, bundles: Collection[Any]) -> int:
        return sum(row[0] for row in bundles)

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        return set(self._opened(bundles))

    @staticmethod
    def _opened(bundles: Collection[Any]) -> Iterator[Hashable]:
        for _, odd, pairs, *lists in bundles:
            yield from pairs if odd is None else zip(*map(json.loads, lists), strict=True)

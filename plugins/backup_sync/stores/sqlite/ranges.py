"""A range of keys as SQLite's WHERE has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sqlite.dialect import quote


class SqliteRanges:
    """``key``: the key columns, in key order."""

    def __init__(self, key: Sequence[Column]) -> None:
        self._key = key
        # The rowid by another name (which is of this type, and no other column of a key) has no collation. Otherwise
        # SQLite's catalog does not give a column's collation, so both ends use none.
        names = [quote(column.name) for column in key]
        rowid = [column.type for column in key] == ["INTEGER"]
        self.ordered = names if rowid else [f"{name} COLLATE BINARY" for name in names]
        """The key columns as both ends order them."""

    def where(self, within: KeyRange) -> tuple[str, list[Any]]:
        """The condition and its parameters."""
        one = len(self.ordered) == 1
        left = self.ordered[0] if one else f"({', '.join(self.ordered)})"
        right = "?" if one else f"({', '.join('?' * len(self.ordered))})"
        terms, params = ["1 = 1"], list[Any]()
        for bound, operator in ((within.after, ">"), (within.upto, "<=")):
            if bound is not None:
                terms.append(f"{left} {operator} {right}")
                params += bound
        for even, pieces in within.only:
            terms.append(f"{self.piece(even)} IN (SELECT value FROM json_each(?))")
            params.append(str(list(pieces)))
        return " AND ".join(terms), params

    def piece(self, even: EvenCut) -> str:
        """The number of the piece that a key falls into."""
        name = quote(self._key[0].name)
        return (
            f"(CASE WHEN {name} < {even.first} THEN 0 WHEN {name} >= {even.last_start} THEN {even.count - 1} "
            # A key of this type may hold 2.5, too.
            f"ELSE CAST(({name} - {even.first}) / {even.width} AS INTEGER) END)"
        )

"""A range of keys as SQLite's WHERE has it, and what stands for the values of keys and stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backup_sync.model.errors import FatalError
from backup_sync.model.text import encodable
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sql.view import View
from backup_sync.stores.sqlite.dialect import quote
from backup_sync.stores.sqlite.session import MARK


class SqliteRanges:
    """Expressions over the keys and stamps of a view."""

    def __init__(self, view: View) -> None:
        self._view, self._key = view, view.key
        # The rowid by another name (which is of this type, and no other column of a key) has no collation. Otherwise
        # SQLite's catalog does not give a column's collation, so both ends use none.
        names = [quote(column.name) for column in view.key]
        rowid = [column.type for column in view.key] == ["INTEGER"]
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

    def value(self, column: Column) -> str:
        """What stands for a column's value in a pair and in a digest: itself, or a number that stands for it."""
        name = quote(column.name)
        if not any(column is hashed for hashed in self._view.hashed):
            return name
        # Text goes in as its bytes, since it need not be valid UTF-8.
        return f"{MARK}(CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name}))"

    def check(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Raise FatalError for keys that are not valid text. Keys are bound as values later on, and what is not valid UTF-8 cannot be. Asked of a whole column at once."""
        for number, column in enumerate(self._key):
            if not encodable("".join(row[number] for row in rows if type(row[number]) is str)):
                raise FatalError(
                    f"{self._view.table.label}: key column {column.name} of {self._view.table.service.table} holds text that is not valid "
                    "UTF-8; store such keys as BLOB"
                )

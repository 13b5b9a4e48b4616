"""The history of records of a copy in Cosmos DB: what each document was before each run that changed it.

It lies in the container ``<container>-undo``. There are no transactions across containers, so an entry is made before its
document is written, and never twice: one whose write did not happen is still true (``entries.py``). What was there before
is read from the copy and its entries together (``as_of.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores.base import Reader
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.beside import OURS, CosmosBeside, key_json
from backup_sync.stores.cosmos.catalog import find
from backup_sync.stores.cosmos.documents import key_text
from backup_sync.stores.cosmos.making import ContainerShape


class CosmosUndo(CosmosBeside):
    """See :class:`backup_sync.stores.base.Undo`. ``as_of``: makes the reader of the state at the end of a run."""

    def __init__(
        self,
        connection: Connection,
        service: Service,
        limits: Limits,
        container: str,
        as_of: Callable[[CosmosUndo, ContainerShape, int, bool, bool], Reader],
    ) -> None:
        super().__init__(connection, service, limits, container, "-undo")
        self._as_of = as_of

    def highest(self) -> int:
        if find(self.connection, self.name) is None:
            return 0
        found = [row for page in self.pages(f"SELECT VALUE c.{OURS}.seq FROM c", []) for row in page]
        return max(found, default=0)

    def count(self) -> int:
        found = self.pages(f"SELECT VALUE COUNT(1) FROM c WHERE c.{OURS}.op != 'part'", [])
        return sum(int(row) for page in found for row in page)

    def reader(self, shape: ContainerShape, number: int, *, content: bool = False, stamps: bool = True) -> Reader:
        return self._as_of(self, shape, number, content, stamps)

    def cut(self, number: int) -> int:
        return self.delete(self.found(f"c.{OURS}.seq <= @last", {"@last": number}))

    def forget(self, key: Sequence[Any]) -> int:
        if len(key) != 1 + len(self.names):
            raise ConfigurationError(
                f"{self.connection.label}: give the document's id, and then {len(self.names)} values of its partition key"
            )
        which = {"@key": key_json((key[0], key_text(key[1:])))}
        return self.delete(self.found(f"c.{OURS}.key = @key", which))

    def thin(self, first: int, last: int) -> int:
        within = {"@first": first, "@last": last}
        condition = f"c.{OURS}.seq > @first AND c.{OURS}.seq <= @last"
        with closing(self.first_entries(condition, within)) as lowest:

            def is_lowest(entry: Mapping[str, Any]) -> bool:
                found = lowest.execute("SELECT n FROM first WHERE k = ?", [entry[OURS]["key"]]).fetchone()
                return bool(found == (entry[OURS]["seq"],))

            return self.delete(entry for entry in self.found(condition, within) if not is_lowest(entry))

    def first_entries(self, condition: str, parameters: Mapping[str, Any]) -> sqlite3.Connection:
        """Of each key the entry with the lowest number, in a private file (key ``k``, number ``n``, operation ``o``) that
        SQLite itself removes: memory must not grow with their number."""
        file = sqlite3.connect("", check_same_thread=False)
        file.execute("CREATE TABLE first (k TEXT PRIMARY KEY, n INTEGER, o TEXT)")
        entries = self.found(f"{condition} AND c.{OURS}.op != 'part'", parameters)
        rows = ((entry[OURS]["key"], entry[OURS]["seq"], entry[OURS]["op"]) for entry in entries)
        lower = "ON CONFLICT (k) DO UPDATE SET n = excluded.n, o = excluded.o WHERE excluded.n < n"
        file.executemany(f"INSERT INTO first VALUES (?, ?, ?) {lower}", rows)
        return file

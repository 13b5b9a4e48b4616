"""The history of records of a copy in Cosmos DB: what each document was before each run that changed it.

It lies in a container beside the copy, ``<container>-undo``, under the copy's partition key. There are no transactions
across containers, so an entry is made before its document is written, and never twice: one whose write did not happen is
still true (``entries.py``). What was there before is read from the copy and its entries together (``as_of.py``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores.base import Reader, batches
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.catalog import ContainerShape, check_keeps, find, make
from backup_sync.stores.cosmos.documents import Names, key_text, value_at
from backup_sync.stores.cosmos.queries import pages
from backup_sync.stores.cosmos.writes import delete_all

ENDING = "-undo"
OURS = "backup_sync"
"""The property of an entry that holds all of ours; beside it stand the id and the copy's partition key."""


class CosmosUndo:
    """See :class:`backup_sync.stores.base.Undo`. ``container``: the copy's. ``as_of``: makes the reader of the state at the
    end of a run."""

    def __init__(
        self,
        connection: Connection,
        service: Service,
        limits: Limits,
        container: str,
        as_of: Callable[[CosmosUndo, ContainerShape, int, bool], Reader],
    ) -> None:
        self.connection, self.service, self.limits = connection, service, limits
        self.copy, self.name, self._as_of = container, container + ENDING, as_of
        self._shape: ContainerShape | None = None

    def create(self, *, dry_run: bool = False) -> list[str]:
        copy, there = find(self.connection, self.copy), find(self.connection, self.name)
        if copy and any(names[0] == OURS for names in copy.shape.names):
            raise ConfigurationError(
                f"{self.connection.label}: container {self.copy} is partitioned by {OURS}, which its history of records needs "
                "for itself; remove 'keep_history'"
            )
        if there is None:
            if not dry_run:
                assert copy is not None
                make(self.connection, {self.name: copy.shape}, database=False)
            return [f"container {self.name}"]
        check_keeps(there, self.connection.label, self.name)
        if copy and there.shape.names != copy.shape.names:
            raise FatalError(
                f"{self.connection.label}: container {self.name} is partitioned by {', '.join(there.shape.paths)} and the copy by "
                f"{', '.join(copy.shape.paths)}; delete it, with the restore points in it, and run backup_initialize"
            )
        return []

    def highest(self) -> int:
        if find(self.connection, self.name) is None:
            return 0
        found = [row for page in self.pages(f"SELECT VALUE c.{OURS}.seq FROM c", []) for row in page]
        return max(found, default=0)

    def reader(self, shape: ContainerShape, number: int, *, content: bool = False) -> Reader:
        return self._as_of(self, shape, number, content)

    def cut(self, number: int) -> int:
        return self._delete(self.entries(f"c.{OURS}.seq <= @last", {"@last": number}))

    def forget(self, key: Sequence[Any]) -> int:
        if len(key) != 1 + len(self.names):
            raise ConfigurationError(
                f"{self.connection.label}: give the document's id, and then {len(self.names)} values of its partition key"
            )
        which = {"@key": key_json((key[0], key_text(key[1:])))}
        return self._delete(self.entries(f"c.{OURS}.key = @key", which))

    def thin(self, first: int, last: int) -> int:
        within = {"@first": first, "@last": last}
        condition = f"c.{OURS}.seq > @first AND c.{OURS}.seq <= @last"
        with closing(self.first_entries(condition, within)) as lowest:

            def is_lowest(entry: Mapping[str, Any]) -> bool:
                found = lowest.execute("SELECT n FROM first WHERE k = ?", [entry[OURS]["key"]]).fetchone()
                return bool(found == (entry[OURS]["seq"],))

            return self._delete(entry for entry in self.entries(condition, within) if not is_lowest(entry))

    def first_entries(self, condition: str, parameters: Mapping[str, Any]) -> sqlite3.Connection:
        """Of each key the entry with the lowest number, in a private file (key ``k``, number ``n``, operation ``o``) that
        SQLite itself removes: memory must not grow with their number."""
        file = sqlite3.connect("", check_same_thread=False)
        file.execute("CREATE TABLE first (k TEXT PRIMARY KEY, n INTEGER, o TEXT)")
        entries = self.entries(f"{condition} AND c.{OURS}.op != 'part'", parameters)
        rows = ((entry[OURS]["key"], entry[OURS]["seq"], entry[OURS]["op"]) for entry in entries)
        lower = "ON CONFLICT (k) DO UPDATE SET n = excluded.n, o = excluded.o WHERE excluded.n < n"
        file.executemany(f"INSERT INTO first VALUES (?, ?, ?) {lower}", rows)
        return file

    def _delete(self, entries: Iterable[dict[str, Any]]) -> int:
        gone = 0
        for some in batches(entries, self.limits.batch):
            keys = [(entry["id"], key_text(own_values(entry, self.names))) for entry in some]
            gone += self.connection.run(delete_all(self.connection, keys, self.name))
        return gone

    def entries(self, condition: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Entries without their images."""
        ours = f"{{'seq': c.{OURS}.seq, 'op': c.{OURS}.op, 'key': c.{OURS}.key}} AS {OURS}"
        tops = {names[0] for names in self.names} - {"id"}
        also = "".join(f", c[{json.dumps(top)}] AS p{number}" for number, top in enumerate(sorted(tops)))
        for page in self.pages(f"SELECT c.id, {ours}{also} FROM c WHERE {condition}", bound(parameters)):
            for row in page:
                found = {top: row[f"p{n}"] for n, top in enumerate(sorted(tops)) if f"p{n}" in row}
                yield {"id": row["id"], OURS: row[OURS], **found}

    @property
    def names(self) -> tuple[Names, ...]:
        """The partition key's paths."""
        if self._shape is None:
            found = find(self.connection, self.name)
            if found is None:
                raise FatalError(
                    f"{self.connection.label}: the history of records {self.name} does not exist; run the DAG "
                    "backup_initialize, or clear the run from initialize on"
                )
            self._shape = found.shape
        return self._shape.names

    def pages(self, text: str, parameters: Sequence[dict[str, Any]]) -> Iterator[list[Any]]:
        with closing(
            pages(self.connection, text, parameters, None, self.limits.page, eager=False, container=self.name)
        ) as found:
            yield from found


def bound(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


def own_values(entry: dict[str, Any], paths: Sequence[Names]) -> list[Any]:
    return [value_at(entry, names) for names in paths]


def key_json(key: Key) -> str:
    return json.dumps(list(key))

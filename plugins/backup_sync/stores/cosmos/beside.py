"""A container next to a copy that holds *entries*: what documents were, before something was done to them.

It has the copy's partition key. Beside the id and that key an entry has one property, with all of ours in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores.base import Record, batches
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.catalog import check_keeps, find
from backup_sync.stores.cosmos.documents import Names, key_text, value_at
from backup_sync.stores.cosmos.making import ContainerShape, make
from backup_sync.stores.cosmos.queries import pages
from backup_sync.stores.cosmos.writes import delete_all

OURS = "backup_sync"
"""The property of an entry that holds all of ours."""


class CosmosBeside:
    """``container``: the copy's. ``ending``: what the name of the one beside it has behind that."""

    what = "history of records"

    def __init__(self, connection: Connection, service: Service, limits: Limits, container: str, ending: str) -> None:
        self.connection, self.service, self.limits = connection, service, limits
        self.copy, self.name = container, container + ending
        self._shape: ContainerShape | None = None

    def create(self, *, dry_run: bool = False) -> list[str]:
        copy, there = find(self.connection, self.copy), find(self.connection, self.name)
        if copy and any(names[0] == OURS for names in copy.shape.names):
            raise ConfigurationError(
                f"{self.connection.label}: container {self.copy} is partitioned by {OURS}, which its {self.what} needs "
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

    def exists(self) -> bool:
        return find(self.connection, self.name) is not None

    def delete(self, entries: Iterable[dict[str, Any]]) -> int:
        gone = 0
        for some in batches(entries, self.limits.batch):
            keys = [(entry["id"], key_text(own_values(entry, self.names))) for entry in some]
            gone += self.connection.run(delete_all(self.connection, keys, self.name))
        return gone

    def found(self, condition: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Entries without their images."""
        ours = f"{{'seq': c.{OURS}.seq, 'op': c.{OURS}.op, 'key': c.{OURS}.key}} AS {OURS}"
        tops = {names[0] for names in self.names} - {"id"}
        also = "".join(f", c[{json.dumps(top)}] AS p{number}" for number, top in enumerate(sorted(tops)))
        for page in self.pages(f"SELECT c.id, {ours}{also} FROM c WHERE {condition}", bound(parameters)):
            for row in page:
                found = {top: row[f"p{n}"] for n, top in enumerate(sorted(tops)) if f"p{n}" in row}
                yield {"id": row["id"], OURS: row[OURS], **found}

    def image(self, entry: Mapping[str, Any]) -> Record:
        """The document that an entry holds."""
        ours = entry[OURS]
        if "image" in ours:
            return dict(ours["image"])
        which = {"@seq": ours["seq"], "@key": ours["key"]}
        condition = f"c.{OURS}.seq = @seq AND c.{OURS}.key = @key AND c.{OURS}.op = 'part'"
        pages_ = self.pages(f"SELECT c.{OURS}.number, c.{OURS}.text FROM c WHERE {condition}", bound(which))
        # A later attempt of that run may have left parts of what it was to keep, and did not, as this was there already.
        found = sorted((row["number"], row["text"]) for page in pages_ for row in page)
        parts = [part for part in found if part[0] < ours["parts"]]
        if [number for number, _ in parts] != list(range(ours["parts"])):
            raise FatalError(
                f"{self.connection.label}: an entry of {self.name} lacks parts of its document, so what was before run "
                f"{ours['seq']} cannot be rebuilt; choose a later restore point"
            )
        return dict(json.loads("".join(text for _, text in parts)))

    @property
    def names(self) -> tuple[Names, ...]:
        """The partition key's paths."""
        if self._shape is None:
            found = find(self.connection, self.name)
            if found is None:
                raise FatalError(
                    f"{self.connection.label}: the {self.what} {self.name} does not exist; run the DAG "
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

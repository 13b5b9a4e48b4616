"""Keeping what a run is about to replace in a container. Nothing can be copied within the service, so an old document is read,
and sent back with its entry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Sequence
from typing import Any

from backup_sync.model.diff import MISSING, Key
from backup_sync.stores.base import Keep, Record
from backup_sync.stores.cosmos.account import CosmosError, all_of
from backup_sync.stores.cosmos.beside import OURS, CosmosBeside, key_json, own_values
from backup_sync.stores.cosmos.documents import Names, key_text, value_at, weight_of_document
from backup_sync.stores.cosmos.reader import CosmosReader
from backup_sync.stores.cosmos.writes import batch, found_by_sdk, in_batches, unexpected

LARGEST = 1_500_000
"""Bytes of a document from which on its image is cut into parts: the service takes 2 MB, which an image alone may have."""
PART = 400_000
"""Characters of a part. As text within JSON each takes four bytes at most, but for a few that are escaped."""


class CosmosEntries:
    """Keeps what a run is about to replace in ``undo``. ``copy``: reads what is replaced."""

    def __init__(self, undo: CosmosBeside, keep: Keep, copy: CosmosReader) -> None:
        self._undo, self._keep, self._copy = undo, keep, copy
        self._connection, self._names = undo.connection, copy.shape.names

    def before(self, inserts: Sequence[Record], updates: Sequence[Record]) -> None:
        entries = [self.absent(document) for document in inserts]
        if updates:
            before = self._images(list(map(self._copy.key_of, updates)))
            for document in updates:
                image = before.get(self._copy.key_of(document))
                if image is None:
                    entries.append(self.absent(document))
                elif not (self._keep.exact and _encoded(image) == _encoded(document)):
                    entries.append(self.image("U", image))
        self.create(entries)

    def before_delete(self, keys: Sequence[Key]) -> None:
        self.create([self.image("D", image) for image in self._images(keys).values()])

    def _images(self, keys: Sequence[Key]) -> dict[Key, Record]:
        return {
            self._copy.key_of(document): document for page in self._copy.records_of(list(keys)) for document in page
        }

    def absent(self, document: Record) -> Record:
        return self._entry("I", document, {})

    def image(self, operation: str, document: Record) -> Record:
        if weight_of_document(document) <= LARGEST:
            return self._entry(operation, document, {"image": document})
        text = json.dumps(document)
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        # Before the entry that needs them.
        for number, part in enumerate(parts):
            self.create([self._entry("part", document, {"number": number, "text": part}, f"-{number}")])
        return self._entry(operation, document, {"parts": len(parts)})

    def _entry(self, operation: str, document: Record, image: dict[str, Any], ending: str = "") -> Record:
        id_, place = self._copy.key_of(document)
        entry: Record = {}
        for names in self._names:
            value = value_at(document, names)
            if names == ("id",) or value is MISSING:
                continue
            at = entry
            for name in names[:-1]:
                at = at.setdefault(name, {})
            at[names[-1]] = value
        entry["id"] = entry_id(self._keep.number, str(id_)) + ending
        entry[OURS] = {
            "seq": self._keep.number,
            "op": operation,
            "syncId": self._keep.sync_id,
            "id": id_,
            "key": key_json((id_, place)),
            **image,
        }
        return entry

    def create(self, entries: Sequence[Record]) -> None:
        if entries:
            paths = self._undo.names
            self._connection.run(self._create_all(entries, paths))

    async def _create_all(self, entries: Sequence[Record], paths: Sequence[Names]) -> None:
        by_value: dict[str, list[Record]] = {}
        for entry in entries:
            by_value.setdefault(key_text(own_values(entry, paths)), []).append(entry)
        from_ = self._undo.limits.batch_from
        work: list[Awaitable[None]] = []
        for value, group in by_value.items():
            for chunk in in_batches(group, from_):
                work.append(self._create_some(value, chunk) if len(chunk) >= from_ else self._each(value, chunk))
        await all_of(work)

    async def _create_some(self, value: str, entries: list[Record]) -> None:
        try:
            await batch(self._connection, value, entries, operation="create", container=self._undo.name)
        except CosmosError:  # one of them is there already, or they are too much for a batch
            await self._each(value, entries)

    async def _each(self, value: str, entries: list[Record]) -> None:
        await all_of(self._one(value, entry) for entry in entries)

    async def _one(self, value: str, entry: Record) -> None:
        container = self._connection.container(self._undo.name)
        try:
            if found_by_sdk(value, entry, self._undo.names):
                await self._connection.call(lambda: container.create_item(entry, no_response=True), write=True)
            else:
                await batch(self._connection, value, [entry], operation="create", container=self._undo.name)
        except CosmosError as error:
            if error.status != 409:  # the first entry of a run counts
                raise unexpected(self._connection, error, "keeping what is replaced", self._undo.name) from None


def entry_id(number: int, id_: str) -> str:
    """Of the entry of a run for a document. An id takes 1,023 bytes, for which a number in front may be too much."""
    if len(id_.encode("utf-8", "surrogatepass")) > 900:
        id_ = "sha256-" + hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{number}-{id_}"


def _encoded(document: Record) -> str:
    return json.dumps(document, ensure_ascii=False)

"""The history of records of a copy in Cosmos DB: what each document was before each run that changed it.

It lies in a container beside the copy, ``<container>-undo``, under the copy's partition key. There are no transactions
across containers, so an entry is made before its document is written, and never twice: one whose write did not happen is
still true. Nothing can be copied within the service, so the old document is read, and sent back with the entry.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import weakref
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import MISSING, Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores import weight
from backup_sync.stores.base import Keep, Record, batches
from backup_sync.stores.cosmos.account import Connection, CosmosError, all_of
from backup_sync.stores.cosmos.catalog import ContainerShape, check_keeps, find, make
from backup_sync.stores.cosmos.documents import (
    Names,
    bundled,
    key_text,
    names_of_field,
    value_at,
    weight_of_document,
)
from backup_sync.stores.cosmos.queries import pages
from backup_sync.stores.cosmos.ranges import EpkRange, FeedCut
from backup_sync.stores.cosmos.reader import CosmosReader
from backup_sync.stores.cosmos.writes import batch, delete_all, found_by_sdk, in_batches, unexpected

ENDING = "-undo"
OURS = "backup_sync"
"""The property of an entry that holds all of ours; beside it stand the id and the copy's partition key."""
LARGEST = 1_500_000
"""Bytes of a document from which on its image is cut into parts: the service takes 2 MB, which an image alone may have."""
PART = 400_000
"""Characters of a part. As text within JSON each takes four bytes at most, but for a few that are escaped."""


class CosmosUndo:
    """See :class:`backup_sync.stores.base.Undo`. ``container``: the copy's."""

    def __init__(self, connection: Connection, service: Service, limits: Limits, container: str) -> None:
        self.connection, self.service, self.limits = connection, service, limits
        self.copy, self.name = container, container + ENDING
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

    def reader(self, shape: ContainerShape, number: int) -> CosmosAsOf:
        return CosmosAsOf(self, shape, number)

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
            keys = [(entry["id"], key_text(_own_values(entry, self.names))) for entry in some]
            gone += self.connection.run(delete_all(self.connection, keys, self.name))
        return gone

    def entries(self, condition: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Entries without their images."""
        ours = f"{{'seq': c.{OURS}.seq, 'op': c.{OURS}.op, 'key': c.{OURS}.key}} AS {OURS}"
        tops = {names[0] for names in self.names} - {"id"}
        also = "".join(f", c[{json.dumps(top)}] AS p{number}" for number, top in enumerate(sorted(tops)))
        for page in self.pages(f"SELECT c.id, {ours}{also} FROM c WHERE {condition}", _bound(parameters)):
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


def _bound(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


def _own_values(entry: dict[str, Any], paths: Sequence[Names]) -> list[Any]:
    return [value_at(entry, names) for names in paths]


class CosmosEntries:
    """Keeps what a run is about to replace. ``copy``: reads the copy."""

    def __init__(self, undo: CosmosUndo, keep: Keep, copy: CosmosReader) -> None:
        self._undo, self._keep, self._copy = undo, keep, copy
        self._connection, self._names = undo.connection, copy.shape.names

    def before(self, inserts: Sequence[Record], updates: Sequence[Record]) -> None:
        entries = [self._absent(document) for document in inserts]
        if updates:
            before = self._images(list(map(self._copy.key_of, updates)))
            for document in updates:
                image = before.get(self._copy.key_of(document))
                if image is None:
                    entries.append(self._absent(document))
                elif not (self._keep.exact and _encoded(image) == _encoded(document)):
                    entries.append(self._image("U", image))
        self._create(entries)

    def before_delete(self, keys: Sequence[Key]) -> None:
        self._create([self._image("D", image) for image in self._images(keys).values()])

    def _images(self, keys: Sequence[Key]) -> dict[Key, Record]:
        return {
            self._copy.key_of(document): document for page in self._copy.records_of(list(keys)) for document in page
        }

    def _absent(self, document: Record) -> Record:
        return self._entry("I", document, {})

    def _image(self, operation: str, document: Record) -> Record:
        if weight_of_document(document) <= LARGEST:
            return self._entry(operation, document, {"image": document})
        text = json.dumps(document)
        parts = [text[start : start + PART] for start in range(0, len(text), PART)]
        # Before the entry that needs them.
        for number, part in enumerate(parts):
            self._create([self._entry("part", document, {"number": number, "text": part}, f"-{number}")])
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

    def _create(self, entries: Sequence[Record]) -> None:
        if entries:
            paths = self._undo.names
            self._connection.run(self._create_all(entries, paths))

    async def _create_all(self, entries: Sequence[Record], paths: Sequence[Names]) -> None:
        by_value: dict[str, list[Record]] = {}
        for entry in entries:
            by_value.setdefault(key_text(_own_values(entry, paths)), []).append(entry)
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


def key_json(key: Key) -> str:
    return json.dumps(list(key))


def _encoded(document: Record) -> str:
    return json.dumps(document, ensure_ascii=False)


class CosmosAsOf(CosmosReader):
    """Reads the copy as it was at the end of a run: its documents, but for those that later runs changed.

    Entries are asked for by number, so that what was changed since is what it costs beside the copy itself.
    """

    def __init__(self, undo: CosmosUndo, shape: ContainerShape, number: int) -> None:
        super().__init__(undo.connection, undo.service, shape, undo.limits, None)
        self._undo, self._number = undo, number
        self._file: sqlite3.Connection | None = None

    def cut(self, within: EpkRange | None, records: int) -> FeedCut:
        return FeedCut(tuple(self._run(self._feed_ranges())), 1)

    def readable(self, cut: FeedCut) -> FeedCut:
        return FeedCut(cut.feed_ranges, 1)  # an entry need not lie in the slice of its document

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        stamps = [f"s{number}" for number in range(len(self.service.fields))]
        fields = list(map(names_of_field, self.service.fields))
        for documents in self.records(within):
            rows = []
            for document in documents:
                row = {"i": document["id"]}
                for name, names in zip((*self._key_names, *stamps), (*self._names, *fields), strict=True):
                    if (value := value_at(document, names)) is not MISSING:
                        row[name] = value
                rows.append(row)
            yield bundled(rows, self._key_names, stamps)

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        found = self._now_and_then(super().records(None, compared=compared), self._images())
        return weight.batches(found, self.limits.batch, weight_of_document, self.limits)

    def _now_and_then(self, now: Iterator[list[Record]], then: Iterator[list[Record]]) -> Iterator[list[Record]]:
        for documents in now:
            changed = self._changed([self.key_of(document) for document in documents])
            yield [document for document in documents if key_json(self.key_of(document)) not in changed]
        yield from then

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        changed = self._changed(keys)
        yield from super().records_of([key for key in keys if key_json(key) not in changed])
        wanted = {key for key, (_, operation) in changed.items() if operation != "I"}
        for some in batches(sorted(wanted), self.limits.posted_keys):
            documents = self._images(f" AND ARRAY_CONTAINS(@keys, c.{OURS}.key)", {"@keys": some})
            yield from weight.batches(documents, self.limits.batch, weight_of_document, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        changed = self._changed(keys)
        rest = [key for key in keys if key_json(key) not in changed]
        before = {key for key in keys if changed.get(key_json(key), (0, "I"))[1] != "I"}
        return before | (super().present(rest) if rest else set())

    def count(self) -> int:
        return sum(map(len, self.records(None)))

    def empty(self) -> bool:
        return next((False for page in self.records(None) if page), True)

    def _images(self, condition: str = "", parameters: Mapping[str, Any] | None = None) -> Iterator[list[Record]]:
        """Of the entries that decide, in pages."""
        text = f"SELECT * FROM c WHERE c.{OURS}.seq > @number AND c.{OURS}.op IN ('U', 'D'){condition}"
        bound = _bound({"@number": self._number, **(parameters or {})})
        for page in self._undo.pages(text, bound):
            first = self._first([entry[OURS]["key"] for entry in page])
            yield [self._image(entry) for entry in page if first[entry[OURS]["key"]][0] == entry[OURS]["seq"]]

    def _image(self, entry: Mapping[str, Any]) -> Record:
        """The document that an entry holds."""
        ours = entry[OURS]
        if "image" in ours:
            return dict(ours["image"])
        which = {"@seq": ours["seq"], "@key": ours["key"]}
        condition = f"c.{OURS}.seq = @seq AND c.{OURS}.key = @key AND c.{OURS}.op = 'part'"
        pages_ = self._undo.pages(f"SELECT c.{OURS}.number, c.{OURS}.text FROM c WHERE {condition}", _bound(which))
        # A later attempt of that run may have left parts of what it was to keep, and did not, as this was there already.
        found = sorted((row["number"], row["text"]) for page in pages_ for row in page)
        parts = [part for part in found if part[0] < ours["parts"]]
        if [number for number, _ in parts] != list(range(ours["parts"])):
            raise FatalError(
                f"{self.label}: an entry of {self._undo.name} lacks parts of its document, so what was before run "
                f"{ours['seq']} cannot be rebuilt; choose a later restore point"
            )
        return dict(json.loads("".join(text for _, text in parts)))

    def _changed(self, keys: Sequence[Key]) -> dict[str, tuple[int, str]]:
        """For those of the keys that later runs changed: the first of these runs, and what it did."""
        return self._first([key_json(key) for key in keys])

    def _first(self, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
        found: dict[str, tuple[int, str]] = {}
        for some in batches(keys, 500):
            marks = ", ".join("?" * len(some))
            sql = f"SELECT k, n, o FROM first WHERE k IN ({marks})"
            found |= {key: (number, operation) for key, number, operation in self._overlay().execute(sql, some)}
        return found

    def _overlay(self) -> sqlite3.Connection:
        """The entries of later runs, without their images: of each key the one with the lowest number."""
        if self._file is None:
            self._file = self._undo.first_entries(f"c.{OURS}.seq > @number", {"@number": self._number})
            weakref.finalize(self, self._file.close)
        return self._file

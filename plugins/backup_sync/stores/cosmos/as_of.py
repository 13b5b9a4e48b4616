"""Reading a container as it was at the end of a run."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores import weight
from backup_sync.stores.base import Record, batches
from backup_sync.stores.cosmos.beside import OURS, bound, key_json
from backup_sync.stores.cosmos.documents import weight_of_document
from backup_sync.stores.cosmos.making import ContainerShape
from backup_sync.stores.cosmos.ranges import EpkRange, FeedCut, Span
from backup_sync.stores.cosmos.reader import CosmosReader
from backup_sync.stores.cosmos.undo import CosmosUndo


class CosmosAsOf(CosmosReader):
    """Reads the copy as it was at the end of a run: its documents, but for those that later runs changed.

    Entries are asked for by number, so that what was changed since is what it costs beside the copy itself.
    """

    def __init__(self, undo: CosmosUndo, shape: ContainerShape, number: int, content: bool, stamps: bool) -> None:
        super().__init__(undo.connection, undo.service, shape, undo.limits, None, content=content, stamps=stamps)
        self._undo, self._number = undo, number
        self._file: sqlite3.Connection | None = None
        self._count = 0

    def cut(self, within: EpkRange | None, records: int) -> FeedCut:
        spans = within.spans if within else None
        return FeedCut(spans or tuple(self._run(self._feed_ranges())), 1, not spans)

    def readable(self, cut: FeedCut) -> FeedCut:
        return FeedCut(cut.feed_ranges, 1, cut.whole)  # entries are not asked for by slices

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        return map(self.pairs_of, self.records(within))

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        found = self._now_and_then(super().records(within, compared=compared), within)
        return weight.batches(found, self.limits.batch, weight_of_document, self.limits)

    def _now_and_then(self, now: Iterator[list[Record]], within: EpkRange | None) -> Iterator[list[Record]]:
        with closing(sqlite3.connect("", check_same_thread=False)) as file:
            file.execute("CREATE TABLE passed (k TEXT PRIMARY KEY)")
            for documents in now:
                # Asked for when the documents are there: an entry is made before its document is written.
                changed = self._changed([self.key_of(document) for document in documents])
                same = [document for document in documents if key_json(self.key_of(document)) not in changed]
                file.executemany(
                    "INSERT OR IGNORE INTO passed VALUES (?)", ((key_json(self.key_of(one)),) for one in same)
                )
                yield same
            for documents in self._images_in(within):
                keys = [key_json(self.key_of(document)) for document in documents]
                # What a run has changed since it was passed has come already, as it was.
                passed = {key for key in keys if file.execute("SELECT 1 FROM passed WHERE k = ?", [key]).fetchone()}
                yield [document for document, key in zip(documents, keys, strict=True) if key not in passed]

    def _images_in(self, within: EpkRange | None) -> Iterator[list[Record]]:
        if within is None or within.spans is None:
            return self._images()
        return (self._run(self._lying_in(within.spans, documents)) for documents in self._images())

    async def _lying_in(self, spans: Sequence[Span], documents: list[Record]) -> list[Record]:
        """Those of the documents that lie in some spans, as the copy's container places them."""
        places = [await self._by_key.place(self.key_of(document)) for document in documents]
        return [
            document
            for document, place in zip(documents, places, strict=True)
            if any(low <= place < high for low, high in spans)
        ]

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        came = set[str]()
        for documents in super().records_of(keys):
            changed = self._changed([self.key_of(document) for document in documents])
            same = [document for document in documents if key_json(self.key_of(document)) not in changed]
            came.update(key_json(self.key_of(document)) for document in same)
            yield same
        wanted = {key for key, (_, operation) in self._changed(keys).items() if operation != "I"} - came
        for some in batches(sorted(wanted), self.limits.posted_keys):
            images = self._images(f" AND ARRAY_CONTAINS(@keys, c.{OURS}.key)", {"@keys": some})
            yield from weight.batches(images, self.limits.batch, weight_of_document, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        there = super().present(keys) if keys else set()
        changed = self._changed(keys)
        before = {key for key in keys if changed.get(key_json(key), (0, "I"))[1] != "I"}
        return before | {key for key in there if key_json(key) not in changed}

    def count(self) -> int:
        return sum(map(len, self.records(None)))

    def empty(self) -> bool:
        return next((False for page in self.records(None) if page), True)

    def _images(self, condition: str = "", parameters: Mapping[str, Any] | None = None) -> Iterator[list[Record]]:
        """Of the entries that decide, in pages."""
        text = f"SELECT * FROM c WHERE c.{OURS}.seq > @number AND c.{OURS}.op IN ('U', 'D'){condition}"
        which = bound({"@number": self._number, **(parameters or {})})
        for page in self._undo.pages(text, which):
            first = self._first([entry[OURS]["key"] for entry in page])
            if any(entry[OURS]["key"] not in first for entry in page):  # of a run that has begun meanwhile
                self._file = None
                first = self._first([entry[OURS]["key"] for entry in page])
            yield [self._undo.image(entry) for entry in page if first[entry[OURS]["key"]][0] == entry[OURS]["seq"]]

    def _changed(self, keys: Sequence[Key]) -> dict[str, tuple[int, str]]:
        """For those of the keys that later runs changed until now: the first of these runs, and what it did."""
        text = f"SELECT VALUE COUNT(1) FROM c WHERE c.{OURS}.seq > @number"
        count = sum(sum(page) for page in self._undo.pages(text, bound({"@number": self._number})))
        if count != self._count:
            self._file, self._count = None, count
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

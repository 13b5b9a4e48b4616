"""Reading a container as it was at the end of a run."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.stores import weight
from backup_sync.stores.base import Record, batches
from backup_sync.stores.cosmos.beside import OURS, bound, key_json
from backup_sync.stores.cosmos.catalog import ContainerShape
from backup_sync.stores.cosmos.documents import weight_of_document
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

    def cut(self, within: EpkRange | None, records: int) -> FeedCut:
        spans = within.spans if within else None
        return FeedCut(spans or tuple(self._run(self._feed_ranges())), 1, not spans)

    def readable(self, cut: FeedCut) -> FeedCut:
        return FeedCut(cut.feed_ranges, 1, cut.whole)  # entries are not asked for by slices

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        return map(self.pairs_of, self.records(within))

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        found = self._now_and_then(super().records(within, compared=compared), self._images_in(within))
        return weight.batches(found, self.limits.batch, weight_of_document, self.limits)

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
        which = bound({"@number": self._number, **(parameters or {})})
        for page in self._undo.pages(text, which):
            first = self._first([entry[OURS]["key"] for entry in page])
            yield [self._undo.image(entry) for entry in page if first[entry[OURS]["key"]][0] == entry[OURS]["seq"]]

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

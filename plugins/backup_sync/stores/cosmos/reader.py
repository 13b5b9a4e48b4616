"""Reading a container: slices of its hash space, keys and stamps, and whole documents.

A record is a document as the SDK parsed it, less the system properties; its key is (id, partition key value as
JSON). Cosmos assigns ``_ts`` and ``_etag`` to each copy, so neither is ever compared.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Coroutine, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from backup_sync.model.diff import MISSING, Key, Stamp
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores import weight
from backup_sync.stores.base import Filtered, Record
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.catalog import any_document
from backup_sync.stores.cosmos.documents import (
    bundled,
    content_of,
    key_text,
    names_of_field,
    problem_of,
    property_of,
    shown,
    stamp_of,
    value_at,
    weight_of_document,
    without_system,
)
from backup_sync.stores.cosmos.making import ContainerShape
from backup_sync.stores.cosmos.pairs import DocumentPairs
from backup_sync.stores.cosmos.queries import pages, question
from backup_sync.stores.cosmos.ranges import EpkRange, FeedCut, portion, share_of
from backup_sync.stores.cosmos.reads import ByKey

log = logging.getLogger(__name__)


class CosmosReader:
    """See :class:`backup_sync.stores.base.Reader`. ``documents``: about how many the container holds, of all kinds.
    ``content``: whole documents are compared, which both ends have to read: there is no hash function in a query. ``stamps``:
    whether the configured fields are."""

    reread_share = 1.0  # a document that did not change is never read
    digests = None

    def __init__(
        self,
        connection: Connection,
        service: Service,
        shape: ContainerShape,
        limits: Limits,
        documents: int | None,
        *,
        content: bool = False,
        stamps: bool = True,
        filtered: Filtered = "all",
    ) -> None:
        self.connection, self.service, self.limits = connection, service, limits
        self.shape, self.label = shape, connection.label
        self.rejected = 0
        self.codec = DocumentPairs(shape.paths, self._reject)
        self._documents, self._content = documents, content
        self._fields = list(map(names_of_field, service.fields)) if stamps else []
        self._names = shape.names
        self._key_names = [f"k{number}" for number in range(len(shape.names))]
        parts = zip(shape.names, self._key_names, strict=True)
        self._key_columns = ", ".join(['c["id"] AS i', *(f"{property_of(names)} AS {name}" for names, name in parts)])
        self._where = {} if filtered == "none" else service.where
        self._question = partial(question, self._where)
        self._mine = ByKey(connection, shape.names, self._question, self._feed_ranges, limits.page)
        self._by_key = self._mine
        if filtered == "ranges":
            whatever = partial(question, {})
            self._by_key = ByKey(connection, shape.names, whatever, self._feed_ranges, limits.page)

    # cutting

    def cut(self, within: EpkRange | None, records: int) -> FeedCut:
        spans = within.spans if within else None
        ranges = spans or tuple(self._run(self._feed_ranges()))
        if self.shape.version == 1:
            return FeedCut(ranges, 1, not spans)
        share = share_of(spans) if spans else 1
        pieces = math.ceil(self._documents * share / records) if self._documents else 0
        if not pieces or (pieces > self.limits.few_slices and self._where):
            pieces = max(1, math.ceil(self.count() * share / records))
        return self.readable(FeedCut(ranges, pieces, not spans))

    def portion(self, after: Any, part: float) -> tuple[EpkRange, Any]:
        begin = float(after or 0)
        end = begin + (1 - begin) * part
        if self.shape.version == 1 or (begin == 0 and part >= 1):
            return EpkRange(), None
        upto = None if part >= 1 else end
        return self.between(begin, upto), upto

    def readable(self, cut: FeedCut) -> FeedCut:
        slivers = cut.slivers()
        if not slivers:
            return cut
        with closing(pages(self.connection, "SELECT VALUE 1 FROM c", [], slivers, 1, eager=False)) as found:
            if not any(found):
                return cut
        log.warning(
            "%s: the server answers from the whole container when it is asked about a part of it, as the vNext emulator "
            "does; going on with one piece, which takes longer and more memory",
            self.label,
        )
        return FeedCut(cut.feed_ranges, 1)

    async def _feed_ranges(self) -> list[tuple[str, str]]:
        container = self.connection.container()

        async def read() -> list[tuple[str, str]]:
            found = []
            async for item in container.read_feed_ranges():
                found.append((item["Range"]["min"].upper(), item["Range"]["max"].upper()))
            return sorted(found)

        found: list[tuple[str, str]] = await self.connection.answer(read)
        return found

    # pairs

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        if self._content:
            for page in self._pages("SELECT * FROM c", within, size=self.limits.page, eager=True):
                yield self.pairs_of(list(map(without_system, page)))
            return
        stamps = [f"s{number}" for number in range(len(self.service.fields))]
        fields = map(names_of_field, self.service.fields)
        also = "".join(f", {property_of(names)} AS {stamp}" for names, stamp in zip(fields, stamps, strict=True))
        select = f"SELECT {self._key_columns}{also} FROM c"
        for page in self._pages(select, within, size=self.limits.stamps_page, eager=True):
            yield bundled(page, self._key_names, stamps)

    def pairs_of(self, documents: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
        """The pairs of whole documents."""
        stamps = [f"s{number}" for number in range(len(self._fields))]
        paths = [*zip(self._key_names, self._names, strict=True), *zip(stamps, self._fields, strict=True)]
        rows = []
        for document in documents:
            values = {name: value_at(document, names) for name, names in paths}
            row = {name: value for name, value in values.items() if value is not MISSING}
            row["i"] = document.get("id")
            if self._content:
                row["c"] = content_of(document)
            rows.append(row)
        return bundled(rows, self._key_names, [*stamps, *["c"] * self._content])

    def stamp_of(self, record: Record) -> Stamp:
        return stamp_of(record, self._fields)

    def print_of(self, record: Record) -> int:
        return content_of(record)

    def parts_of(self, record: Record) -> dict[str, int]:
        return {name: content_of({"": value}) for name, value in record.items()}

    def check_names(self, names: Sequence[str]) -> None:
        """Documents have no columns."""

    def value_of(self, record: Record, name: str) -> Any:
        return value_at(record, names_of_field(name))

    def merged(self, record: Record, onto: Record, names: Sequence[str]) -> Record:
        kept = {name: value for name, value in onto.items() if name not in names}
        return {**kept, **{name: record[name] for name in names if name in record}}

    def key_from(self, values: Sequence[Any]) -> Key:
        if len(values) != 1 + len(self._names):
            raise ConfigurationError(
                f"{self.label}: give the document's id, and then {len(self._names)} values of its partition key"
            )
        return (values[0], key_text(values[1:]))

    def between(self, after: Any, upto: Any) -> EpkRange:
        return portion(self._run(self._feed_ranges()), float(after or 0), 1 if upto is None else upto)

    def content_digest(self, within: EpkRange) -> tuple[int, str]:
        count = total = 0
        for documents in self.records(within):
            count += len(documents)
            total += sum(map(content_of, documents))
        return count, str(total % 2**64)

    # documents

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        pages_ = self._pages("SELECT * FROM c", within, size=self.limits.page)
        found = (self._copyable(page, count=not compared) for page in pages_)
        return weight.batches(found, self.limits.batch, weight_of_document, self.limits)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        return weight.batches(self._pages_of(keys), self.limits.batch, weight_of_document, self.limits)

    def _pages_of(self, keys: Sequence[Key]) -> Iterator[list[dict[str, Any]]]:
        """Documents by their keys, so many at a time as weigh little, judged by those of the time before."""
        most = self.limits.batch
        start, size = 0, min(self.limits.first_page, most)
        while start < len(keys):
            documents = self._run(self._read_keys(keys[start : start + size]))
            yield documents
            start += size
            size = weight.next_size(size, documents, most, weight_of_document, self.limits)

    async def _read_keys(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        found = await self._by_key.rows("SELECT * FROM c", keys, self.key_of)
        return [without_system(document) for document in found.values()]

    def _copyable(self, documents: list[dict[str, Any]], *, count: bool) -> list[dict[str, Any]]:
        copyable = []
        for document in documents:
            values = [value_at(document, names) for names in self._names]
            problem = problem_of(document.get("id"), values, self.shape.paths)
            if not problem:
                copyable.append(without_system(document))
            elif count:
                self._reject(document.get("id"), problem)
        return copyable

    def _reject(self, id_: Any, problem: str) -> None:
        self.rejected += 1
        log.warning("%s: document %s %s; it is counted as rejected and not copied", self.label, shown(id_), problem)

    def key_of(self, record: Record) -> Key:
        return (record.get("id"), key_text([value_at(record, names) for names in self._names]))

    def present(self, keys: Sequence[Key]) -> set[Key]:
        def key_of(row: dict[str, Any]) -> Key:
            return (row.get("i"), key_text([row.get(name, MISSING) for name in self._key_names]))

        # Asked everywhere: what is believed to be absent will be deleted.
        return set(self._run(self._mine.rows_anywhere(f"SELECT {self._key_columns} FROM c", keys, key_of)))

    def count(self) -> int:
        found = self._pages("SELECT VALUE COUNT(1) FROM c", None, size=self.limits.page)
        return sum(itertools.chain.from_iterable(found))

    def empty(self) -> bool:
        return not any_document(self.connection, self._where)

    def _pages(
        self, select: str, within: EpkRange | None, *, size: int, eager: bool = False
    ) -> Generator[list[Any], None, None]:
        """Stream what a query finds among the service's documents in a range (None: everywhere), in pages."""
        text, parameters = self._question(select)
        spans = within.spans if within else None
        if within is not None and spans is None:
            spans = self._run(self._feed_ranges())
        return pages(self.connection, text, parameters, spans, size, eager=eager)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.connection.run(work)

"""A Cosmos DB container (API for NoSQL) as a store. All query text for Cosmos is in this file.

A record is a document as the SDK parsed it, less the system properties; its key is (id, partition key value as
JSON). Cosmos assigns ``_ts`` and ``_etag`` anew in a copy, so neither is ever compared.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Coroutine, Generator, Hashable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing
from datetime import datetime
from typing import Any

from backup_sync.model.diff import MISSING, Key, Stamp
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.result import SyncResult
from backup_sync.model.service import Service
from backup_sync.stores import weight as heavy
from backup_sync.stores.base import Applied, Record, Usage
from backup_sync.stores.cosmos.account import Account, Connection, all_of
from backup_sync.stores.cosmos.catalog import ContainerShape, Found, check_keeps, database_exists, find, make
from backup_sync.stores.cosmos.checks import check_fields
from backup_sync.stores.cosmos.documents import (
    Names,
    bundled,
    held_by_document,
    key_text,
    names_of_field,
    problem_of,
    property_of,
    shown,
    unbundled,
    value_at,
    without_system,
)
from backup_sync.stores.cosmos.journal import CosmosJournal
from backup_sync.stores.cosmos.lease import Lease
from backup_sync.stores.cosmos.queries import pages
from backup_sync.stores.cosmos.ranges import EpkRange, FeedCut
from backup_sync.stores.cosmos.reads import ByKey
from backup_sync.stores.cosmos.writes import delete_all, upsert_all

log = logging.getLogger(__name__)

HISTORY = "sync-history"
HISTORY_SHAPE = ContainerShape(("/serviceName",), "Hash", 2)
PAGE = 1_000
"""Documents of a page, at most; the service sends no more than 4 MB in any case."""
STAMPS_PAGE = 2_500
"""Keys and stamps of a page: a request costs more than it carries."""
BATCH = 2_000
FEW_PIECES = 16
"""From more pieces on it pays to have the documents counted that are the service's."""


class CosmosStore:
    kind = "azure_cosmos"
    dense = 1.0  # a document that did not change is never read

    def __init__(self, service: Service, account: Account, label: str) -> None:
        self.service, self.label = service, label
        self.account = account
        self.history_name = service.history or HISTORY
        self._connection: Connection | None = None
        self._journal: CosmosJournal | None = None
        self.shape: ContainerShape | None = None
        self._names: tuple[Names, ...] = ()
        self._reads: ByKey | None = None
        self._found: Found | None = None
        self._rejected = 0
        self._used = Usage()

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(
                self.account, self.label, self.service.concurrency, self.service.retry_seconds
            )
        return self._connection

    # catalog

    def _own(self) -> Found | None:
        """The container, asked for once: its partition key cannot change. None: not there (yet)."""
        if self._found is None:
            self._found = find(self.connection, self.account.container)
        return self._found

    def describe(self) -> ContainerShape:
        own = self._own()
        if own is None:
            raise ConfigurationError(
                f"{self.label}: container {self.account.container} of database {self.account.database} does not exist; "
                "correct 'database_name' and 'collection_name' in the connection's extra"
            )
        return own.shape

    def exists(self) -> bool:
        return self._own() is not None

    def open(self, shape: ContainerShape, *, planned: bool = False) -> None:
        if not self.exists():
            raise ConfigurationError(
                f"{self.label}: container {self.account.container} does not exist yet; run the DAG backup_initialize first"
            )
        self._check_fit(shape)
        self.shape = shape
        self._names = shape.names

    def _check_fit(self, shape: ContainerShape) -> None:
        own = self.describe()
        assert self._found is not None
        check_keeps(self._found, self.label, self.account.container)
        if (own.names, own.kind, own.version) != (shape.names, shape.kind, shape.version):
            raise FatalError(
                f"{self.label}: container {self.account.container} is partitioned by {', '.join(own.paths)} "
                f"({own.kind} version {own.version}) and the source by {', '.join(shape.paths)} ({shape.kind} version "
                f"{shape.version}); a partition key cannot be changed: name another container in the connection's extra"
            )

    def _check_history(self, found: Found) -> None:
        check_keeps(found, self.label, self.history_name)
        if found.shape.names != HISTORY_SHAPE.names:
            raise FatalError(
                f"{self.label}: container {self.history_name} is partitioned by {', '.join(found.shape.paths)} and cannot "
                f"hold the history; name another with 'history' in service {self.service.name}"
            )

    def create(self, shape: ContainerShape, *, dry_run: bool = False) -> list[str]:
        if self.exists():
            self._check_fit(shape)
        wanted = {self.account.container: shape, self.history_name: HISTORY_SHAPE}
        found = {name: find(self.connection, name) for name in wanted}
        if beside := found[self.history_name]:
            self._check_history(beside)
        missing = {name: shape for name, shape in wanted.items() if found[name] is None}
        if not missing:
            return []
        made = [] if database_exists(self.connection) else [f"database {self.account.database}"]
        if not dry_run:
            make(self.connection, missing, database=bool(made))
        return made + [f"container {name}" for name in missing]

    # reading

    def unfilled(self) -> Sequence[str]:
        return ()  # a document brings all its properties along, and a container has no columns

    def watch(self, fields: Sequence[str]) -> None:
        assert not fields

    def filled(self, fields: Sequence[str]) -> None:
        pass

    def cut(self, within: EpkRange | None, records: int) -> FeedCut:
        assert self.shape is not None
        found = self._own()
        pieces = -(-found.documents // records) if found and found.documents else 0
        if not pieces or (pieces > FEW_PIECES and self.service.where):
            pieces = max(1, -(-self.count() // records))
        return self.readable(FeedCut(tuple(self._run(self._feed_ranges())), pieces, self.shape.version))

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
        return FeedCut(cut.feed_ranges, 1, cut.version)

    async def _feed_ranges(self) -> list[tuple[str, str]]:
        container = self.connection.container()

        async def read() -> list[tuple[str, str]]:
            found = []
            async for item in container.read_feed_ranges():
                found.append((item["Range"]["min"].upper(), item["Range"]["max"].upper()))
            return sorted(found)

        found: list[tuple[str, str]] = await self.connection.answer(read)
        return found

    def digests(self, cut: FeedCut) -> None:
        return None

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        stamps = [f"s{number}" for number in range(len(self.service.fields))]
        fields = map(names_of_field, self.service.fields)
        also = "".join(f", {property_of(names)} AS {stamp}" for names, stamp in zip(fields, stamps, strict=True))
        for page in self._pages(f"SELECT {self._key_columns}{also} FROM c", within, size=STAMPS_PAGE, eager=True):
            yield bundled(page, self._key_names, stamps)

    @property
    def _key_names(self) -> list[str]:
        return [f"k{number}" for number in range(len(self._names))]

    @property
    def _key_columns(self) -> str:
        parts = zip(self._names, self._key_names, strict=True)
        return ", ".join(['c["id"] AS i', *(f"{property_of(names)} AS {name}" for names, name in parts)])

    def counted(self, bundles: Collection[Hashable]) -> int:
        return len(bundles)

    def unpacked(self, bundles: Set[Any]) -> Set[Hashable]:
        found = set()
        for bundle in bundles:
            id_, values, stamp = unbundled(bundle, len(self._names))
            if problem := problem_of(id_, values, self._paths):
                self._reject(id_, problem)
            else:
                found.add(((id_, key_text(values)), stamp))
        return found

    def split(self, pair: tuple[Key, Stamp]) -> tuple[Key, Stamp]:
        return pair

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        pages_ = self._pages("SELECT * FROM c", within, size=PAGE)
        found = (self._copyable(page, count=not compared) for page in pages_)
        return heavy.batches(found, BATCH, held_by_document)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        return heavy.batches(self._pages_of(keys), BATCH, held_by_document)

    def _pages_of(self, keys: Sequence[Key]) -> Iterator[list[dict[str, Any]]]:
        """Documents by their keys, so many at a time as weigh little, judged by those of the time before."""
        start, size = 0, min(heavy.FIRST_ROWS, BATCH)
        while start < len(keys):
            documents = self._run(self._read_keys(keys[start : start + size]))
            yield documents
            start += size
            size = heavy.next_size(size, documents, BATCH, held_by_document)

    def _copyable(self, documents: list[dict[str, Any]], *, count: bool) -> list[dict[str, Any]]:
        copyable = []
        for document in documents:
            values = [value_at(document, names) for names in self._names]
            problem = problem_of(document.get("id"), values, self._paths)
            if not problem:
                copyable.append(without_system(document))
            elif count:
                self._reject(document.get("id"), problem)
        return copyable

    async def _read_keys(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        found = await self._by_key.rows("SELECT * FROM c", keys, self.key_of)
        return [without_system(document) for document in found.values()]

    @property
    def _by_key(self) -> ByKey:
        if self._reads is None:
            self._reads = ByKey(self.connection, self._names, self._question, self._feed_ranges, PAGE)
        return self._reads

    def key_of(self, record: Record) -> Key:
        return (record.get("id"), key_text([value_at(record, names) for names in self._names]))

    def present(self, keys: Sequence[Key]) -> set[Key]:
        def key_of(row: dict[str, Any]) -> Key:
            return (row.get("i"), key_text([row.get(name, MISSING) for name in self._key_names]))

        # Asked everywhere: what is believed to be absent will be deleted.
        return set(self._run(self._by_key.rows_anywhere(f"SELECT {self._key_columns} FROM c", keys, key_of)))

    def written_since(self, within: Any, moment: datetime) -> set[Key]:
        return set()  # a copy is the source's document and nothing else

    def count(self) -> int:
        found = self._pages("SELECT VALUE COUNT(1) FROM c", None, size=PAGE)
        return sum(itertools.chain.from_iterable(found))

    def empty(self) -> bool:
        return not self._any("", of_service=True)

    def is_void(self) -> bool:
        """Whether the container holds no document at all, of any kind."""
        return not self._any("", of_service=False)

    def is_ours(self) -> bool:
        """Whether there is nothing at all, or an earlier run of this service is in the history beside it."""
        return self.is_void() or self.journal.has_success()

    def check_fields(self, *, matched: bool = False) -> None:
        """Refuse fields of ``changed`` and ``where`` that no document has, unless the container is empty.

        ``matched``: the caller knows that documents once matched ``where``, so that none matches now is no misspelling.
        Raises ConfigurationError.
        """
        check_fields(self.service, self.label, self.account.container, self._any, matched=matched)

    def _any(self, condition: str, *, of_service: bool) -> bool:
        """Whether there is a document like that, among the service's or among all. Pages may be empty before one comes."""
        text, parameters = self._question("SELECT VALUE 1 FROM c", condition, [], of_service=of_service)
        with closing(pages(self.connection, text, parameters, None, 1, eager=False)) as found:
            return any(found)

    def _pages(
        self, select: str, within: EpkRange | None, *, size: int, eager: bool = False
    ) -> Generator[list[Any], None, None]:
        """Stream what a query finds among the service's documents in a range (None: everywhere), in pages."""
        text, parameters = self._question(select)
        spans = within.spans if within else None
        if within is not None and spans is None:
            spans = self._run(self._feed_ranges())
        return pages(self.connection, text, parameters, spans, size, eager=eager)

    def _question(
        self, select: str, condition: str = "", parameters: Sequence[dict[str, Any]] = (), *, of_service: bool = True
    ) -> tuple[str, list[dict[str, Any]]]:
        """The text and the parameters of a query, with ``where`` of the service added if it is about its documents."""
        terms, params = [condition] if condition else [], list(parameters)
        for number, (name, value) in enumerate(self.service.where.items() if of_service else ()):
            terms.append(f"{property_of(names_of_field(name))} = @w{number}")
            params.append({"name": f"@w{number}", "value": value})
        return (f"{select} WHERE {' AND '.join(terms)}" if terms else select), params

    # writing

    def pull(self, source: Any, within: EpkRange | None) -> None:
        return None

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        """Upserts, then the counts. A run that is killed in between has written more than it counted, never less."""
        new, old = self._run(self._upsert(inserts, updates))
        applied = Applied(inserted=new, updated=old, rejected=len(inserts) + len(updates) - new - old)
        self.journal.count(applied)
        return applied

    async def _upsert(self, *groups: Sequence[Record]) -> list[int]:
        return await all_of(upsert_all(self.connection, group, self._names) for group in groups)

    def delete(self, keys: Sequence[Key]) -> Applied:
        applied = Applied(deleted=self._run(delete_all(self.connection, keys)))
        self.journal.count(applied)
        return applied

    # history and lock

    @property
    def journal(self) -> CosmosJournal:
        if self._journal is None:
            self._journal = CosmosJournal(
                self.connection, self.service.name, history=self.history_name, copy=self.account.container
            )
        return self._journal

    def lock(self, run: SyncResult, wait_seconds: float) -> AbstractContextManager[None]:
        return Lease(self.connection, self.history_name, self.account.container, self.service.name).hold(
            run, wait_seconds
        )

    def check_lock(self) -> None:
        """Raise RetriableError if the lock that this store holds may have been lost; without one it does nothing."""
        if self._connection is not None and self._connection.guard is not None:
            self._connection.guard()

    # identity

    def identity(self) -> dict[str, str | None]:
        """Where this is by the server's own word: the account's id, the names, and what the service calls database and
        container (None where they are not there, yet). An endpoint's name says nothing: a server may have many.
        """
        own = self._own()
        return {
            "account": self.connection.account_id(),
            "database": self.account.database,
            "container": self.account.container,
            "database_rid": own.database_rid if own else None,
            "rid": own.rid if own else None,
        }

    @staticmethod
    def same(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
        """Whether two identities are those of one container. One that is not there is no other's."""
        names = ("account", "database", "container", "database_rid", "rid")
        return bool(one.get("rid")) and all(one.get(name) == other.get(name) for name in names)

    def is_at(self, other: CosmosStore) -> bool:
        """Whether both stores lead to one container."""
        return self.same(self.identity(), other.identity())

    # bookkeeping

    @property
    def rejected(self) -> int:
        return self._rejected

    @property
    def usage(self) -> Usage:
        return self._connection.usage if self._connection is not None else self._used

    def close(self) -> None:
        if self._connection is not None:
            self._used = self._connection.usage
            self._connection.close()
            self._connection = self._journal = self._reads = None

    @property
    def _paths(self) -> tuple[str, ...]:
        assert self.shape is not None
        return self.shape.paths

    def _reject(self, id_: Any, problem: str) -> None:
        self._rejected += 1
        log.warning("%s: document %s %s; it is counted as rejected and not copied", self.label, shown(id_), problem)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.connection.run(work)

"""The restore log of a container: what a restore's target held before it was overwritten, in ``<container>-restored``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores import weight
from backup_sync.stores.base import Keep, Record, batches
from backup_sync.stores.cosmos.account import Connection
from backup_sync.stores.cosmos.beside import OURS, CosmosBeside, bound, key_json
from backup_sync.stores.cosmos.documents import Names, weight_of_document
from backup_sync.stores.cosmos.entries import CosmosEntries
from backup_sync.stores.cosmos.making import ContainerShape
from backup_sync.stores.cosmos.ranges import EpkRange
from backup_sync.stores.cosmos.reader import CosmosReader


class CosmosLog(CosmosBeside):
    """See :class:`backup_sync.stores.base.RestoreLog`. ``open_reader``: reads documents of a shape."""

    what = "restore log"

    def __init__(
        self,
        connection: Connection,
        service: Service,
        limits: Limits,
        container: str,
        open_reader: Callable[[ContainerShape], CosmosReader],
    ) -> None:
        super().__init__(connection, service, limits, container, "-restored")
        self._open_reader = open_reader

    def begin(self, number: int) -> None:
        self.delete(self.entries_where("c.{}.seq = @number", number))

    def add(
        self,
        run: Keep,
        shape: ContainerShape,
        absent: Sequence[Key],
        replaced: Sequence[Record],
        removed: Sequence[Record],
    ) -> None:
        entries = CosmosEntries(self, run, self._open_reader(shape))
        entries.create(
            [
                *(entries.absent(skeleton(key, shape.names)) for key in absent),
                *(entries.image("U", document) for document in replaced),
                *(entries.image("D", document) for document in removed),
            ]
        )

    def entries(self, number: int) -> Iterator[tuple[str, Key]]:
        for entry in self.entries_where("c.{0}.seq = @number AND c.{0}.op != 'part'", number):
            id_, place = json.loads(entry[OURS]["key"])
            yield str(entry[OURS]["op"]), (id_, place)

    def reader(self, shape: ContainerShape, number: int) -> CosmosReplaced:
        return CosmosReplaced(self, shape, number)

    def cut(self, number: int) -> int:
        return self.delete(self.entries_where("c.{}.seq <= @number", number)) if self.exists() else 0

    def entries_where(self, condition: str, number: int) -> Iterator[dict[str, Any]]:
        return self.found(condition.format(OURS), {"@number": number})


def skeleton(key: Key, paths: Sequence[Names]) -> Record:
    """A document of this key that holds nothing else."""
    document: Record = {"id": key[0]}
    for names, value in zip(paths, json.loads(str(key[1])), strict=True):
        if value == {} or names == ("id",):
            continue
        at = document
        for name in names[:-1]:
            at = at.setdefault(name, {})
        at[names[-1]] = value
    return document


class CosmosReplaced(CosmosReader):
    """Reads the documents that a restore replaced or removed, as they were."""

    def __init__(self, log: CosmosLog, shape: ContainerShape, number: int) -> None:
        super().__init__(log.connection, log.service, shape, log.limits, None, content=True, stamps=False)
        self._log, self._number = log, number

    def pairs(self, within: EpkRange | None) -> Iterator[list[tuple[Any, ...]]]:
        return map(self.pairs_of, self.records(within))

    def records(self, within: EpkRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        return weight.batches(self._images(), self.limits.batch, weight_of_document, self.limits)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        for some in batches(keys, self.limits.posted_keys):
            documents = self._images(f" AND ARRAY_CONTAINS(@keys, c.{OURS}.key)", {"@keys": list(map(key_json, some))})
            yield from weight.batches(documents, self.limits.batch, weight_of_document, self.limits)

    def present(self, keys: Sequence[Key]) -> set[Key]:
        return {self.key_of(document) for page in self.records_of(keys) for document in page}

    def count(self) -> int:
        return sum(map(len, self.records(None)))

    def empty(self) -> bool:
        return next((False for page in self.records(None) if page), True)

    def _images(self, condition: str = "", parameters: Mapping[str, Any] | None = None) -> Iterator[list[Record]]:
        text = f"SELECT * FROM c WHERE c.{OURS}.seq = @number AND c.{OURS}.op IN ('U', 'D'){condition}"
        for page in self._log.pages(text, bound({"@number": self._number, **(parameters or {})})):
            yield [self._log.image(entry) for entry in page]

"""Reading a table: the flow once for all dialects."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from backup_sync.model.diff import Key, Stamp
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Cut, Digest, PairCodec, Record, batches
from backup_sync.stores.sql.cutter import SqlCutter
from backup_sync.stores.sql.ranges import EVERYTHING, KeyRange, key_of_position
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.view import View


class SqlReader(ABC):
    """See :class:`backup_sync.stores.base.Reader`. A dialect provides the SQL text."""

    codec: PairCodec
    reread_share = 0.25
    rejected = 0

    def __init__(self, session: SqlSession, view: View, limits: Limits, cutter: SqlCutter) -> None:
        self.session, self.view, self.limits, self.cutter = session, view, limits, cutter
        self._key_at = [view.shape.index(column.name) for column in view.key]
        self._fields_at = [view.shape.index(column.name) for column in view.fields]

    # what a dialect provides

    @abstractmethod
    def read_pairs(self, within: KeyRange) -> Iterator[Collection[Hashable]]: ...

    @abstractmethod
    def read(self, within: KeyRange) -> Iterator[list[Record]]: ...

    @abstractmethod
    def read_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]: ...

    @abstractmethod
    def present(self, keys: Sequence[Key]) -> set[Key]: ...

    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def empty(self) -> bool: ...

    # the flow

    def cut(self, within: KeyRange | None, records: int) -> Cut:
        return self.cutter.cut(within, records)

    def readable(self, cut: Cut) -> Cut:
        return cut

    @property
    def digests(self) -> Callable[[Cut], Mapping[int, Digest]] | None:
        return self.cutter.digests

    def pairs(self, within: KeyRange | None) -> Iterator[Collection[Hashable]]:
        return self.read_pairs(within or EVERYTHING)

    def records(self, within: KeyRange | None, *, compared: bool = False) -> Iterator[list[Record]]:
        return self.read(within or EVERYTHING)

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        for chunk in batches(keys, self.limits.posted_keys):
            yield from self.read_keys(chunk)

    def key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

    def stamp_of(self, record: Record) -> Stamp:
        return tuple(record[index] for index in self._fields_at)

    def print_of(self, record: Record) -> int:
        return _part(record)

    def parts_of(self, record: Record) -> dict[str, int]:
        return {column.name: _part(value) for column, value in zip(self.view.shape.columns, record, strict=True)}

    def check_names(self, names: Sequence[str]) -> None:
        for name in names:
            self._index(name)

    def value_of(self, record: Record, name: str) -> Any:
        return record[self._index(name)]

    def merged(self, record: Record, onto: Record, names: Sequence[str]) -> Record:
        taken = set(map(self._index, names))
        return tuple(record[n] if n in taken else value for n, value in enumerate(onto))

    def _index(self, name: str) -> int:
        try:
            return self.view.shape.index(name)
        except KeyError:
            raise ConfigurationError(
                f"{self.view.table.label}: there is no column {name} that could be restored"
            ) from None

    def key_from(self, values: Sequence[Any]) -> Key:
        if len(values) != len(self.view.key):
            names = ", ".join(column.name for column in self.view.key)
            raise ConfigurationError(f"{self.view.table.label}: the key is {names}; give a value for each")
        return tuple(values)

    def between(self, after: Any, upto: Any) -> KeyRange:
        return KeyRange(
            key_of_position(after) if after else None,
            key_of_position(upto) if upto else None,
        )

    def portion(self, after: Any, part: float) -> tuple[KeyRange, Any]:
        return self.cutter.portion(after, part)

    def content_digest(self, within: KeyRange) -> tuple[int, str]:
        return self.cutter.content_digest(within)


def _part(value: Any) -> int:
    # In Python 1 equals 1.0, and 0.0 equals -0.0.
    told = f"{type(value).__name__}:{value!r}".encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big")

"""What every store must do, and the types that pass between the engine and a store.

A *range* is a slice of the key space. It is made by one store (:meth:`Store.cut`) and understood by the other one,
because both evaluate it in their own engine with the same rules; the engine above never looks inside.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from backup_sync.model.diff import Key, Stamp
from backup_sync.model.result import SyncResult
from backup_sync.model.service import Service

Record = Any
"""A row as a tuple of wire values in catalog order, or a document as a dict. Opaque to the engine."""

Identity = Mapping[str, "str | None"]
"""What a server itself says of where something is, most telling first; None: it does not tell."""

Digest = tuple[Any, ...]
"""(count, hash …) of all (key, stamp) pairs of a range, computed by the database. The count comes first."""


class Cut(Protocol):
    """A range cut into numbered pieces that lie side by side and together cover it."""

    @property
    def gaps(self) -> bool:
        """Whether :meth:`select` can leave pieces out in between."""

    def __len__(self) -> int: ...

    def select(self, pieces: Sequence[int]) -> Any:
        """The range made of these pieces (ascending numbers)."""

    def parts(self) -> Iterable[Cut]:
        """Cuts that together are this one, each of so few pieces that their digests can be held at once."""


@dataclass(frozen=True)
class Applied:
    """What one write really did."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Usage:
    """What the run cost a store that meters requests."""

    request_charge: float = 0.0
    throttled: int = 0


class Journal(Protocol):
    """What a backup remembers: its runs, and what is kept of the copy beside them. Always in the backup."""

    def has_success(self) -> bool:
        """Whether a run of this service has succeeded here."""

    def states(self) -> Mapping[str, Any]:
        """What is remembered of this copy beside its history: JSON values by name."""

    def keep_state(self, name: str, value: Mapping[str, Any] | None, *, new: bool = False) -> bool:
        """Remember a state (None: forget it). With ``new`` only if there is none of that name yet.

        Returns whether it was written.
        """

    def begin(self, run: SyncResult) -> bool:
        """Open the run's history record, or carry on from the one that an earlier attempt left (:meth:`resume`)."""

    def resume(self, run: SyncResult) -> bool:
        """Give ``run`` the counts and the start of its earlier attempts, from its history record if there is one.

        Returns whether there was one that did not succeed.
        """

    def save(self, run: SyncResult) -> None:
        """Write the run's history record (once for each SyncId, however often it is called)."""

    def newest(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs of this service, newest first, in the names of :meth:`SyncResult.to_dict`."""


class Store(Protocol):
    """One end of a service. Used by one thread at a time."""

    kind: str
    """``mssql``, ``sqlite`` or ``azure_cosmos``; both ends of a service have the same."""
    service: Service
    label: str
    """How messages call this end: the connection id."""

    @property
    def journal(self) -> Journal:
        """Of the backup end only."""

    # what it is
    def identity(self) -> Identity:
        """What the server says of where this is. Asked for once, and then remembered until :meth:`create`."""

    def same(self, one: Identity, other: Identity) -> bool:
        """Whether two identities of this kind of store are of one database or container."""

    def is_at(self, other: Any) -> bool:
        """Whether this and ``other``, a store of the same kind, are one place right now, however they are addressed."""

    def is_ours(self) -> bool:
        """Whether what is there holds nothing, or was made by this package for this service (its history says so)."""

    def describe(self) -> Any:
        """What the store says of itself: the table's columns and key, or the container's partition key.

        Raises ConfigurationError if the table, container or a configured field does not exist or cannot be a key.
        """

    def check_fields(self, *, matched: bool = False) -> None:
        """Raise ConfigurationError if the store holds records and none has a field that the service names.

        ``matched``: records matched the service's ``where`` before, so that it is right though none does now.
        """

    def create(self, shape: Any, *, dry_run: bool = False) -> list[str]:
        """Make whatever is missing for a backup of ``shape``; returns what was made, in words. Idempotent.

        A table that is there follows the source's columns where that is safe. Raises FatalError where it is not.
        """

    def exists(self) -> bool:
        """Whether the table or container is there at all."""

    def open(self, shape: Any, *, planned: bool = False) -> None:
        """Get ready to read or write records of ``shape``. Raises ConfigurationError if the store does not fit.

        ``planned``: get ready to be compared as :meth:`create` would leave it, and for nothing else.
        """

    def unfilled(self) -> Sequence[str]:
        """Fields that this backup was given after its records, and that may lack the source's values in them."""

    def watch(self, fields: Sequence[str]) -> None:
        """Let these fields be part of every stamp, behind the configured ones; one that differs makes a record changed
        that is not ahead."""

    def filled(self, fields: Sequence[str]) -> None:
        """All records hold the source's values in these fields now."""

    # reading
    def cut(self, within: Any, records: int) -> Cut:
        """Cut a range (None: everything) into pieces of about ``records`` records each."""

    def readable(self, cut: Any) -> Any:
        """A cut made by the other store, as this one can read it: the same, or a coarser one."""

    def digests(self, cut: Any) -> Mapping[int, Digest] | None:
        """Digest by piece number; pieces without records are left out. None: this store has no cheap digest."""

    def pairs(self, within: Any) -> Iterator[Collection[Hashable]]:
        """Batches of bundles: the (key, stamp) pairs of a range, one or a few to each.

        How they are bundled and packed is the store's own affair; two bundles that are equal hold the same pairs, also
        across two stores of a kind. Most pairs are the same on both sides, so bundles are compared as they are and only
        the others opened.
        """

    def counted(self, bundles: Collection[Hashable]) -> int:
        """How many pairs these bundles hold."""

    def unpacked(self, bundles: Set[Hashable]) -> Set[Hashable]:
        """The pairs of these bundles, each packed into one value; equal where key and stamp are."""

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        """Take a packed pair apart."""

    dense: float
    """Share of a range's records (0..1) from which on reading the range is cheaper than asking for keys."""

    def records(self, within: Any, *, compared: bool = False) -> Iterator[list[Record]]:
        """Batches of whole records of a range; None: of all.

        ``compared``: the range's pairs were read before, so that what cannot be copied was met and counted then.
        """

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        """Batches of those records with these keys that (still) exist. The engine checks that all of them come."""

    def key_of(self, record: Record) -> Key: ...

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """Which of these keys exist (now)."""

    def written_since(self, within: Any, moment: datetime) -> set[Key]:
        """Keys of a range whose records were last written at or after a moment, as far as this store can tell."""

    def count(self) -> int: ...

    def empty(self) -> bool:
        """Whether there is no record at all. Cheaper than counting."""

    # writing
    def pull(self, source: Any, within: Any) -> Generator[Applied, None, None] | None:
        """Take all records of a range right from ``source`` (a store of the same kind), in batches with their counts.

        For two stores that one engine can reach, so that records need not pass through here. Only called for a range
        of which this store holds nothing. None: not possible.
        """

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        """Write records and their counts in the run's history, both or neither."""

    def delete(self, keys: Sequence[Key]) -> Applied: ...

    def lock(self, run: SyncResult, wait_seconds: float) -> AbstractContextManager[None]:
        """Hold the backup for this run. Raises LockHeld, saying who has it, when the wait is over."""

    def check_lock(self) -> None:
        """Raise RetriableError if the lock may have been lost, so that another run may be writing."""

    # bookkeeping
    @property
    def rejected(self) -> int:
        """Records met while reading that cannot be copied (each was logged with its key and the reason)."""

    @property
    def usage(self) -> Usage: ...

    def close(self) -> None: ...


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to ``size`` items, in order."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

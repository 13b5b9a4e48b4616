"""What a store is: a small value that holds parts, and the protocol of each part.

A *range* is a slice of the key space. One store makes it (:meth:`Reader.cut`) and the other one understands it, because
both evaluate it in their own engine by the same rules; the walk never looks inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from backup_sync.model.declaring import Declarable
from backup_sync.model.diff import Key, Stamp
from backup_sync.model.keep import Point
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult
from backup_sync.model.service import Service

Record = Any
"""A row as a tuple of wire values in catalog order, or a document as a dict. Opaque to the walk."""

Shape = Any
"""What a store says of itself: the table's columns and key, or the container's partition key. Opaque to the walk."""

Identity = Mapping[str, "str | None"]
"""What a server itself says of where something is, most telling first; None: it does not say."""

Filtered = Literal["all", "ranges", "none"]
"""To what of a table a service's ``where`` applies: to all that is read; to ranges, counts and what is asked to be present, so that
a record is found by its key whatever it holds; or to nothing."""

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
    """What one write really did, in records."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Usage:
    """What the run cost a store that meters requests: request units, and requests that were throttled."""

    request_charge: float = 0.0
    throttled: int = 0


@dataclass(frozen=True)
class Met:
    """``shape``: what two shapes have in common. ``left``: the fields of the first that are left out (folded), and in words:
    ``notes``."""

    shape: Any
    left: Set[str] = frozenset()
    notes: Sequence[str] = ()


class Catalog(Protocol):
    """What is there, and making what is not."""

    def identity(self) -> Identity:
        """What the server says of where this is. Asked for once, and then remembered until :meth:`create`."""

    def same(self, one: Identity, other: Identity) -> bool:
        """Whether two identities of this kind of store are of one database or container."""

    def is_at(self, other: Any) -> bool:
        """Whether this and ``other``, a catalog of the same kind, are one place right now, however they are addressed."""

    def exists(self) -> bool:
        """Whether the table or container is there at all."""

    def vacant(self) -> bool:
        """Whether there is nothing that a first copy could destroy: no table or container, or one that holds nothing.

        Raises PairingRefused for what is certainly no copy of ours.
        """

    def describe(self) -> Shape:
        """The shape of what is there; of a copy, without what this package keeps in it.

        Raises ConfigurationError if the table, container or a configured field does not exist or cannot be a key.
        """

    def check_fit(self, shape: Shape, *, planned: bool = False) -> Sequence[str]:
        """Raise ConfigurationError or FatalError unless records of ``shape`` can be written here as things are.

        ``planned``: or could be, once :meth:`create` has run. Returns the fields that are lacking until then.
        """

    def create(self, shape: Shape, *, dry_run: bool = False) -> list[str]:
        """Make whatever is missing for a copy of ``shape``; returns what was made, in words. Idempotent.

        A table that is there follows the source's columns where that is safe. Raises FatalError where it is not. Where it is
        not the backup, only the table or container itself is made, with what it is in, and one that is there is left alone.
        """

    def meet(self, shape: Shape, without: Set[str]) -> Met:
        """The part of a shape that can be written here, less some fields. Raises FatalError where that leaves no key."""

    def tables(self) -> list[tuple[str, str]]:
        """(schema, table) of all tables that are there, ours included; nothing where there are containers."""

    def declarable(self) -> Declarable:
        """The table as :mod:`backup_sync.model.declaring` wants to know it."""

    def drop(self) -> None:
        """Remove the table or container, if it is there. Never of a copy."""

    def obstacles(self) -> list[str]:
        """What would change or refuse what is written there, in words: triggers, foreign keys."""


class PairCodec(Protocol):
    """How a store bundles its (key, stamp) pairs, and how they are taken apart.

    Most pairs are the same on both sides, so bundles are compared as they are and only the others opened. Two bundles
    that are equal hold the same pairs, also across two stores of a kind.
    """

    def count(self, bundles: Collection[Any]) -> int:
        """How many pairs these bundles hold."""

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        """The pairs of these bundles, each packed into one value; equal where key and stamp are."""

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        """Take a packed pair apart."""


class Reader(Protocol):
    """Reads records of one shape. Never writes."""

    reread_share: float
    """Share of a range's records (0..1) from which on reading the range is cheaper than asking for keys."""

    limits: Limits

    rejected: int
    """Records met while reading that cannot be copied (each was logged with its key and the reason)."""

    @property
    def codec(self) -> PairCodec: ...

    def cut(self, within: Any, records: int) -> Cut:
        """Cut a range (None: everything) into pieces of about ``records`` records each."""

    def readable(self, cut: Any) -> Any:
        """A cut made by the other store, as this one can read it: the same, or a coarser one."""

    @property
    def digests(self) -> Callable[[Any], Mapping[int, Digest]] | None:
        """Digest by piece number of a cut; pieces without records are left out. None: this store has no cheap digest."""

    def pairs(self, within: Any) -> Iterator[Collection[Hashable]]:
        """Batches of bundles (:attr:`codec`): the (key, stamp) pairs of a range, one or a few to each."""

    def records(self, within: Any, *, compared: bool = False) -> Iterator[list[Record]]:
        """Batches of whole records of a range; None: of all.

        ``compared``: the range's pairs were read before, so that what cannot be copied was met and counted then.
        """

    def records_of(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        """Batches of those records with these keys that (still) exist. The walk checks that all of them come."""

    def key_of(self, record: Record) -> Key: ...

    def stamp_of(self, record: Record) -> Stamp:
        """The configured part of a record's stamp."""

    def print_of(self, record: Record) -> int:
        """A number that stands for a whole record: the same on both ends where all of it is, in readers of one shape."""

    def parts_of(self, record: Record) -> dict[str, int]:
        """For each column or outermost property a number that stands for its value, byte for byte: the same for
        all readers of the kind."""

    def between(self, after: Any, upto: Any) -> Any:
        """The range from one position to another (see :meth:`portion`); None: open at that end."""

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ConfigurationError for the name of a column that there is not. A document may have any property."""

    def value_of(self, record: Record, name: str) -> Any:
        """The value of a column, or at the path of a property."""

    def merged(self, record: Record, onto: Record, names: Sequence[str]) -> Record:
        """The record ``onto``, with some columns or outermost properties as ``record`` has them."""

    def key_from(self, values: Sequence[Any]) -> Key:
        """A key as a person writes it: its values in order; of a document its id, then those of its partition key.

        Raises ConfigurationError for another number of values.
        """

    def portion(self, after: Any, part: float) -> tuple[Any, Any]:
        """(range, position) of about this part (above 0, up to 1) of the records behind a position (None: of all).

        The position returned is the one where the range ends; None: it reaches the end of the key space, as it does for 1.
        Positions are JSON values.
        """

    def content_digest(self, within: Any) -> tuple[int, str]:
        """How many records a range holds, and a digest of their whole content, the same whenever that is the same. Of a
        reader that compares content."""

    def present(self, keys: Sequence[Key]) -> set[Key]:
        """Which of these keys exist (now)."""

    def count(self) -> int: ...

    def empty(self) -> bool:
        """Whether there is no record at all. Cheaper than counting."""


class Writer(Protocol):
    """Writes records of one shape. A copy's writer also keeps what only a copy has: when a record was written, and the
    counts in the run's history."""

    def apply(self, inserts: Sequence[Record], updates: Sequence[Record]) -> Applied:
        """Write records (and their counts), all or none of them where the store has transactions."""

    def delete(self, keys: Sequence[Key]) -> Applied: ...

    @property
    def written_since(self) -> Callable[[Any, datetime], Set[Key]] | None:
        """Keys of a range whose records were last written at or after a moment. None: the store does not know."""

    @property
    def pull(self) -> Callable[[Any, Any], Generator[Applied, None, None] | None] | None:
        """Take all records of a range right from a reader of the same kind, in batches with their counts.

        For two stores that one engine can reach, so that records need not pass through here. Only called for a range
        of which this store holds nothing. None, the attribute or what it returns: not possible.
        """


@dataclass(frozen=True)
class Keep:
    """That a writer keeps what it replaces, as the run of this number and SyncId. ``exact``: records are rewritten whose
    stamps are the same, so their content tells whether they change; what does not makes no entry."""

    number: int
    sync_id: str
    exact: bool = False


class Undo(Protocol):
    """A copy's history of records: for each record that a run changed, what it was before that run.

    The state at the end of run S is the copy as it is now with the entries of all runs after S undone: of each key the
    entry with the lowest number above S decides, and a key without one is as it is now.
    """

    def create(self, *, dry_run: bool = False) -> list[str]:
        """Make what is missing for it, or let it follow the copy's columns; returns what was made, in words. Idempotent."""

    def highest(self) -> int:
        """The highest number of a run that made an entry; 0 where there is none."""

    def reader(self, shape: Shape, number: int, *, content: bool = False, stamps: bool = True) -> Reader:
        """Reads the records as they were at the end of a run. ``content``, ``stamps``: see :class:`Store`."""

    def count(self) -> int:
        """How many entries there are."""

    def cut(self, number: int) -> int:
        """Remove the entries up to and with this run's, in bounded batches; returns how many."""

    def forget(self, key: Sequence[Any]) -> int:
        """Remove all entries of one key; returns how many. ``key``: the key's values in order; of a document its id, and
        then those of its partition key."""

    def thin(self, first: int, last: int) -> int:
        """Remove what is not needed to rebuild ``last`` and what is before or at ``first``, of the runs in between; returns
        how many entries."""


class RestoreLog(Protocol):
    """What the targets of restores held before they were overwritten, so that a restore can be undone. In the backup, whichever
    table or container was written."""

    def create(self, *, dry_run: bool = False) -> list[str]:
        """Make what is missing for it, or let it follow the copy's columns; returns what was made, in words. Idempotent."""

    def begin(self, number: int) -> None:
        """Remove what an earlier attempt of this run wrote down; it wrote nothing else."""

    def add(
        self, run: Keep, shape: Shape, absent: Sequence[Key], replaced: Sequence[Record], removed: Sequence[Record]
    ) -> None:
        """Write down what the target holds: keys that it has no record of, records that are to be replaced, and such as are to be
        removed."""

    def entries(self, number: int) -> Iterator[tuple[str, Key]]:
        """(``I``, ``U`` or ``D``, key) of all that a restore did."""

    def reader(self, shape: Shape, number: int) -> Reader:
        """Reads the records that a restore replaced or removed, as they were; compares whole ones."""

    def cut(self, number: int) -> int:
        """Remove the entries up to and with this run's; returns how many."""


class Unfilled(Protocol):
    """Fields that a copy was given after its records, and that may lack the source's values in them."""

    def pending(self, shape: Shape, lacking: Sequence[str] = ()) -> Sequence[str]:
        """Those of a shape's fields that still have to be filled in; ``lacking``: those that are yet to be added."""

    def mark_filled(self, fields: Sequence[str], number: int) -> None:
        """All records hold the source's values in these fields now, by the run of this number."""


@dataclass(frozen=True)
class Points:
    """``numbered``: the runs of this service that succeeded and have a number. ``unnumbered``: when the newest run began that
    wrote something and has none, because it was one of an earlier version of this package; None: there is none."""

    numbered: Sequence[Point]
    unnumbered: datetime | None


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

    def points(self) -> Points:
        """What the history says of restore points, in one request."""

    def newest(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs of this service, newest first, in the names of :meth:`SyncResult.to_dict`."""


class Lock(Protocol):
    """Keeps two runs from writing one copy."""

    def hold(self, run: SyncResult, wait_seconds: float) -> AbstractContextManager[Callable[[], None] | None]:
        """Hold the copy for this run. Raises LockHeld, saying who has it, when the wait is over.

        Yields what raises RetriableError if the lock may have been lost, so that another run may be writing; None: it
        lasts as long as the connection or the process that writes.
        """


@dataclass
class Store:
    """One end of a service, opened by nobody yet. Used by one thread at a time.

    ``kind``: ``mssql``, ``sqlite`` or ``azure_cosmos``; both ends of a service have the same. ``label``: how messages
    call this end, the connection id. ``uri``: its address, without login and secrets; empty where nobody said it. ``reader``: opens a :class:`Reader` of records of a shape; fields in
    ``compare_also`` are part of every stamp, behind the configured ones, and those in ``lacking`` are read as null; with
    ``content`` the whole record is part of it as well, byte for byte, in between; with ``stamps=False`` it is all of it;
    ``filtered``, a :data:`Filtered`, says what of a source the service's ``where`` keeps from being read.
    ``writer``: opens a :class:`Writer`; with ``keep``, a :class:`Keep`, what it replaces is kept in ``undo``; with ``told=False`` what it
    writes is not added to the counts in the run's history.

    Parts that an end may lack are None: ``unfilled``, ``undo`` and ``log`` (of a copy), ``usage``, and ``check_fields``, which raises
    ConfigurationError if the store holds records and none has a field that the service names (with ``matched=True``
    records matched the service's ``where`` before, so that it is right though none does now), and ``holding`` (of a copy): the
    tables there, of the copy and its histories, that hold rows and have one of these columns. ``mask_print``: what the key of a
    source's hashes is known again by; empty: it has none.
    """

    kind: str
    service: Service
    label: str
    limits: Limits
    catalog: Catalog
    journal: Journal
    lock: Lock
    reader: Callable[..., Reader]
    writer: Callable[..., Writer]
    close: Callable[[], None]
    unfilled: Unfilled | None = None
    undo: Undo | None = None
    log: RestoreLog | None = None
    check_fields: Callable[..., None] | None = None
    holding: Callable[[Sequence[str]], list[str]] | None = None
    mask_print: str = ""
    usage: Callable[[], Usage] = field(default=Usage)
    uri: str = ""


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

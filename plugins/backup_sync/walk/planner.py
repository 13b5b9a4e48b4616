"""What a restore would write: the wanted state and the target, compared in their whole content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.keep import Kept, lacking
from backup_sync.model.names import parse_table, without_case
from backup_sync.model.result import SyncResult
from backup_sync.model.wish import CHANGED, EXTRA, MISSING, Planned, Wish
from backup_sync.stores.base import Reader, Store, batches
from backup_sync.walk import stop as stopping
from backup_sync.walk.find import Finder
from backup_sync.walk.points import RESTORES
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool, private_file


class Planner:
    """Finds out what a restore would write. ``notes``: what cannot be restored, and what has to be made first, in words."""

    def __init__(
        self, backup: Store, target: Store, result: SyncResult, wish: Wish, stop: threading.Event | None
    ) -> None:
        assert backup.log is not None
        self.backup, self.target, self.result, self.wish = backup, target, result, wish
        self.service, self.limits, self.log = backup.service, backup.limits, backup.log
        self._stop = stop
        self.file = private_file()
        self._check_place()
        met = target.catalog.meet(backup.catalog.describe(), self._not_there_then())
        self.shape = shape = met.shape
        self.left, self.notes = met.left, [*met.notes]
        self.there = target.catalog.exists()
        self.wanted = self._open_wanted(shape)
        self.wanted.check_names([*wish.columns, *wish.where])
        self.theirs = target.reader(shape, content=True, stamps=False)
        if not self.there:
            self.notes += target.catalog.create(shape, dry_run=True)

    def close(self) -> None:
        self.file.close()

    def check(self) -> None:
        stopping.check(self._stop, self.service.name)

    def _check_place(self) -> None:
        """Raise ConfigurationError where the target is the copy itself, or a restore is to be undone that wrote elsewhere, or was none."""
        if self.target.kind != self.backup.kind:
            raise ConfigurationError(
                f"{self.target.label} is {self.target.kind} and the backup of {self.service.name} is {self.backup.kind}: a restore "
                "needs two of one kind"
            )
        if same_place(self.target, self.backup):
            raise ConfigurationError(
                f"{self.target.label} leads to the backup of {self.service.name} itself; restore to its source, or to another table"
            )
        if self.wish.undo is None:
            return
        known = self.backup.journal.states().get(RESTORES, {}).get(str(self.wish.undo))
        if known is None:
            raise ConfigurationError(f"{self.service.name}: run {self.wish.undo} is no restore that could be undone")
        if known["place"] != place_of(self.target):
            raise ConfigurationError(
                f"{self.service.name}: restore {self.wish.undo} wrote to {' '.join(known['place'])}; name that target to undo it"
            )

    def _not_there_then(self) -> set[str]:
        """Columns (folded) that what is to be restored does not have, or not yet with the source's values."""
        states = self.backup.journal.states()
        number = self.wish.number
        if self.wish.undo is not None:
            return lacking(states, self.wish.undo) | set(states[RESTORES][str(self.wish.undo)]["left"])
        if number is None:
            return lacking(states, None)
        kept = Kept.from_value(states[KEPT]) if KEPT in states else None
        if kept is None or not kept.holds(number):
            raise ConfigurationError(
                f"{self.service.name}: the state at the end of run {number} cannot be rebuilt; list the restore points "
                "(backup_restore without a service)"
            )
        return lacking(states, number)

    def _open_wanted(self, shape: Any) -> Reader:
        """Reads the state that is to be restored."""
        if self.wish.undo is not None:
            return self.log.reader(shape, self.wish.undo)
        if self.wish.number is None:
            return self.backup.reader(shape, content=True, stamps=False)
        assert self.backup.undo is not None
        return self.backup.undo.reader(shape, self.wish.number, content=True, stamps=False)

    # finding out

    def plan(self) -> Planned:
        planned, _ = self.find()
        if self.there and (planned.counts.total()):
            risky = [what for what in self.target.catalog.obstacles() if planned.counts[EXTRA] or "trigger" in what]
            if risky and not self.wish.accept_obstacles:
                raise FatalError(
                    f"{self.target.label}: the target has {' and '.join(risky)}, which may change more than the plan says; remove them, "
                    "or restore with accept_obstacles=true"
                )
            planned.notes += [f"{what} of the target may do more" for what in risky]
        return planned

    def find(self) -> tuple[Planned, KeySpool]:
        planned = Planned(number=self.wish.number, notes=list(self.notes))
        chosen = KeySpool(self.file, f"plan{id(planned)}")
        total = 0
        # All of them first: a store does one thing at a time.
        candidates = KeySpool(self.file, f"candidates{id(planned)}")
        for found in self._candidates():
            self.check()
            candidates.extend(found)
        for keys in candidates.batches(self.limits.asked_keys):
            self.check()
            rows = []
            for key, kind, names, mark in self.differing(keys):
                if not self.asked_for(kind, names):
                    continue
                if kind == EXTRA and not (self.wish.delete or self.wish.undo is not None):
                    planned.staying += 1
                    continue
                planned.add(kind, key, [name for name in names if not self.wish.columns or name in self.wish.columns])
                rows.append((kind, *key))
                total += mark
            chosen.extend(rows)
        told = repr((self.service.name, place_of(self.target), self.wish, total % 2**256))
        # With a letter in front, so that nobody takes it for a number.
        planned.id = "p" + hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return planned, chosen

    def asked_for(self, kind: str, names: Sequence[str]) -> bool:
        if self.wish.only and kind != self.wish.only:
            return False
        return not self.wish.columns or (kind == CHANGED and bool(set(names) & set(self.wish.columns)))

    def _candidates(self) -> Iterator[Sequence[Key]]:
        """Keys of records that may differ, in batches."""
        if self.wish.undo is not None:
            yield from batches((key for _, key in self.log.entries(self.wish.undo)), self.limits.pending_keys)
        elif self.wish.keys is not None:
            for some in batches(map(self.wanted.key_from, self.wish.keys), self.limits.asked_keys):
                found = {self.wanted.key_of(record): None for page in self.wanted.records_of(some) for record in page}
                if self.there:
                    found |= {
                        self.theirs.key_of(record): None for page in self.theirs.records_of(some) for record in page
                    }
                yield list(found)
        elif not self.there:
            for bundles in self.wanted.pairs(None):
                yield [self.wanted.codec.split(pair)[0] for pair in self.wanted.codec.open(set(bundles))]
        else:
            yield from self._compared()

    def _compared(self) -> Iterator[Sequence[Key]]:
        finder = Finder(
            self.wanted,
            self.theirs,
            ("different",),
            force=False,
            written=lambda _: frozenset(),
            progress=Progress(self.result),
            check=self.check,
            limits=self.limits,
        )
        cut = self.theirs.readable(self.wanted.readable(self.wanted.cut(None, self.limits.range_records)))
        for found in finder.find(cut):
            for keys in finder.differing(found):
                yield from batches(keys, self.limits.asked_keys)

    def differing(self, keys: Sequence[Key]) -> Iterator[tuple[Key, str, list[str], int]]:
        """(key, kind, names of what differs, a number that stands for both sides) of those that differ."""
        ours, theirs = self.prints(self.wanted, keys), self.prints(self.theirs, keys) if self.there else {}
        for key in keys:
            mine, other = ours.get(key), theirs.get(key)
            if mine is None and other is None:
                continue
            kind = EXTRA if mine is None else MISSING if other is None else CHANGED
            one, two = (mine or ({}, False))[0], (other or ({}, False))[0]
            names = [name for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]
            if names and (mine or other or ({}, False))[1]:
                told = repr((kind, key, sorted(one.items()), sorted(two.items()))).encode("utf-8", "backslashreplace")
                yield key, kind, names if kind == CHANGED else [], int.from_bytes(hashlib.sha256(told).digest(), "big")

    def prints(self, reader: Reader, keys: Iterable[Key]) -> dict[Key, tuple[dict[str, int], bool]]:
        """For each key that there is a record of: (a number for each part of it, whether it is asked for)."""
        asked = list(keys)
        wanted = set(asked)
        return {
            key: (reader.parts_of(record), self._matches(reader, record))
            for records in reader.records_of(asked)
            for record in records
            if (key := reader.key_of(record)) in wanted
        }

    def _matches(self, reader: Reader, record: Any) -> bool:
        return all(_equal(reader.value_of(record, name), value) for name, value in self.wish.where.items())


def place_of(target: Store) -> list[str]:
    """Where a target is, as a person names it."""
    return [target.label, str(target.service.table or target.service.container)]


def same_place(one: Store, other: Store) -> bool:
    """Whether two stores of a kind are one table or container."""
    if not one.catalog.is_at(other.catalog):
        return False
    tables = [store.service.table for store in (one, other)]
    if None in tables:
        return True  # is_at compares containers, but of tables only their databases
    return without_case(".".join(parse_table(str(tables[0])))) == without_case(".".join(parse_table(str(tables[1]))))


def _equal(value: Any, wanted: Any) -> bool:
    """Whether a record's value is what a person wrote; values that JSON does not have are compared as text."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted or (isinstance(value, int) and value == wanted)
    return bool(value == wanted) or (value is not None and wanted is not None and str(value) == str(wanted))

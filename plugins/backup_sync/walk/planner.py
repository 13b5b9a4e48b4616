"""What a restore would write: the wanted state and the target, compared in their whole content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from backup_sync.model.diff import WHOLE, Key
from backup_sync.model.errors import ConfigurationError, FatalError
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.keep import Kept, lacking
from backup_sync.model.names import parse_table, without_case
from backup_sync.model.result import SyncResult
from backup_sync.model.wish import CHANGED, EXTRA, MISSING, Planned, Wish
from backup_sync.stores.base import Reader, Store, batches
from backup_sync.walk import pairing, unfinished
from backup_sync.walk import stop as stopping
from backup_sync.walk.find import Finder
from backup_sync.walk.points import RESTORES
from backup_sync.walk.progress import Progress
from backup_sync.walk.spool import KeySpool, private_file

Differing = tuple[Key, str, list[str], int]
"""(key, kind, names of what differs, a number that stands for both sides)."""


class Planner:
    """Finds out what a restore would write. ``notes``: what cannot be restored, and what has to be made first, in words.
    ``into_nothing``: all of a state is to be restored to a place that is not there yet."""

    def __init__(
        self, backup: Store, target: Store, result: SyncResult, wish: Wish, stop: threading.Event | None
    ) -> None:
        assert backup.log is not None
        self.backup, self.target, self.result, self.wish = backup, target, result, wish
        self.service, self.limits, self.log = backup.service, backup.limits, backup.log
        self._stop = stop
        self.file = private_file()
        self._check_place()
        self._check_delete()
        whole = backup.catalog.describe()
        met = target.catalog.meet(whole, self._not_there_then() | self._never_there(whole))
        self.shape = shape = met.shape
        self.left, self.notes = met.left, [*met.notes]
        self.there = target.catalog.exists()
        some = wish.undo is not None or wish.keys is not None or wish.where or wish.columns or wish.only
        self.into_nothing = not (self.there or some)
        self.wanted = self._open_wanted(shape)
        self.wanted.check_names([*wish.columns, *wish.where])
        # What a restore makes itself holds nothing else. Elsewhere a record that is wanted is found whatever it holds now.
        self.theirs = target.reader(shape, content=True, stamps=False, filtered="ranges" if self.there else "none")
        left = set(map(without_case, self.left))
        if lost := [one.column for one in self.service.conditions if without_case(one.column) in left]:
            self.notes.append(
                f"'where' goes by {', '.join(dict.fromkeys(lost))}, which is not restored: what is inserted may be no record of the service's there"
            )
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

    def _check_delete(self) -> None:
        """Raise ConfigurationError where records would be removed because a state lacks them that it was never to have."""
        if self.wish.delete and not pairing.where_held(self.backup, self.backup.journal.states(), self.wish.number):
            raise ConfigurationError(
                f"{self.service.name}: that state was made with another 'where', so what the target has beyond it may never have "
                "been backed up; restore without delete, or a state that a run has left since"
            )

    def _never_there(self, shape: Any) -> set[str]:
        """Columns (folded) that the backup has masked, whatever the services file says now."""
        return {shape.fold(name) for name in pairing.masked(self.backup.journal.states())}

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
        emptied = kept.emptied or unfinished.STATE in states  # by a run, or by a restore that died
        if not emptied and self.backup.reader(self.backup.catalog.describe()).empty():
            raise ConfigurationError(
                f"{self.service.name}: the backup is empty, and no run that ended left it so: its earlier states cannot be rebuilt. If "
                "somebody emptied it, bring its own database back first; if it was never filled, run backup_sync"
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
        planned.notes += [f"{what} of the target may do more" for what in self.check_obstacles(planned)]
        return planned

    def check_obstacles(self, planned: Planned) -> list[str]:
        """What of the target may change more than a plan says, in words. Raises FatalError where that was not accepted."""
        if not (self.there and planned.counts.total()):
            return []
        risky = [what for what in self.target.catalog.obstacles() if planned.counts[EXTRA] or "trigger" in what]
        if risky and not self.wish.accept_obstacles:
            raise FatalError(
                f"{self.target.label}: the target has {' and '.join(risky)}, which may change more than the plan says; remove them, "
                "or restore with accept_obstacles=true"
            )
        return risky

    def find(self) -> tuple[Planned, KeySpool]:
        planned = Planned(number=self.wish.number, notes=list(self.notes))
        chosen = KeySpool(self.file, "chosen")
        total = outside = 0
        for found in self._found():
            self.check()
            rows = []
            for key, kind, names, mark in found:
                if not self.asked_for(kind, names):
                    continue
                if kind == EXTRA and not (self.wish.delete or self.wish.undo is not None):
                    planned.staying += 1
                    continue
                planned.add(kind, key, [name for name in names if not self.wish.columns or name in self.wish.columns])
                rows.append((kind, *key))
                total += mark
            chosen.extend(rows)
            changed = [key for kind, *key in rows if kind == CHANGED]
            outside += len(changed) - len(self.own(list(map(tuple, changed))))
        if outside:
            planned.notes.append(
                f"{outside} of the changed records no longer match 'where' in the target; the restore takes them back"
            )
        told = repr((self.service.name, place_of(self.target), self.wish, total % 2**256))
        # With a letter in front, so that nobody takes it for a number.
        planned.id = "p" + hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return planned, chosen

    def _found(self) -> Iterator[Iterable[Differing]]:
        if self.into_nothing:
            yield from batches(self._all(), self.limits.pending_keys)
            return
        # All of them first: a store does one thing at a time.
        candidates = KeySpool(self.file, "candidates")
        for keys in self._candidates():
            self.check()
            candidates.extend(keys)
        for keys in candidates.batches(self.limits.asked_keys):
            yield self.differing(keys)

    def _all(self) -> Iterator[Differing]:
        for bundles in self.wanted.pairs(None):
            for pair in self.wanted.codec.open(set(bundles)):
                key, content = self.wanted.codec.split(pair)
                yield key, MISSING, [], _number((key, content))

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
            yield from self.compared()

    def compared(self) -> Iterator[Sequence[Key]]:
        finder = Finder(
            self.wanted,
            self.theirs,
            (WHOLE,),
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

    def differing(self, keys: Sequence[Key]) -> Iterator[Differing]:
        asked = set[Key]()
        ours = self.prints(self.wanted, keys, asked)
        theirs = self.prints(self.theirs, keys) if self.there else {}
        if self.wish.where and self.there:
            # What is not there any more was asked for if it is so in the target.
            asked |= self._asked_there([key for key in keys if key not in ours])
        names = self._names([key for key in keys if key in ours and key in theirs and ours[key] != theirs[key]])
        lone = [key for key in keys if key in theirs and key not in ours]
        # What a restore inserted goes when that is undone, whatever has become of it.
        own = set(lone) if self.wish.undo is not None else self.own(lone)
        for key in keys:
            mine, other = ours.get(key), theirs.get(key)
            if mine == other or (self.wish.where and key not in asked):
                continue
            if mine is None and key not in own:
                continue
            kind = EXTRA if mine is None else MISSING if other is None else CHANGED
            if kind == CHANGED and not names.get(key):
                continue  # it changed, and back, while we looked
            yield key, kind, names.get(key, []), _number((kind, key, mine, other))

    def own(self, keys: Sequence[Key]) -> Collection[Key]:
        """Those of the keys in the target whose records are the service's: all, unless it has a ``where``."""
        return self.theirs.present(keys) if keys and self.service.where else keys

    def prints(self, reader: Reader, keys: Iterable[Key], asked: set[Key] | None = None) -> dict[Key, int]:
        """For each key that there is a record of, a number that stands for it. ``asked``: those that are asked for are put in."""
        wanted = list(keys)
        found, known = {}, set(wanted)
        for records in reader.records_of(wanted):
            for record in records:
                if (key := reader.key_of(record)) in known:
                    found[key] = reader.print_of(record)
                    if asked is not None and self._matches(reader, record):
                        asked.add(key)
        return found

    def _asked_there(self, keys: Sequence[Key]) -> set[Key]:
        asked = set[Key]()
        self.prints(self.theirs, keys, asked)
        return asked

    def _names(self, keys: Sequence[Key]) -> dict[Key, list[str]]:
        """What differs in records that both sides have."""
        ours, theirs = self._parts(self.wanted, keys), self._parts(self.theirs, keys)
        return {
            key: [name for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]
            for key, one in ours.items()
            if (two := theirs.get(key)) is not None
        }

    def _parts(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, dict[str, int]]:
        """For each key that there is a record of, a number for each part of it."""
        known = set(keys)
        return {
            key: reader.parts_of(record)
            for records in (reader.records_of(keys) if keys else ())
            for record in records
            if (key := reader.key_of(record)) in known
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


def _number(told: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(told).encode("utf-8", "backslashreplace")).digest(), "big")

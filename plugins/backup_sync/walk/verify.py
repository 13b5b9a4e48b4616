"""Compare the whole content of a backup with its source, byte for byte, and write nothing.

The databases digest whole records and only what differs is looked into, as in any other comparison (``find.py``). Both ends
may be in use meanwhile, so a difference counts only if it is still there after a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.diff import AHEAD, CHANGED, WHOLE, Key, Stamp, compare
from backup_sync.model.errors import DriftFound
from backup_sync.model.faults import point
from backup_sync.model.moments import utc_now
from backup_sync.model.result import PAIRING_CHECKED, SyncResult
from backup_sync.model.verdicts import BY_SEAL, DRIFT, EXTRA, LAG, MISSING, STATE, VERDICTS, Rolling, Verified
from backup_sync.stores.base import Reader, Store, batches
from backup_sync.walk import hold, pairing, seal
from backup_sync.walk import stop as stopping
from backup_sync.walk.find import Finder
from backup_sync.walk.progress import Heard, Progress
from backup_sync.walk.spool import KeySpool, private_file

log = logging.getLogger(__name__)

Print = tuple[Stamp, dict[str, int]]
"""What a record is known by: its stamp, and a number for each part of it."""


def verify(
    source: Store,
    backup: Store,
    result: SyncResult,
    *,
    of: int = 1,
    stop: threading.Event | None = None,
    heard: Heard | None = None,
) -> None:
    """Compare one of ``of`` shares of the backup with its source; ``result`` is filled in, and Completed on return.

    Takes no lock, so that no run waits for it; what it found goes into the backup's states, unless the backup is held.
    Raises DriftFound, PairingRefused, and ConfigurationError or FatalError where the two ends do not fit.
    """
    result.mode = "verified" if of == 1 else f"verified 1/{of}"

    def check() -> None:
        stopping.check(stop, backup.service.name)

    states = pairing.states_of(backup)
    shape = source.catalog.describe()
    backup.catalog.check_fit(shape)
    pairing.check(source, backup, states)
    result.pairing = PAIRING_CHECKED
    if found := hold.of(states):
        result.note(f"the backup is {found.words()}; what was verified is not remembered")
    left = None if found else seal.left_by(backup)
    check_share(
        source,
        backup,
        shape,
        result,
        of=of,
        check=check,
        remember=not found,
        number=left[0] if left else None,
        unchanged=lambda: seal.left_by(backup) == left,
        heard=heard,
    )
    result.complete()


def verify_seal(backup: Store, result: SyncResult, *, stop: threading.Event | None = None) -> None:
    """Find out whether somebody changed the backup or its history of records; the source is not asked.

    Raises DriftFound if so. ``result`` is filled in, and Completed on return.
    """
    result.mode = BY_SEAL
    states = pairing.check_ours(backup)
    result.pairing = PAIRING_CHECKED
    found = Verified()
    seal.check(backup, states, found, lambda: stopping.check(stop, backup.service.name))
    result.verified = found.to_value()
    if not found.sealed:
        result.note("there is no seal that could be checked: a run with 'verify' makes one, and so does backup_verify")
    if found.touched:
        raise DriftFound(
            f"{backup.service.name}: {found.touched} of {found.sealed} sealed ranges of the backup are not as a run left them: "
            "somebody else changed the backup or its history of records. Compare it with the source: run backup_verify"
        )
    result.complete()


def check_share(
    source: Store,
    backup: Store,
    shape: Any,
    result: SyncResult,
    *,
    of: int,
    check: Callable[[], None],
    remember: bool = True,
    number: int | None,
    unchanged: Callable[[], bool] | None = None,
    heard: Heard | None = None,
) -> None:
    """Compare the next share, and remember which it was. Raises DriftFound.

    ``shape``: the source's. ``check``: raises once the task has to end. ``number``: of the run that left the backup as it is, so
    that the share can be sealed; None: that is not known. ``unchanged``: whether it still is; None: this is that run, and it holds the lock.
    """
    states = backup.journal.states()
    rolling = Rolling.from_value(states.get(STATE), of)
    verifier = Verifier(source, backup, shape, result, check, heard)
    within, upto = verifier.theirs.portion(rolling.position, rolling.part)
    found = verifier.compare(within)
    result.verified, result.drift = found.to_value(), found.counts[DRIFT]
    told(backup.service.name, found)
    point("after verify")
    # What a sync has just left alone or written is right but for drift; later on, what is missing may have been removed.
    good = not found.counts[DRIFT] and (unchanged is None or not (found.counts[MISSING] or found.counts[EXTRA]))
    if remember and good and number is not None:
        seal.place(backup, number, len(rolling.times), of, rolling.position, upto, unchanged)
    now = rolling.after(found.counts[DRIFT], upto, utc_now())
    result.verified_share, result.verified_since = now.share, now.since
    if now.drift and not result.drift:
        result.verified["Left"] = now.drift
        result.note(
            f"{now.drift} records drifted before, and this comparison was of others: only one of all records can say that they no longer "
            "do; run backup_verify"
        )
    if remember:
        backup.journal.keep_state(STATE, now.to_value())
    if result.drift:
        fields = ", ".join(f"{name} {count}" for name, count in found.fields.most_common(10))
        raise DriftFound(
            f"{backup.service.name}: {result.drift} records of the backup differ from the source in what no sync compares ({fields}). "
            f"To mend them, run backup_verify with repair=true"
        )


def mended(backup: Store, result: SyncResult) -> None:
    """A run has compared all of the content, and written what differed; it still holds the lock."""
    seal.place(backup, result.run_number, 0, 1, None, None, None)
    now = Rolling(1).after(0, None, utc_now())
    result.verified_share, result.verified_since = now.share, now.since
    backup.journal.keep_state(STATE, now.to_value())


def told(service: str, found: Verified) -> None:
    """Say in the log what was found, with the keys of some records and no values."""
    counts = ", ".join(f"{found.counts[verdict]} {verdict}" for verdict in VERDICTS)
    log.info("%s: compared the whole content of %d records: %s", service, found.records, counts)
    for verdict, keys in found.keys.items():
        log.info("%s: %s: %s%s", service, verdict, keys, " …" * (len(keys) < found.counts[verdict]))


class Verifier:
    """Compares ranges of a backup with its source. ``shape``: the source's. ``check``: raises once the task has to end."""

    def __init__(
        self,
        source: Store,
        backup: Store,
        shape: Any,
        result: SyncResult,
        check: Callable[[], None],
        heard: Heard | None = None,
    ) -> None:
        self.service, self.limits, self.check = backup.service, source.limits, check
        self.ours, self.theirs = source.reader(shape, content=True), backup.reader(shape, content=True)
        self._unfilled = set(backup.unfilled.pending(shape)) if backup.unfilled else set[str]()
        self._finder = Finder(
            self.ours,
            self.theirs,
            (*self.service.rules, WHOLE),
            force=False,
            written=lambda _: frozenset(),
            progress=Progress(result, heard=heard),
            check=check,
            limits=self.limits,
        )

    def compare(self, within: Any) -> Verified:
        found = Verified()
        cut = self.theirs.readable(self.ours.cut(within, self.limits.range_records))
        with closing(private_file()) as file:
            differing, again = KeySpool(file, "differing"), KeySpool(file, "again")
            for one in self._finder.find(cut):
                found.records += one.source
                for keys in self._finder.differing(one):
                    differing.extend(keys)
            for keys in differing.batches(self.limits.pending_keys):
                unsettled = []
                for key, verdict, names in self._look(keys):
                    if verdict == LAG:
                        found.add(verdict, key, names)
                    else:
                        unsettled.append((verdict, *key))
                again.extend(unsettled)
            if len(again):
                self._pause(self.service.verify_again_seconds)
            for rows in again.batches(self.limits.pending_keys):
                before = {row[1:]: row[0] for row in rows}
                for key, verdict, names in self._look(list(before)):
                    # Drift only if it was drift both times: otherwise a run or the application was at work.
                    lags = verdict == DRIFT != before[key]
                    found.add(LAG if lags else verdict, key, names)
        return found

    def _look(self, keys: Sequence[Key]) -> Iterator[tuple[Key, str, list[str]]]:
        """(key, verdict, names of what differs) of those of the keys whose records differ now."""
        self.check()
        theirs = self._prints(self.theirs, keys)
        ours = self._prints(self.ours, list(theirs))
        lone = [key for key in keys if key not in theirs]
        there = {key for some in batches(lone, self.limits.asked_keys) for key in self.ours.present(some)}
        for key in keys:
            if key not in theirs:
                if key in there:
                    yield key, MISSING, []
            elif key not in ours:
                yield key, EXTRA, []
            elif names := _differing(ours[key], theirs[key]):
                # Where syncs compare whole records, the next one mends whatever differs.
                lags = self.service.by_content or (
                    compare(ours[key][0], theirs[key][0], self.service.rules) in (CHANGED, AHEAD)
                )
                yield key, LAG if lags or self._unfilled.issuperset(names) else DRIFT, names

    @staticmethod
    def _prints(reader: Reader, keys: Sequence[Key]) -> dict[Key, Print]:
        wanted = set(keys)
        return {
            key: (reader.stamp_of(record), reader.parts_of(record))
            for records in reader.records_of(keys)
            for record in records
            if (key := reader.key_of(record)) in wanted
        }

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.5))


def _differing(one: Print, other: Print) -> list[str]:
    names = dict.fromkeys([*one[1], *other[1]])
    return [name for name in names if one[1].get(name) != other[1].get(name)]

"""What a comparison found, gathered until all of it is known: only then is it judged, and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backup_sync.model.diff import Changes
from backup_sync.walk.find import Found
from backup_sync.walk.spool import KeySpool, private_file


@dataclass(frozen=True)
class Missing:
    """A range of which the target holds nothing, and how many records the source was seen to hold there."""

    within: Any
    records: int


@dataclass(frozen=True)
class Reread:
    """A range so much of which changed that reading all of it is cheaper than asking for keys; where its changes lie in
    the plan's ``reread``."""

    within: Any
    start: int
    count: int


class Plan:
    """Keys lie in a private file, so that its memory does not grow with their number.

    ``reread_share``: see :class:`backup_sync.stores.base.Reader`. ``missing``: ranges of which the target holds nothing.
    ``changed`` and ``reread`` hold rows of (1 for an update or 0 for an insert, key …). ``skipped`` are the same on both
    sides; ``filled``: updates that only fill in a new column; ``source_records`` and ``target_records``: what each side
    holds.
    """

    def __init__(self, reread_share: float) -> None:
        self._file = private_file()
        self._reread_share = reread_share
        self.missing: list[Missing] = []
        self.reread_ranges: list[Reread] = []
        self.changed, self.reread, self.ahead, self.deletes = (
            KeySpool(self._file, name) for name in ("changed", "reread", "ahead", "deletes")
        )
        self.inserts = self.updates = self.filled = self.skipped = 0
        self.source_records = self.target_records = 0

    def close(self) -> None:
        self._file.close()

    def add(self, found: Found) -> None:
        self.source_records += found.source
        self.target_records += found.target
        if found.changes is None:
            self.missing.append(Missing(found.within, found.source))
            self.inserts += found.source
            return
        self.skipped += found.changes.skipped
        self.inserts += len(found.changes.inserts)
        self.updates += len(found.changes.updates)
        self.filled += found.changes.filled
        self.ahead.extend(found.changes.ahead)
        self.deletes.extend(found.changes.deletes)
        self._keep(found.within, found.changes, found.source)

    def _keep(self, within: Any, changes: Changes, seen: int) -> None:
        """Set aside what changed in a range of ``seen`` records."""
        changed = [*((0, *key) for key in changes.inserts), *((1, *key) for key in changes.updates)]
        if within is not None and changed and len(changed) >= self._reread_share * seen:
            self.reread_ranges.append(Reread(within, len(self.reread), len(changed)))
            self.reread.extend(changed)
        else:
            self.changed.extend(changed)

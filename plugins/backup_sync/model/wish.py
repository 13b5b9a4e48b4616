"""What a person wants to have restored, and what that would write: plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.verdicts import SAMPLES

MISSING, CHANGED, EXTRA = "missing", "changed", "extra"
"""What sets the target apart from what is to be restored: it lacks a record, has it otherwise, or has one more."""
KINDS = (MISSING, CHANGED, EXTRA)
OPERATION = {MISSING: "I", CHANGED: "U", EXTRA: "D"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be restored.

    ``number``: the state at the end of this run; None: as the backup is now. ``undo``: in place of that, what the target held
    before the restore of this number. ``keys``: only these, each as a person writes it. ``where``: only records with these
    values. ``columns``: only these columns (or outermost properties) of records that are there. ``only``: one of KINDS.
    ``delete``: remove records that the target has beyond that state. ``accept_obstacles``: write though triggers or foreign
    keys of the target may do more.
    """

    number: int | None = None
    undo: int | None = None
    keys: Sequence[Sequence[Any]] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = ()
    only: str | None = None
    delete: bool = False
    accept_obstacles: bool = False


@dataclass
class Planned:
    """``id``: changes with anything that would be written. ``counts``, ``keys``: of KINDS that would be written. ``staying``: records
    beyond that state that would stay. ``fields``: in how many records each column differs. ``notes``: what cannot be restored,
    and what would be made first."""

    id: str = ""
    number: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[list[Any]]] = field(default_factory=dict)
    staying: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, key: Key, names: Sequence[str]) -> None:
        self.counts[kind] += 1
        keys = self.keys.setdefault(kind, [])
        if len(keys) < SAMPLES:
            keys.append([part.hex() if isinstance(part, bytes) else part for part in key])
        self.fields.update(names)

    def to_value(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = {"Plan": self.id, "AsOf": self.number, "Staying": self.staying, "Notes": self.notes}
        for kind in KINDS:
            found[kind.capitalize()] = {"Count": self.counts[kind], "Keys": self.keys.get(kind, [])}
        found["Fields"] = dict(self.fields.most_common())
        return found

    def words(self) -> str:
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS)
        fields = ", ".join(f"{name} {count}" for name, count in self.fields.most_common(10))
        staying = f"; {self.staying} beyond it stay" if self.staying else ""
        return f"{counts}{f' ({fields})' if fields else ''}{staying}"

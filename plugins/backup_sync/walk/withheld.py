"""What the guard withheld is remembered in the backup, until the records are back or somebody allows it.

Without that an accident goes through unasked on a later night: the backup grows by its ordinary inserts, and the same
deletes are a smaller share of it.

What is kept is a *bottom-k sketch* of the keys: of all their hashes the ``MOST`` lowest (A. Broder, "On the resemblance
and containment of documents", 1997). Up to that many keys it is exact; beyond, it is a sample that any part of the keys
has its share in. The hashes stand in the backup, beside the keys themselves and leave it nowhere.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from backup_sync.model.diff import Key

STATE = "withheld"
"""Its name among the backup's states."""

MOST = 4_000
SAMPLES = 10
"""Keys that a person is shown who is asked."""


@dataclass(frozen=True)
class Withheld:
    """Hashes of the keys whose deletes, and whose setting back, were withheld, since the run called ``since``."""

    since: str = ""
    deletes: frozenset[str] = frozenset()
    ahead: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.deletes or self.ahead)

    def to_value(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"since": self.since, "deletes": sorted(self.deletes), "ahead": sorted(self.ahead)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any] | None) -> Withheld:
        if not value:
            return cls()
        return cls(value["since"], frozenset(value["deletes"]), frozenset(value["ahead"]))


def sketch(keys: Iterable[Key]) -> frozenset[str]:
    """The hashes by which these keys are known again."""
    return frozenset(heapq.nsmallest(MOST, map(_hash, keys)))


def known(keys: Iterable[Key], hashes: frozenset[str]) -> int:
    """How many of these keys a sketch holds."""
    return sum(_hash(key) in hashes for key in keys) if hashes else 0


def question(keys: Sequence[Key], deletes: int, of: int) -> dict[str, Any]:
    """JSON-ready: how many deletes are withheld, ``of`` how many records, and the keys of some."""
    shown = [[part.hex() if isinstance(part, bytes) else part for part in key] for key in keys[:SAMPLES]]
    return {"Deletes": deletes, "Of": of, "Keys": shown}


def _hash(key: Key) -> str:
    # 2 and 2.0 are one key to a comparison, so they have to be one here.
    same = tuple(int(part) if isinstance(part, float) and part.is_integer() else part for part in key)
    return sha256(repr(same).encode("utf-8", "surrogatepass")).hexdigest()[:16]

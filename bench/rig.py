"""What is measured on: a source and a backup of one kind, with the means to fill, change and compare them.

The parent process seeds and changes; every measured action runs in a child (bench/child.py) so that its peak memory
is its own. Both build the same rig from the same description.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, ClassVar

from backup_sync.model.service import Service, parse_service
from backup_sync.stores.base import Store


class Rig(ABC):
    """``n``: records in the source. Changes are 1 % updates, ½ % inserts and ½ % deletes."""

    name: str
    settings: ClassVar[dict[str, Any]]

    def __init__(self, n: int) -> None:
        self.n = n
        self.next_id = n + 1
        self.own_settings: dict[str, Any] = {}

    @property
    def service(self) -> Service:
        entry = {"source": "source", "backup": "backup", **self.settings, **self.own_settings}
        return parse_service("bench", entry, where="bench")

    @abstractmethod
    def stores(self) -> tuple[Store, Store]: ...

    def beside(self) -> Rig:
        """The same with another table, or container, in the source's place."""
        other = copy(self)
        other.own_settings = {**self.own_settings, "table": "customer.Restored"}
        return other

    @abstractmethod
    def seed(self) -> None: ...

    @abstractmethod
    def reset_backup(self) -> None: ...

    @abstractmethod
    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None: ...

    @abstractmethod
    def equal(self) -> bool:
        """Full content of both sides, read by the bare driver."""

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        """Name → preparation that returns the action to measure."""
        return {}

    @abstractmethod
    def read_all(self) -> None:
        """Read every whole record of the source once, a thousand or so at a time, by the bare driver."""

    def bodies(self) -> int:
        """How many whole records the source has given out so far, for sources that count them."""
        return 0

    @abstractmethod
    def baseline(self) -> tuple[int, int, int]:
        """The plain way (bench/baseline.py) on this rig; (inserted, updated, deleted)."""

    def changes(self, spread: str) -> tuple[int, int, int]:
        """Make the changes of a workload in the source; (inserts, updates, deletes) to expect."""
        ids = self.ids()
        few = max(1, self.n // 200)
        if spread == "uniform":
            step = len(ids) // (3 * few)
            chosen = ids[step // 2 :: step][: 3 * few]
        else:
            chosen = ids[-3 * few :]
        deleted = chosen[::3]
        updated = [key for key in chosen if key not in set(deleted)]
        new = range(self.next_id, self.next_id + few)
        self.next_id += few
        self.change(updated, new, deleted)
        return few, len(updated), len(deleted)

    @abstractmethod
    def ids(self) -> list[int]: ...


def in_threads(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

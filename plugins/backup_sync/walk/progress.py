"""A line in the log every few seconds, so that a long run shows that it is alive."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from backup_sync.model.result import SyncResult

log = logging.getLogger(__name__)


Heard = Callable[[Mapping[str, Any]], None]
"""Is told how far a run is, JSON-ready: ``{"Done": records, "Total": records or None, "Rate": records a second, "SecondsLeft": … or None}``."""


class Progress:
    """Reports records compared, what was written, the rate, and (once the total is known) the time left.

    ``heard``: is told as well, as often as the log."""

    def __init__(self, run: SyncResult, every_seconds: float = 5.0, *, heard: Heard | None = None) -> None:
        self._heard = heard
        self.total: int | None = None
        self.done = 0
        self._run = run
        self._every = every_seconds
        self._start = self._last = time.monotonic()

    def advance(self, records: int) -> None:
        self.done += records
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._line(now)

    def _line(self, now: float) -> None:
        rate = self.done / max(now - self._start, 1e-9)
        total, left, seconds = "", "", None
        if self.total and self.done < self.total:
            total = f" of {self.total:,}"
            seconds = round((self.total - self.done) / max(rate, 1e-9))
            left = f", about {seconds} s left"
        log.info(
            "%s: %s%s records done, %s/s%s. Inserted: %d, Updated: %d, Deleted: %d",
            self._run.service_name,
            f"{self.done:,}",
            total,
            f"{rate:,.0f}",
            left,
            self._run.inserted,
            self._run.updated,
            self._run.deleted,
        )
        if self._heard is not None:
            self._heard({"Done": self.done, "Total": self.total, "Rate": round(rate), "SecondsLeft": seconds})

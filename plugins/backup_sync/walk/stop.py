"""Whether the task was asked to end."""

from __future__ import annotations

import threading

from backup_sync.model.errors import Stopped


def check(stop: threading.Event | None, service: str) -> None:
    """Raise Stopped once ``stop`` is set."""
    if stop is not None and stop.is_set():
        raise Stopped(f"{service}: the task was told to end; what was written until then stays, and is counted")

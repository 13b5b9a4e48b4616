"""Under which names a task leaves what it did, for the tasks behind it and for the console."""

from __future__ import annotations

FAILURE = "failure"
"""XCom key: the result of a task that did not succeed. That of one that did is what it returns."""

PROGRESS = "progress"
"""XCom key: how far a task is that is at work."""


def alias_of(service: str) -> str:
    """The asset alias of a service's syncs."""
    return f"backup_sync.{service}"


def drill_of(service: str) -> str:
    """The asset of a service's drills."""
    return f"backup_sync.drill.{service}"

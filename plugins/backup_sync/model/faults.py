"""Where a run may be stopped on purpose, by the tests and by nobody else.

That a run may die between any two of its steps is a promise (docs/reliability.md), and a promise is worth what its
tests can break: they have to be able to stop a run exactly there, from inside. So the engine names its boundaries by
:func:`point`, which does nothing unless a test has installed something. No setting, parameter or environment variable
reaches this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_installed: Callable[[str], None] | None = None


def point(name: str) -> None:
    """The engine is at a boundary: what stands before is done, what comes after has not begun."""
    if _installed is not None:
        _installed(name)


@contextmanager
def installed(action: Callable[[str], None]) -> Iterator[None]:
    """Have ``action`` called with the name of each boundary; it may raise, wait, or end the process."""
    global _installed
    before, _installed = _installed, action
    try:
        yield
    finally:
        _installed = before

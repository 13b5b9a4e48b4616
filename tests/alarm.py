"""What Airflow does to a task whose ``execution_timeout`` is over: an alarm whose handler raises."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TimeIsUp(BaseException):
    """As Airflow's own, no Exception."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the main thread after so many seconds, unless the block has ended."""

    def ring(*_: Any) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

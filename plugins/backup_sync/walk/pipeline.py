"""Two small ways of keeping both databases busy: ask two at once, and read ahead of the writer.

What a caller may rely on:

* As long as nothing is raised, whatever was begun in another thread has ended when the call returns.
* After an error or an early close the other thread gets a few seconds to end, and no longer. A store may hang in a driver, and an
  error or a time-out is to end the run all the same. What is left behind is a daemon, for which not even the end of the
  process waits. Whatever it uses is to be closed by the caller and has to bear that: a store that is closed refuses to go
  on, so the thread ends when the call that it hangs in returns.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
_END = object()

GRACE_SECONDS = 2.0
"""How long a thread that is not wanted any more is waited for."""


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Run ``second`` in another thread beside ``first``; return both results, or raise what either raised.

    If both raise, it is what ``first`` did.
    """
    # No pool of concurrent.futures: the end of the process waits for its threads, whatever they hang in.
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((second(), None))
        except BaseException as error:
            outcome.put((None, error))

    thread = threading.Thread(target=run, name="backup_sync-beside", daemon=True)
    thread.start()
    try:
        result = first()
        other, error = outcome.get()
    finally:
        thread.join(GRACE_SECONDS)
    if error is None:
        return result, other
    try:
        raise error
    finally:
        del error  # it holds this frame, which would hold it


def read_ahead(items: Iterator[A], depth: int = 1) -> Generator[A, None, None]:
    """Yield what ``items`` yields, fetched by a thread that is up to ``depth`` items ahead.

    Closing the generator early (or an error in its consumer) stops the thread before this returns, so that nobody
    else uses the store behind ``items`` while it still reads; unless it hangs in there.
    """
    ready: queue.Queue[tuple[object, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[object, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=fetch, name="backup_sync-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join(GRACE_SECONDS)

"""Two small ways of keeping both databases busy: ask two at once, and read ahead of the writer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
_END = object()


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Run ``second`` in a thread of its own beside ``first``; return both results, or raise what either raised."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(second)
        result = first()
        return result, other.result()


def read_ahead(items: Iterator[A], depth: int = 1) -> Generator[A, None, None]:
    """Yield what ``items`` yields, fetched by a thread that is up to ``depth`` items ahead.

    Closing the generator early (or an error in its consumer) stops the thread before this returns, so that nobody
    else uses the store behind ``items`` while it still reads.
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
        thread.join()

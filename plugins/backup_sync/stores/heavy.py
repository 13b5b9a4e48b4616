"""Pages and batches of records that may be heavy: bounded by what they weigh, and not by their number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

R = TypeVar("R")
Row = tuple[Any, ...]

FIRST_ROWS = 64
PAGE_WEIGHT = 4_000_000
BATCH_WEIGHT = 16_000_000
"""Characters and bytes of a page and of a batch, about; three batches are in memory at once."""


def held_by_row(row: Row) -> int:
    """Characters and bytes that a row holds."""
    return sum(len(value) for value in row if isinstance(value, (str, bytes)))


def weight(records: Sequence[R], held: Callable[[R], int]) -> float:
    """What these records hold, judged by every sixteenth of them."""
    some = records[::16]
    return sum(map(held, some)) * len(records) / max(1, len(some))


def fitting(records: Sequence[R], most: int, limit: float, held: Callable[[R], int]) -> int:
    """How many records like these hold no more than ``limit``; at least 1, and at most ``most``."""
    return max(1, min(most, int(limit * len(records) / max(1.0, weight(records, held)))))


def pages(fetch: Callable[[int], list[Row]], most: int) -> Iterator[list[Row]]:
    """What ``fetch`` gives out, up to ``most`` rows at a time: fewer where those of the page before were heavy."""
    size = min(FIRST_ROWS, most)
    while rows := fetch(size):
        yield rows
        size = fitting(rows, most, PAGE_WEIGHT, held_by_row)


def batches(found: Iterable[Sequence[R]], most: int, held: Callable[[R], int]) -> Iterator[list[R]]:
    """Pages put together to ``most`` records or a little more, or to ``BATCH_WEIGHT``."""
    batch: list[R] = []
    heavy = 0.0
    for records in found:
        batch += records
        heavy += weight(records, held)
        if len(batch) >= most or heavy >= BATCH_WEIGHT:
            yield batch
            batch, heavy = [], 0.0
    if batch:
        yield batch

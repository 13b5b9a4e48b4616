"""Pages and batches of records that may be heavy: bounded by what they weigh, and not by their number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

R = TypeVar("R")
Row = tuple[Any, ...]

FIRST_ROWS = 64
GROWTH = 4
"""A page has no more than so many times the records of the one before: that one may have been light by chance."""
PAGE_WEIGHT = 4_000_000
BATCH_WEIGHT = 16_000_000
"""Characters and bytes of a page and of a batch, about; three batches are in memory at once."""


def held_by_row(row: Row) -> int:
    """Characters and bytes that a row holds."""
    return sum(len(value) for value in row if isinstance(value, (str, bytes)))


def weight(records: Sequence[R], held: Callable[[R], int]) -> float:
    """What these records hold; judged by every sixteenth of them where they are more than a first page."""
    some = records if len(records) <= FIRST_ROWS else records[::16]
    return sum(map(held, some)) * len(records) / max(1, len(some))


def next_size(size: int, page: Sequence[R], most: int, held: Callable[[R], int]) -> int:
    """How many records to ask for after ``size`` of them gave this page: at least 1, and at most ``most``."""
    if not page:
        return size
    fitting = int(PAGE_WEIGHT * len(page) / max(1.0, weight(page, held)))
    return max(1, min(fitting, GROWTH * size, most))


def pages(fetch: Callable[[int], list[Row]], most: int) -> Iterator[list[Row]]:
    """What ``fetch`` gives out, up to ``most`` rows at a time: fewer where those of the page before were heavy."""
    size = min(FIRST_ROWS, most)
    while rows := fetch(size):
        yield rows
        size = next_size(size, rows, most, held_by_row)


def batches(found: Iterable[Sequence[R]], most: int, held: Callable[[R], int]) -> Iterator[list[R]]:
    """Pages put together, or cut, to ``most`` records; fewer where they reach ``BATCH_WEIGHT``."""
    batch: list[R] = []
    heavy = 0.0
    for records in found:
        each = weight(records, held) / max(1, len(records))
        rest = records
        while rest:
            room = most - len(batch)
            taken, rest = rest[:room], rest[room:]
            batch += taken
            heavy += each * len(taken)
            if len(batch) >= most or heavy >= BATCH_WEIGHT:
                yield batch
                batch, heavy = [], 0.0
    if batch:
        yield batch

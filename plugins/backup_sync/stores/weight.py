"""Pages and batches of records that may be heavy: bounded by what they weigh, and not by their number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from backup_sync.model.limits import Limits

R = TypeVar("R")
Row = tuple[Any, ...]

SAMPLED = 64
"""Records of which each is weighed; of more, every sixteenth."""
GROWTH = 4
"""A page has no more than so many times the records of the one before: that one may have been light by chance."""


def weight_of_row(row: Row) -> int:
    """Characters and bytes that a row holds."""
    return sum(len(value) for value in row if isinstance(value, (str, bytes)))


def weight(records: Sequence[R], weigh: Callable[[R], int]) -> float:
    """What these records hold; estimated from a sample where they are many."""
    some = records if len(records) <= SAMPLED else records[::16]
    return sum(map(weigh, some)) * len(records) / max(1, len(some))


def next_size(size: int, page: Sequence[R], most: int, weigh: Callable[[R], int], limits: Limits) -> int:
    """How many records to ask for after ``size`` of them gave this page: at least 1, and at most ``most``."""
    if not page:
        return size
    fitting = int(limits.page_weight * len(page) / max(1.0, weight(page, weigh)))
    return max(1, min(fitting, GROWTH * size, most))


def pages(fetch: Callable[[int], list[Row]], most: int, limits: Limits) -> Iterator[list[Row]]:
    """What ``fetch`` gives out, up to ``most`` rows at a time: fewer where those of the page before were heavy."""
    size = min(limits.first_page, most)
    while rows := fetch(size):
        yield rows
        size = next_size(size, rows, most, weight_of_row, limits)


def batches(found: Iterable[Sequence[R]], most: int, weigh: Callable[[R], int], limits: Limits) -> Iterator[list[R]]:
    """Pages put together, or cut, to ``most`` records; fewer where they reach ``limits.batch_weight``."""
    batch: list[R] = []
    heavy = 0.0
    for records in found:
        each = weight(records, weigh) / max(1, len(records))
        rest = records
        while rest:
            room = most - len(batch)
            taken, rest = rest[:room], rest[room:]
            batch += taken
            heavy += each * len(taken)
            if len(batch) >= most or heavy >= limits.batch_weight:
                yield batch
                batch, heavy = [], 0.0
    if batch:
        yield batch

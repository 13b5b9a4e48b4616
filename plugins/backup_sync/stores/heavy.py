"""Pages and batches of rows that may be heavy: bounded by what they weigh, and not by their number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Row = tuple[Any, ...]

FIRST_ROWS = 64
PAGE_WEIGHT = 4_000_000
BATCH_WEIGHT = 16_000_000
"""Characters and bytes of a page and of a batch, about; three batches are in memory at once."""


def weight(rows: list[Row]) -> float:
    """Characters and bytes that these rows hold, judged by every sixteenth of them."""
    some = rows[::16]
    held = sum(len(value) for row in some for value in row if isinstance(value, (str, bytes)))
    return held * len(rows) / max(1, len(some))


def pages(fetch: Callable[[int], list[Row]], most: int) -> Iterator[list[Row]]:
    """What ``fetch`` gives out, up to ``most`` rows at a time: fewer where the rows of the page before were heavy."""
    size = min(FIRST_ROWS, most)
    while rows := fetch(size):
        yield rows
        size = max(1, min(most, int(PAGE_WEIGHT * len(rows) / max(1.0, weight(rows)))))


def batches(found: Iterable[list[Row]], most: int) -> Iterator[list[Row]]:
    """Pages put together to ``most`` rows or a little more, or to ``BATCH_WEIGHT``."""
    batch: list[Row] = []
    held = 0.0
    for rows in found:
        batch += rows
        held += weight(rows)
        if len(batch) >= most or held >= BATCH_WEIGHT:
            yield batch
            batch, held = [], 0.0
    if batch:
        yield batch

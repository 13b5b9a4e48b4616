"""Request charges: plausible numbers, so that budgets and meters have something to count. Not a price list."""

from __future__ import annotations


def read(size: int) -> float:
    """A point read: one request unit for each kilobyte begun."""
    return float(max(1, -(-size // 1024)))


def write(size: int, replaces: bool = False) -> float:
    """A write: some five units for each kilobyte begun, about twice that where an old version has to go."""
    kilobytes = max(1, -(-size // 1024))
    return round((10.3 if replaces else 5.7) * kilobytes, 2)


def query(documents: int, size: int) -> float:
    """A page of a query: a base charge, the documents scanned and the bytes returned."""
    return round(2.3 + 0.035 * documents + 0.45 * size / 1024, 2)


METADATA = 1.0
MISS = 1.0

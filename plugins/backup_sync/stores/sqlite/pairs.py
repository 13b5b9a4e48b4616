"""Some dozens of (key, stamp) pairs in one row, for whole-number keys.

The sqlite3 module hands Python's lock over at every row, so that two threads that read both sides row by row take three
to four times as long as one that reads one side. So SQLite puts the pairs of some neighbouring keys into a row, and
most rows are compared without being opened. JSON holds whole numbers and text as they are; values of another storage
class have to be read by themselves, and are counted so that this is seen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any

from backup_sync.stores.sql.store import summed

PACKED_KEYS = 32
"""Neighbouring whole numbers whose pairs come together: few, so that a change leaves most rows equal."""


def group_of(key: str) -> str:
    """The expression of the number that neighbouring keys share."""
    return f"{key} / {PACKED_KEYS}"


def packed_sql(table: str, values: Sequence[str], where: str) -> str:
    """Rows of (pairs, values that JSON would change, the keys' shared number, keys, stamps …); ``values``: key first."""
    odd = summed([f"SUM(typeof({value}) NOT IN ('integer', 'text', 'null'))" for value in values])
    # A blob is an error to JSON, wherever its row ends up.
    lists = [f"json_group_array(CASE typeof({value}) WHEN 'blob' THEN 0 ELSE {value} END)" for value in values]
    group = group_of(values[0])
    return f"SELECT COUNT(*), {odd}, {group}, {', '.join(lists)} FROM {table} WHERE {where} GROUP BY {group}"


def bundle(pairs: Sequence[tuple[Any, ...]]) -> tuple[int, None, tuple[Any, ...]]:
    """A row like those of :func:`packed_sql` for pairs that were read one by one."""
    return len(pairs), None, tuple(pairs)


def unpack(bundles: Collection[Any]) -> Iterator[Hashable]:
    for _, odd, pairs, *lists in bundles:
        yield from pairs if odd is None else zip(*map(json.loads, lists), strict=True)

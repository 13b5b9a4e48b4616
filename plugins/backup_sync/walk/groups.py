"""Pure: pieces of a cut sorted into groups by what their digests say has to be done to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Digests = Mapping[int, tuple[Any, ...]]
"""(count, …) by number of the piece."""


def count(digests: Digests, piece: int) -> int:
    """Records of a piece; one that is left out has none."""
    digest = digests.get(piece)
    return digest[0] if digest else 0


def groups(
    pieces: Sequence[int], source: Digests, target: Digests, *, most: int, gaps: bool
) -> Iterator[tuple[str, list[int]]]:
    """Runs of pieces that want the same treatment; those to be compared hold up to ``most`` records of a side.

    Yields (what to do, pieces): ``copy`` (the target has none), ``delete`` (the source has none), ``compare``, or
    ``cut`` (a single piece with too many records to compare at once).
    """
    kind, group, records = "", list[int](), 0
    for piece in pieces:
        here, there = count(source, piece), count(target, piece)
        size = max(here, there)
        wanted = "copy" if not there else "delete" if not here else "cut" if size > most else "compare"
        full = wanted == "cut" or (wanted == "compare" and records + size > most)
        if group and (wanted != kind or full or not (gaps or piece == group[-1] + 1)):
            yield kind, group
            group, records = [], 0
        kind, records = wanted, records + size
        group.append(piece)
    if group:
        yield kind, group

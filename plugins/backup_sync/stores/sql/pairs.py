"""(key, stamp) pairs, a row each: the plain form, which any key and any stamp can take."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Set
from typing import Any

from backup_sync.model.diff import Key, Stamp


class RowPairs:
    """See :class:`backup_sync.stores.base.PairCodec`. ``width``: key columns; a pair is the key's values, then the stamp's."""

    def __init__(self, width: int) -> None:
        self._width = width

    def count(self, bundles: Collection[Any]) -> int:
        return len(bundles)

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        return bundles

    def split(self, pair: Any) -> tuple[Key, Stamp]:
        return pair[: self._width], pair[self._width :]

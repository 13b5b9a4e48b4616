"""(key, stamp) pairs as pages bring them, a document each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Set
from typing import Any

from backup_sync.model.diff import Key, Stamp
from backup_sync.stores.cosmos.documents import key_text, problem_of, unbundled


class DocumentPairs:
    """See :class:`backup_sync.stores.base.PairCodec`.

    ``paths``: the container's partition key. ``reject``: called with the id of a document that cannot be copied,
    and why; such a document is no pair.
    """

    def __init__(self, paths: tuple[str, ...], reject: Callable[[Any, str], None]) -> None:
        self._paths, self._reject = paths, reject

    def count(self, bundles: Collection[Any]) -> int:
        return len(bundles)

    def open(self, bundles: Set[Any]) -> Set[Hashable]:
        found = set()
        for bundle in bundles:
            id_, values, stamp = unbundled(bundle, len(self._paths))
            if problem := problem_of(id_, values, self._paths):
                self._reject(id_, problem)
            else:
                found.add(((id_, key_text(values)), stamp))
        return found

    def split(self, pair: tuple[Key, Stamp]) -> tuple[Key, Stamp]:
        return pair

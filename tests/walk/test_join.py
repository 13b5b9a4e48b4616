from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_sync.model.errors import RetriableError
from backup_sync.walk.join import BUCKETS, Buckets, join

sides = st.dictionaries(st.tuples(st.integers(-50, 50) | st.text(max_size=2)), st.integers(0, 2), max_size=80)


class Side:
    """So much of a reader, and of its codec, as a join needs. A bundle is one pair, ``(key, stamp)``."""

    def __init__(self, content: dict[tuple[Any, ...], int], batch: int = 7) -> None:
        self.content, self.batch = list(content.items()), batch
        self.codec = self

    def pairs(self, within: Any) -> Iterator[list[Any]]:
        for start in range(0, len(self.content), self.batch):
            yield self.content[start : start + self.batch]

    def count(self, bundles: Any) -> int:
        return len(bundles)

    def open(self, bundles: set[Any]) -> set[Any]:
        return bundles

    def split(self, pair: Any) -> Any:
        return pair


@given(sides, sides, st.integers(0, 100), st.booleans())
def test_both_sides_come_out_whole_and_each_key_in_one_part(source, backup, most, force):
    parts = list(join(Side(source), Side(backup), None, most=most, force=force))
    alike = source.items() & backup.items()
    for side, name in ((source, "source"), (backup, "target")):
        told = [pair for part in parts for pair in getattr(part, name)]
        missing = sum(part.same for part in parts)
        assert len(told) + missing == len(side)
        assert side.items() - alike <= set(told) <= side.items()
        assert not force or not missing
    keys = [{key for key, _ in part.source | part.target} for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys)), "the two sides of a key came in different parts"


def test_what_memory_can_hold_comes_in_one_part_and_the_rest_in_many():
    content = {(number,): 1 for number in range(70)}
    assert [part.whole for part in join(Side(content), Side({}), None, most=70, force=True)] == [True]
    parts = list(join(Side(content), Side({}), None, most=69, force=True))
    assert (len(parts), any(part.whole for part in parts)) == (BUCKETS, False)
    assert max(len(part.source) for part in parts) <= 10


def test_a_join_that_is_left_early_closes_both_of_its_files(monkeypatch):
    closed = []
    close = Buckets.close

    def noted(self: Buckets) -> None:
        closed.append(self.used)
        close(self)

    monkeypatch.setattr(Buckets, "close", noted)
    parts = join(Side({(1,): 1}), Side({(2,): 1}), None, most=0, force=False)
    next(parts)
    assert closed == []
    parts.close()
    assert closed == [True, True]


def test_what_cannot_be_read_is_said_on_either_side():
    class Broken(Side):
        def pairs(self, within: Any) -> Iterator[list[Any]]:
            yield self.content
            raise OSError("gone")

    whole, broken = Side({(1,): 1}), Broken({(1,): 1})
    for ends in ((whole, broken), (broken, whole)):
        with pytest.raises(OSError, match="gone"):
            list(join(*ends, None, most=0, force=False))


def test_pairs_for_which_there_is_no_room_on_disk_may_find_it_later():
    buckets = Buckets()
    buckets.add([((1,), ((1,), 1))])
    with closing(buckets):
        assert buckets._db is not None
        buckets._db.execute("PRAGMA max_page_count = 8")
        with pytest.raises(RetriableError, match=r"temporary file .* \(database or disk is full\): free some space"):
            buckets.add([((number,), ((number,), "x" * 100)) for number in range(1_000)])


def test_buckets_that_nothing_was_put_into_open_no_file():
    buckets = Buckets()
    assert not buckets.used
    buckets.close()

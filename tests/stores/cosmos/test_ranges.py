"""How the hash space is cut: each document falls into one piece, and pieces are alike in size."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from azure.cosmos.partition_key import PartitionKey

from backup_sync.stores.cosmos.ranges import EpkRange, FeedCut, Span

HALF = "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"


def place(key: str) -> str:
    """Where the SDK believes a document of this key to lie."""
    found = PartitionKey("/a", version=2)._get_effective_partition_key_string([key])
    return str(found).upper()


def spans_of(cut: EpkRange) -> tuple[Span, ...]:
    return (("", "FF"),) if cut.spans is None else cut.spans


@pytest.mark.parametrize("halved", [False, True])
def test_each_key_lies_in_one_piece_and_pieces_hold_about_the_same(halved: bool) -> None:
    ranges = (("", HALF), (HALF, "FF")) if halved else (("", "FF"),)
    cut = FeedCut(ranges, 5)
    pieces = [spans_of(cut.select([number])) for number in range(len(cut))]
    held: Counter[int] = Counter()
    for number in range(2_000):
        epk = place(f"key-{number}")
        homes = [piece for piece, spans in enumerate(pieces) for low, high in spans if low <= epk < high]
        assert len(homes) == 1
        held[homes[0]] += 1
    assert all(300 < held[piece] < 500 for piece in range(5))


def test_a_piece_keeps_each_feed_range_busy() -> None:
    for number in range(3):
        spans = spans_of(FeedCut((("", HALF), (HALF, "FF")), 3).select([number]))
        assert any(high <= HALF for _, high in spans)
        assert any(low >= HALF for low, _ in spans)


def test_one_piece_is_asked_for_without_a_range_and_needs_no_slices() -> None:
    for ranges in ((("", "FF"),), (("", "1F"), ("1F", "FF"))):
        cut = FeedCut(ranges, 1)
        assert cut.select([0]).spans is None
        assert cut.slivers() == ()


def test_a_sliver_lies_in_each_feed_range_and_holds_next_to_nothing() -> None:
    slivers = FeedCut((("", HALF), (HALF, "FF")), 3).slivers()
    assert {low >= HALF for low, _ in slivers} == {False, True}
    assert not any(low <= place(f"key-{number}") < high for number in range(2_000) for low, high in slivers)


def bound(chance: random.Random) -> str:
    """A bound as one may come: of one to three levels, short, or with noughts at its end."""
    start = chance.choice("0123")
    digits = "".join(chance.choices("0123456789ABCDEF", k=chance.choice([1, 4, 12, 31, 63, 95])))
    return (start + digits)[:96] + "0" * chance.choice([0, 0, 2, 32])


def test_slices_cover_each_feed_range_exactly_and_in_order_whatever_the_width_of_the_bounds() -> None:
    for seed in range(500):
        chance = random.Random(seed)
        inner = sorted({bound(chance) for _ in range(chance.randrange(5))})
        ranges = tuple(pairwise(["", *inner, "FF"]))
        cut = FeedCut(ranges, chance.choice([2, 3, 7, 40]))
        slices = sorted(span for number in range(len(cut)) for span in spans_of(cut.select([number])))
        assert slices[0][0] == ""
        assert slices[-1][1] == "FF"
        assert all(low < high for low, high in slices)
        assert all(one[1] == other[0] for one, other in pairwise(slices)), "a gap or an overlap"
        assert {low for low, _ in ranges} <= {low for low, _ in slices}, "a slice that lies in two feed ranges"
        for low, high in ranges:
            own = [
                span for number in range(len(cut)) for span in spans_of(cut.select([number])) if low <= span[0] < high
            ]
            assert own == sorted(own)


def test_slices_of_a_hierarchical_container_are_alike_in_size() -> None:
    low, high = "1" * 32 + "0" * 32, "1" * 32 + "8" * 32
    cut = FeedCut((("", low), (low, high), (high, "FF")), 4)
    spans = [span for number in range(4) for span in spans_of(cut.select([number])) if low <= span[0] < high]
    widths = [int(end, 16) - int(start, 16) for start, end in spans]
    assert len(widths) == 4
    assert max(widths) - min(widths) <= 1


def test_a_piece_without_any_slice_asks_for_nothing_rather_than_for_everything() -> None:
    pieces = [FeedCut((("1", "10"),), 2).select([number]).spans for number in range(2)]
    assert sorted(pieces) == [(), (("1", "10"),)]

"""How the hash space is cut: each document falls into one piece, and pieces are alike in size."""

from __future__ import annotations

from collections import Counter

import pytest
from azure.cosmos.partition_key import PartitionKey

from backup_sync.stores.feed_ranges import FeedCut

HALVES = {1: "05C1DFFFFFFFFC", 2: "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"}


def place(key: str, version: int) -> str:
    """Where the SDK believes a document of this key to lie."""
    found = PartitionKey("/a", version=version)._get_effective_partition_key_string([key])
    return str(found).upper()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("halved", [False, True])
def test_each_key_lies_in_one_piece_and_pieces_hold_about_the_same(version: int, halved: bool) -> None:
    half = HALVES[version]
    ranges = (("", half), (half, "FF")) if halved else (("", "FF"),)
    cut = FeedCut(ranges, 5, version)
    pieces = [cut.select([number]).spans for number in range(len(cut))]
    held: Counter[int] = Counter()
    for number in range(2_000):
        epk = place(f"key-{number}", version)
        homes = [piece for piece, spans in enumerate(pieces) for low, high in spans if low <= epk < high]
        assert len(homes) == 1
        held[homes[0]] += 1
    assert all(300 < held[piece] < 500 for piece in range(5))


@pytest.mark.parametrize("version", [1, 2])
def test_a_piece_keeps_each_feed_range_busy(version: int) -> None:
    half = HALVES[version]
    for number in range(3):
        spans = FeedCut((("", half), (half, "FF")), 3, version).select([number]).spans
        assert any(high <= half for _, high in spans)
        assert any(low >= half for low, _ in spans)


def test_one_piece_of_one_feed_range_is_asked_for_without_a_range() -> None:
    assert FeedCut((("", "FF"),), 1).select([0]).spans == ()

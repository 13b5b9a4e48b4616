"""Pieces that want the same treatment go together, up to what may be compared at once."""

from __future__ import annotations

import pytest

from backup_sync.walk.groups import groups

GONE, NEW, BOTH = (0, 9), (9, 0), (9, 9)


def sorted_out(*pieces: tuple[int, int], most: int = 100, gaps: bool = True, leave: int | None = None) -> list[object]:
    """The groups of pieces that hold (source, target) records each; ``leave``: one that is the same on both sides."""
    source = {n: (here,) for n, (here, _) in enumerate(pieces) if here}
    target = {n: (there,) for n, (_, there) in enumerate(pieces) if there}
    wanted = [n for n in range(len(pieces)) if n != leave]
    return list(groups(wanted, source, target, most=most, gaps=gaps))


def test_what_one_side_lacks_is_copied_or_deleted_whatever_its_size() -> None:
    assert sorted_out(NEW, (500, 0), GONE, (0, 500), BOTH) == [
        ("copy", [0, 1]),
        ("delete", [2, 3]),
        ("compare", [4]),
    ]


@pytest.mark.parametrize("size, kind", [(100, "compare"), (101, "cut")])
def test_a_piece_is_cut_again_only_if_it_holds_more_than_may_be_compared(size: int, kind: str) -> None:
    assert sorted_out((size, 1)) == sorted_out((1, size)) == [(kind, [0])]


def test_a_group_holds_as_much_as_may_be_compared_and_no_more() -> None:
    assert sorted_out((60, 1), (1, 40), (1, 1)) == [("compare", [0, 1]), ("compare", [2])]


def test_a_piece_to_be_cut_stands_alone() -> None:
    assert sorted_out(BOTH, (101, 1), (102, 1), BOTH) == [
        ("compare", [0]),
        ("cut", [1]),
        ("cut", [2]),
        ("compare", [3]),
    ]


@pytest.mark.parametrize("gaps, found", [(True, [("compare", [0, 2])]), (False, [("compare", [0]), ("compare", [2])])])
def test_a_group_leaves_pieces_out_only_where_the_cut_can(gaps: bool, found: list[object]) -> None:
    assert sorted_out(BOTH, BOTH, BOTH, gaps=gaps, leave=1) == found

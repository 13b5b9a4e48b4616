"""Rows are fetched and written in lots that weigh little, however much one of them holds."""

from __future__ import annotations

from typing import Any

from backup_sync.model.limits import Limits
from backup_sync.stores import weight

LIMITS = Limits()


def fetched(*lengths: int, most: int) -> list[int]:
    """The sizes of the pages in which rows of these lengths are fetched."""
    rows: list[tuple[Any, ...]] = [(n, "x" * length, None) for n, length in enumerate(lengths)]
    asked: list[int] = []

    def fetch(size: int) -> list[tuple[Any, ...]]:
        asked.append(size)
        given = rows[:size]
        del rows[:size]
        return given

    seen = [row[0] for page in weight.pages(fetch, most, LIMITS) for row in page]
    assert seen == list(range(len(lengths)))
    return asked


def test_light_rows_come_in_full_pages_after_the_first() -> None:
    assert fetched(*[10] * 2_100, most=1_000) == [LIMITS.first_page, 256, 1_000, 1_000, 1_000]


def test_heavy_rows_come_a_few_at_a_time_and_light_ones_behind_them_in_full_pages_again() -> None:
    long = LIMITS.page_weight // 2
    sizes = fetched(*[long] * 70, *[1] * 5_000, most=1_000)
    assert sizes[1:4] == [2, 2, 2]
    assert sizes[-1] == 1_000
    assert fetched(*[LIMITS.page_weight * 3] * 66, most=1_000)[1:] == [1, 1, 1]


def test_a_light_row_in_front_of_heavy_ones_does_not_speak_for_them() -> None:
    long = LIMITS.page_weight // 4
    sizes = fetched(*[long] * 64, *[1, long, long, long] * 20, most=1_000)
    assert sizes[1] == 4
    assert max(sizes[2:]) <= 6
    assert fetched(*[LIMITS.page_weight] * 64, *[1] * 100, most=1_000)[1:6] == [1, 4, 16, 64, 256]


def test_a_page_that_finds_nothing_says_nothing_of_the_next() -> None:
    assert weight.next_size(64, [], 1_000, weight.weight_of_row, LIMITS) == 64


def test_batches_are_bounded_by_their_rows_and_by_what_they_hold() -> None:
    pages = [[(n, b"y")] * 100 for n in range(10)]
    assert [len(batch) for batch in weight.batches(pages, 300, weight.weight_of_row, LIMITS)] == [300, 300, 300, 100]
    uneven = [[(n,)] * n for n in (64, 256, 1_000, 3)]
    assert [len(batch) for batch in weight.batches(uneven, 300, weight.weight_of_row, LIMITS)] == [
        300,
        300,
        300,
        300,
        123,
    ]
    half = LIMITS.batch_weight // 2
    assert [
        len(batch)
        for batch in weight.batches([[("z" * half,)], [("z" * half,)], [("z",)]], 300, weight.weight_of_row, LIMITS)
    ] == [2, 1]
    assert list(weight.batches([], 300, weight.weight_of_row, LIMITS)) == []


def test_what_rows_weigh_is_judged_by_their_texts_and_bytes() -> None:
    assert weight.weight([], weight.weight_of_row) == 0
    assert weight.weight([(1, "four", b"six..."), (None, 2.5, "")], weight.weight_of_row) == 10

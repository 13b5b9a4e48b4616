"""Rows are fetched and written in lots that weigh little, however much one of them holds."""

from __future__ import annotations

from typing import Any

from backup_sync.stores import weight as heavy


def fetched(*lengths: int, most: int) -> list[int]:
    """The sizes of the pages in which rows of these lengths are fetched."""
    rows: list[tuple[Any, ...]] = [(n, "x" * length, None) for n, length in enumerate(lengths)]
    asked: list[int] = []

    def fetch(size: int) -> list[tuple[Any, ...]]:
        asked.append(size)
        given = rows[:size]
        del rows[:size]
        return given

    seen = [row[0] for page in heavy.pages(fetch, most) for row in page]
    assert seen == list(range(len(lengths)))
    return asked


def test_light_rows_come_in_full_pages_after_the_first() -> None:
    assert fetched(*[10] * 2_100, most=1_000) == [heavy.FIRST_ROWS, 256, 1_000, 1_000, 1_000]


def test_heavy_rows_come_a_few_at_a_time_and_light_ones_behind_them_in_full_pages_again() -> None:
    long = heavy.PAGE_WEIGHT // 2
    sizes = fetched(*[long] * 70, *[1] * 5_000, most=1_000)
    assert sizes[1:4] == [2, 2, 2]
    assert sizes[-1] == 1_000
    assert fetched(*[heavy.PAGE_WEIGHT * 3] * 66, most=1_000)[1:] == [1, 1, 1]


def test_a_light_row_in_front_of_heavy_ones_does_not_speak_for_them() -> None:
    long = heavy.PAGE_WEIGHT // 4
    sizes = fetched(*[long] * 64, *[1, long, long, long] * 20, most=1_000)
    assert sizes[1] == 4
    assert max(sizes[2:]) <= 6
    assert fetched(*[heavy.PAGE_WEIGHT] * 64, *[1] * 100, most=1_000)[1:6] == [1, 4, 16, 64, 256]


def test_a_page_that_finds_nothing_says_nothing_of_the_next() -> None:
    assert heavy.next_size(64, [], 1_000, heavy.held_by_row) == 64


def test_batches_are_bounded_by_their_rows_and_by_what_they_hold() -> None:
    pages = [[(n, b"y")] * 100 for n in range(10)]
    assert [len(batch) for batch in heavy.batches(pages, 300, heavy.held_by_row)] == [300, 300, 300, 100]
    uneven = [[(n,)] * n for n in (64, 256, 1_000, 3)]
    assert [len(batch) for batch in heavy.batches(uneven, 300, heavy.held_by_row)] == [300, 300, 300, 300, 123]
    half = heavy.BATCH_WEIGHT // 2
    assert [
        len(batch) for batch in heavy.batches([[("z" * half,)], [("z" * half,)], [("z",)]], 300, heavy.held_by_row)
    ] == [2, 1]
    assert list(heavy.batches([], 300, heavy.held_by_row)) == []


def test_what_rows_weigh_is_judged_by_their_texts_and_bytes() -> None:
    assert heavy.weight([], heavy.held_by_row) == 0
    assert heavy.weight([(1, "four", b"six..."), (None, 2.5, "")], heavy.held_by_row) == 10

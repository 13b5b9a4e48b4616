"""The pace of requests: how many are in flight, and what a throttled answer does to that."""

from __future__ import annotations

import asyncio

import pytest

from backup_sync.stores.cosmos_account import Pace, all_of


def most_at_once(pace: Pace, requests: int) -> int:
    flying = most = 0

    async def one() -> None:
        nonlocal flying, most
        async with pace:
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0)
            flying -= 1

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(requests)))

    asyncio.run(all_of_them())
    return most


def test_no_more_requests_are_in_flight_than_allowed_and_all_get_their_turn() -> None:
    assert most_at_once(Pace(4), 100) == 4


def test_a_throttled_answer_halves_the_pace_and_good_ones_raise_it_again() -> None:
    pace = Pace(8)
    pace.throttled()
    assert most_at_once(pace, 50) == 4
    for _ in range(5):
        pace.throttled()
    assert most_at_once(pace, 50) == 1
    for _ in range(2_000):
        pace.good()
    assert most_at_once(pace, 50) == 8


def test_who_gives_up_in_line_does_not_keep_the_next_one_waiting() -> None:
    async def scene() -> None:
        pace = Pace(1)
        async with pace:
            waiting = [asyncio.create_task(enter(pace)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        waiting[1].cancel()  # woken just now
        await asyncio.wait_for(waiting[2], 5)

    async def enter(pace: Pace) -> None:
        async with pace:
            pass

    asyncio.run(scene())


def test_when_one_request_fails_the_others_are_given_up_before_that_is_told() -> None:
    ended: list[str] = []

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("given up")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def scene() -> None:
        with pytest.raises(ValueError):
            await all_of([long(), fail(), long()])
        assert ended == ["given up", "given up"]

    asyncio.run(scene())

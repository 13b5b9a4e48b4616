"""Requests: how many are in flight, which are made no more, what goes on behind one that failed, and closing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from azure.core.exceptions import ServiceRequestError

from backup_sync.model.errors import RetriableError
from backup_sync.stores.cosmos import account as cosmos_account
from backup_sync.stores.cosmos.account import Account, Connection, Pace, all_of


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


# the guard of writes


@pytest.fixture
def connection() -> Iterator[Connection]:
    account = Account("https://127.0.0.1:1/", "c2VjcmV0", "db", "things")
    with closing(Connection(account, "backup", 4, retry_seconds=60)) as found:
        yield found


def refuse() -> None:
    raise RetriableError("lost")


def test_what_the_guard_refuses_is_not_even_begun_and_reads_go_on(connection: Connection) -> None:
    asked: list[str] = []

    async def request() -> str:
        asked.append("asked")
        return "answered"

    assert connection.run(connection.call(request, write=True)) == "answered"
    connection.guard = refuse
    with pytest.raises(RetriableError, match="lost"):
        connection.run(connection.call(request, write=True))
    assert len(asked) == 1
    assert connection.run(connection.call(request)) == "answered"


def test_the_guard_is_asked_before_each_try_and_ends_the_trying_at_once(connection: Connection) -> None:
    tries: list[float] = []

    async def request() -> None:
        tries.append(time.monotonic())
        if len(tries) == 3:
            connection.guard = refuse
        raise ServiceRequestError("cut")

    begun = time.monotonic()
    with pytest.raises(RetriableError, match="lost"):
        connection.run(connection.call(request, write=True))
    assert len(tries) == 3
    assert time.monotonic() - begun < 30, "it was tried for as long as one that may be"


def test_those_that_stand_in_line_are_asked_when_their_turn_comes(connection: Connection) -> None:
    made: list[int] = []

    async def request() -> None:
        made.append(len(made))
        if len(made) == 4:
            connection.guard = refuse
        await asyncio.sleep(0.05)

    with pytest.raises(RetriableError, match="lost"):
        connection.run(all_of([connection.call(request, write=True) for _ in range(40)]))
    assert len(made) == 4


# giving up and closing


def test_what_a_signal_interrupts_does_not_go_on_when_the_loop_runs_again(connection: Connection) -> None:
    made: list[str] = []

    async def writing() -> None:
        await asyncio.sleep(0.1)
        made.append("written")

    async def work() -> None:
        # As a signal's handler does: it raises in the midst of the loop, not in a task.
        asyncio.get_running_loop().call_soon(interrupt)
        await all_of([writing(), writing()])

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connection.run(work())
    connection.run(asyncio.sleep(0.3))
    assert made == []


def test_closing_never_waits_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cosmos_account, "CLOSE_SECONDS", 0.2)
    connection = Connection(Account("https://127.0.0.1:1/", "c2VjcmV0", "db", "things"), "backup", 4, retry_seconds=60)
    ended: list[str] = []

    class Client:
        async def close(self) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("closing")

    async def left_behind() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("left behind")

    async def begin() -> None:
        tasks.append(asyncio.create_task(left_behind()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    connection.run(begin())
    connection._client = Client()  # type: ignore[assignment]
    begun = time.monotonic()
    connection.close()
    connection.close()
    assert time.monotonic() - begun < 10
    assert sorted(ended) == ["closing", "left behind"]
    assert "backup: the connection to Cosmos DB could not be closed in an orderly way" in caplog.text


def test_a_client_that_cannot_be_closed_is_said_and_does_not_hide_what_went_wrong(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    class Client:
        async def close(self) -> None:
            raise OSError("c2VjcmV0")

    connection._client = Client()  # type: ignore[assignment]
    connection.close()
    assert "could not be closed" in caplog.text
    assert "c2VjcmV0" not in caplog.text

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.errors import RetriableError
from backup_sync.walk import pipeline
from backup_sync.walk.pipeline import both, read_ahead
from backup_sync.walk.spool import KeySpool, private_file

NAMES = {"backup_sync-beside", "backup_sync-read-ahead"}


def threads() -> set[threading.Thread]:
    """Those that the pipeline started. Those of other tests' sessions and servers come and go."""
    return {thread for thread in threading.enumerate() if thread.name in NAMES}


def test_both_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=5)
    assert both(lambda: (barrier.wait(), 1)[1], lambda: (barrier.wait(), 2)[1]) == (1, 2)


def test_an_error_on_either_side_is_raised():
    with pytest.raises(ZeroDivisionError):
        both(lambda: 1, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        both(lambda: 1 // 0, lambda: 1)


def test_where_both_sides_raise_it_is_the_first_ones_error():
    failed = threading.Event()

    def first() -> None:
        assert failed.wait(5)
        raise KeyError

    def second() -> None:
        try:
            raise OSError
        finally:
            failed.set()

    with pytest.raises(KeyError):
        both(first, second)


def test_an_error_of_the_other_side_waits_for_the_first_sides_result():
    done = []
    with pytest.raises(OSError, match="cut"):
        both(lambda: (time.sleep(0.1), done.append(1)), lambda: raises(OSError("cut")))
    assert done == [1]


def raises(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("error", [None, OSError("cut")])
def test_the_other_thread_has_ended_when_both_return_or_raise(error):
    before = threads()
    for _ in range(20):
        if error is None:
            both(lambda: 1, lambda: time.sleep(0.01))
        else:
            with pytest.raises(OSError, match="cut"):
                both(lambda: raises(error), lambda: time.sleep(0.01))
        assert threads() <= before


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Waits until the test is over, as in a driver."""
    monkeypatch.setattr(pipeline, "GRACE_SECONDS", 0.2)
    over = threading.Event()
    yield lambda: over.wait(60)
    over.set()


def the_thread_that_was_left(begun: float) -> threading.Thread:
    assert 0.2 <= time.monotonic() - begun < 2
    (left,) = threads()
    return left


def test_an_error_is_not_held_up_by_a_thread_that_hangs_and_is_left_behind_as_a_daemon(hanging):
    begun = time.monotonic()
    with pytest.raises(KeyError):
        both(lambda: raises(KeyError()), hanging)
    assert the_thread_that_was_left(begun).daemon


def test_reading_ahead_is_left_behind_when_it_hangs(hanging):
    def items() -> Iterator[int]:
        yield 1
        hanging()

    ahead = read_ahead(items())
    assert next(ahead) == 1
    begun = time.monotonic()
    ahead.close()
    assert the_thread_that_was_left(begun).daemon


def test_reading_ahead_keeps_the_order_and_reads_no_further_than_it_may():
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    ahead = read_ahead(items(), depth=2)
    assert next(ahead) == 0
    for _ in range(100):
        threading.Event().wait(0.001)
    assert len(read) <= 4
    assert list(ahead) == list(range(1, 100))


def test_an_error_of_the_reader_reaches_the_consumer_after_what_was_read():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("cut")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="cut"):
        next(ahead)


def test_closing_early_stops_the_reader():
    before = threads()
    ahead = read_ahead(iter(range(1000)), depth=1)
    next(ahead)
    assert len(threads() - before) == 1
    ahead.close()
    assert threads() <= before


@pytest.fixture
def file():
    with closing(private_file()) as found:
        yield found


def test_spooled_keys_come_back_as_they_were_and_in_order(file):
    spool = KeySpool(file, "keys")
    keys = [(1, "a"), (2**62, "ü'"), (-5, b"\x00")]
    spool.extend(keys[:2])
    spool.extend([])
    spool.extend(keys[2:])
    assert len(spool) == 3
    assert [key for batch in spool.batches(2) for key in batch] == list(spool) == keys
    assert spool.part(1, 5) == keys[1:]


def test_lists_of_one_file_are_apart(file):
    one, other = KeySpool(file, "one"), KeySpool(file, "other")
    one.extend([(1, 2)])
    other.extend([("a",)])
    assert (list(one), list(other)) == ([(1, 2)], [("a",)])


def test_keys_for_which_there_is_no_room_on_disk_may_find_it_later(file):
    spool = KeySpool(file, "keys")
    spool.extend([("k",)])
    file.execute("PRAGMA max_page_count = 8")
    with pytest.raises(RetriableError, match=r"temporary file .* \(database or disk is full\): free some space"):
        spool.extend((f"key {number}" * 10,) for number in range(1_000))


def test_an_empty_spool_has_no_batches(file):
    spool = KeySpool(file, "keys")
    assert (len(spool), list(spool.batches(10)), spool.part(0, 3)) == (0, [], [])

"""How long a history of records is kept: the rules, without any store."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_sync.model.keep import KeepHistory, Kept, Point, parse_keep, parse_time

NOW = datetime(2026, 11, 26, 3, tzinfo=timezone.utc)


def nightly(days: int) -> list[Point]:
    """A run each night, the last one now; run n+1 is a day after run n."""
    return [Point(days - back, NOW - timedelta(days=back)) for back in range(days)]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("36h", timedelta(hours=36)),
        ("30d", timedelta(days=30)),
        ("8w", timedelta(weeks=8)),
        ("2y", timedelta(days=730)),
    ],
)
def test_a_time_is_a_number_and_a_unit(text: str, time: timedelta) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "30d ", "1m", "9999999d", "٣d\n"])
def test_what_is_no_time_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="write a time as a number and h, d, w or y"):
        parse_time(text)


def test_a_time_longer_than_any_clock_is_a_century() -> None:
    assert parse_time("999999y") == timedelta(days=36_500)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"daily": "60d"}, "name 'all'"),
        ({"all": "1d", "hourly": "2d"}, "unknown field 'hourly'"),
        ({"all": "x"}, "write"),
    ],
)
def test_what_is_no_rule_is_told_so(value: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_keep(value)


def test_every_moment_within_the_time_is_answered() -> None:
    left = parse_keep("30d").left(Kept(1), nightly(100), [], NOW + timedelta(hours=5))
    # 30 days before now it was what the run of five hours earlier had left.
    assert left == Kept(70)
    assert not left.holds(69)
    assert left.holds(70)


def test_a_history_that_is_younger_stays_as_it_is() -> None:
    assert parse_keep("30d").left(Kept(3), nightly(10), [], NOW) == Kept(3)
    assert parse_keep("30d").left(Kept(3), [], [], NOW) == Kept(3)


def test_what_was_before_the_first_known_run_stays_while_that_run_is_young() -> None:
    """The state before the first run that kept something; or a run whose end nobody recorded."""
    assert parse_keep("30d").left(Kept(0), nightly(3), [], NOW) == Kept(0)
    assert parse_keep("2d").left(Kept(0), nightly(3), [], NOW) == Kept(1)
    assert parse_keep({"all": "1d", "daily": "30d"}).left(Kept(0), nightly(3)[:2], [], NOW).since == 0


def test_older_points_are_thinned_to_the_last_of_each_period() -> None:
    left = parse_keep({"all": "7d", "weekly": "35d"}).left(Kept(1), nightly(60), [], NOW)
    # NOW is a Thursday: the Sundays before are runs 56, 49, 42, 35, 28; 25 is what it looked like 35 days ago.
    assert left.since == 25
    assert left.gaps == ((25, 28), (28, 35), (35, 42), (42, 49), (49, 53))
    assert left.due == left.gaps
    assert [n for n in range(1, 61) if left.holds(n)] == [25, 28, 35, 42, 49, *range(53, 61)]


def test_what_was_thinned_out_is_not_due_again() -> None:
    rule = parse_keep({"all": "7d", "weekly": "35d"})
    first = rule.left(Kept(1), nightly(60), [], NOW)
    done = Kept(first.since, first.gaps)
    again = rule.left(done, nightly(60), [], NOW)
    assert again == done
    assert not again.due
    unfinished = rule.left(first, nightly(60), [], NOW)
    assert unfinished.due == first.due


def test_a_held_point_stays_whatever_its_age() -> None:
    left = parse_keep("7d").left(Kept(1), nightly(60), [10], NOW)
    assert left == Kept(10, ((10, 53),), ((10, 53),))
    assert left.holds(10)
    assert not left.holds(11)
    released = parse_keep("7d").left(Kept(left.since, left.gaps), nightly(60), [], NOW)
    assert released == Kept(53)


def test_a_point_that_is_gone_cannot_be_held() -> None:
    assert parse_keep("7d").left(Kept(20), nightly(60), [10], NOW) == Kept(53)


@given(
    steps=st.lists(st.tuples(st.integers(1, 3), st.integers(-5, 60)), min_size=1, max_size=40),
    rule=st.sampled_from(["1d", "5d", {"all": "1d", "daily": "9d"}, {"all": "2d", "weekly": "30d", "monthly": "1y"}]),
    held=st.sets(st.integers(1, 60), max_size=3),
)
def test_nothing_that_is_promised_goes_however_often_and_whatever_the_clock_does(
    steps: list[tuple[int, int]], rule: str | dict[str, str], held: set[int]
) -> None:
    keep: KeepHistory = parse_keep(rule)
    points, kept, at, number = list[Point](), Kept(0), NOW, 0
    for skipped, hours in steps:
        number, at = number + skipped, at + timedelta(hours=hours)
        points.append(Point(number, at))
        before, kept = kept, keep.left(kept, points, held, at)
        assert kept.since >= before.since
        assert all(before.holds(n) for n in range(number + 1) if kept.holds(n)), "what was gone does not come back"
        assert kept.holds(number), "the newest run is a restore point"
        assert all(kept.holds(n) for n in held if before.holds(n) and n <= number and n in {p.number for p in points})
        assert all(kept.holds(p.number) for p in points if before.holds(p.number) and p.at > at - keep.all)
        assert set(kept.due) <= set(kept.gaps)
        assert all(last <= following for (_, last), (following, _) in zip(kept.gaps, kept.gaps[1:], strict=False))
        assert Kept.from_value(kept.to_value()) == kept

"""How a service is judged."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from backup_sync.console.board import (
    DRIFTED,
    FAILED,
    GOOD,
    HELD,
    NEVER,
    SKIPPED,
    STALE,
    SUCCEEDED,
    WITHHELD,
    Attempt,
    Event,
    Known,
    headline,
    sentence,
)
from backup_sync.model.fresh import span

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def attempt(state: str = SUCCEEDED, ago: timedelta = HOUR, **result: Any) -> Attempt:
    return Attempt(
        "customer",
        "backup_sync",
        "run",
        state,
        NOW - ago,
        NOW - ago + timedelta(minutes=1),
        result or None,
        tasks=[("customer.sync", state)],
    )


def success(ago: timedelta = HOUR, **extra: Any) -> Event:
    return Event(NOW - ago, extra, "backup_sync", "run")


def known(**values: Any) -> Known:
    return Known(**{"service": "customer", "dag_id": "backup_sync", "promise": 26 * HOUR, "paused": False, **values})


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (GOOD, {"success": success(), "attempt": attempt()}),
        (GOOD, {"success": success(26 * HOUR)}),
        (STALE, {"success": success(26 * HOUR + timedelta(seconds=1)), "attempt": attempt()}),
        (NEVER, {}),
        (FAILED, {"attempt": attempt(FAILED)}),
        (FAILED, {"success": success(), "attempt": attempt(FAILED, ErrorMessage="no")}),
        (WITHHELD, {"success": success(), "attempt": attempt(FAILED, WithheldCount=3)}),
        (DRIFTED, {"success": success(), "attempt": attempt(), "verify": attempt(FAILED)}),
        (HELD, {"success": success(), "attempt": attempt(SKIPPED, Status="Held", Notice="held by anna")}),
    ],
)
def test_what_is_worst_is_said_first(state: str, what: dict[str, Any]) -> None:
    assert known(**what).state(NOW) == state


def test_a_paused_dag_says_so_where_the_backup_is_stale() -> None:
    assert sentence(known(success=success(30 * HOUR), paused=True), NOW) == (
        "Last success 30 h ago, promised within 26 h; backup_sync is paused"
    )
    assert sentence(known(paused=True), NOW) == "Not backed up yet; backup_sync is paused"


def test_a_failure_says_what_went_wrong_and_how_old_the_backup_is() -> None:
    told = sentence(known(success=success(3 * HOUR), attempt=attempt(FAILED, ErrorMessage="the disk is full")), NOW)
    assert told == "the disk is full (last success 3 h ago)"
    assert "left no message" in sentence(known(attempt=attempt(FAILED)), NOW)


def test_age_counts_from_the_end_of_the_run_and_what_may_be_missing_from_its_begin() -> None:
    one = known(success=success(HOUR, StartedAt="2026-03-01T05:00:00Z", CompletedAt="2026-03-01T10:00:00Z"))
    assert not one.stale(NOW)
    assert one.behind(NOW) == 7 * HOUR
    assert known().behind(NOW) is None
    assert known().stale(NOW)


def test_a_dry_run_and_one_for_another_service_are_no_runs_of_it() -> None:
    assert not attempt(DryRun=True).counts
    assert not attempt(SKIPPED).counts
    assert attempt(SKIPPED, Status="Held").counts


def test_the_newest_comparison_of_whole_records_counts() -> None:
    old = {"Verified": {"Drift": {"Count": 5}}, "VerifiedShare": 1.0, "VerifiedSince": "2026-02-01T00:00:00Z"}
    new = {"Verified": {"Drift": {"Count": 0}, "Lag": {"Count": 2}}, "VerifiedShare": 0.2}
    one = known(verify=attempt(ago=5 * HOUR, **old), attempt=attempt(**new))
    assert one.verdicts == {"lag": 2, "drift": 0, "missing": 0, "extra": 0}
    assert one.verified_share == 1.0
    assert one.verified_since == datetime(2026, 2, 1, tzinfo=timezone.utc)
    assert known().verdicts is None


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], "No service is declared"),
        ([GOOD], "All backups are good"),
        ([GOOD, STALE], "1 of 2 needs you"),
        ([FAILED, NEVER, GOOD], "2 of 3 need you"),
    ],
)
def test_one_sentence_says_whether_anybody_is_needed(states: list[str], said: str) -> None:
    assert headline(states) == said


@pytest.mark.parametrize(
    ("time", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (26 * 3_600, "26 h"), (172_800, "2 d"), (-5, "0 s")],
)
def test_times_are_said_as_people_say_them(time: int, said: str) -> None:
    assert span(timedelta(seconds=time)) == said

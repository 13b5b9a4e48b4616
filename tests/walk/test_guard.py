from __future__ import annotations

from typing import Any

import pytest

from backup_sync.model.errors import BackupSyncError, DeletesWithheld, SetBackWithheld, TooManyRejected, UpdatesWithheld
from backup_sync.model.loss import LossLimits
from backup_sync.walk.guard import Findings, Verdict, check_rejected, judge, many_updates

LIMITS = LossLimits(share=0.2, count=10, ceiling=1_000)


def verdict(
    *,
    limits: LossLimits = LIMITS,
    allow_deletes: int | None = None,
    force: bool = False,
    source: int = 80,
    **found: Any,
) -> Verdict:
    return judge(
        "thing", limits, Findings(source, **{"target": 100, **found}), allow_deletes=allow_deletes, force=force
    )


def problem(**found: Any) -> type[BackupSyncError] | None:
    raised = verdict(**found).problem
    return type(raised) if raised else None


@pytest.mark.parametrize("backup, most", [(100, 20), (10, 9), (12, 10), (1_000_000, 1_000)])
def test_losses_up_to_the_limits_are_ordinary_and_one_more_is_withheld(backup: int, most: int) -> None:
    assert problem(target=backup, deletes=most) is None
    assert problem(target=backup, deletes=most + 1) is DeletesWithheld
    assert problem(target=backup, ahead=most) is None
    assert problem(target=backup, ahead=most + 1) is SetBackWithheld


def test_the_message_names_the_numbers_and_the_call_that_lets_them_through() -> None:
    said = str(verdict(deletes=21).problem)
    assert said.startswith("thing: withheld 21 deletes from a backup of 100 records because that is 21% of it")
    assert "inserts and updates were applied" in said
    assert (
        """allow_deletes=21: airflow dags trigger backup_sync --conf '{"service": "thing", "allow_deletes": 21}'"""
        in said
    )


def test_deletes_and_records_that_are_set_back_are_judged_together() -> None:
    assert problem(deletes=15) is problem(ahead=15) is None
    assert problem(deletes=15, ahead=15) is DeletesWithheld
    assert problem(deletes=15, ahead=15, allow_deletes=15) is None


@pytest.mark.parametrize("backup", [1, 2, 10])
def test_a_run_that_would_leave_nothing_of_the_backup_is_withheld_whatever_its_size(backup: int) -> None:
    found = verdict(source=1, target=backup, deletes=backup, inserts=1)
    assert isinstance(found.problem, DeletesWithheld)
    assert not found.writes
    assert problem(source=backup, target=backup, ahead=backup) is SetBackWithheld
    assert problem(source=1, target=backup, deletes=backup, inserts=1, allow_deletes=backup) is None


def test_an_ordinary_night_of_a_small_table_is_let_through() -> None:
    assert problem(source=10, target=10, updates=10) is None
    assert problem(source=9, target=10, deletes=1, updates=9) is None
    assert problem(source=1, target=2, deletes=1, updates=1) is None
    assert problem(source=1, target=10, deletes=9, updates=1) is DeletesWithheld
    assert problem(source=8, target=10, deletes=5, inserts=3, updates=1) is None
    assert problem(source=10, target=10, deletes=5, updates=5, inserts=5) is DeletesWithheld
    assert problem(source=1_003, target=1_000, deletes=2, updates=998, inserts=5) is None


@pytest.mark.parametrize("allow", [None, 1, 100, 10**9])
def test_an_empty_source_deletes_nothing_whoever_allows_it(allow: int | None) -> None:
    found = verdict(source=0, target=1, deletes=1, allow_deletes=allow)
    assert "the source reads as empty" in str(found.problem)
    assert "--conf" not in str(found.problem)
    assert problem(source=0, target=0) is None


def test_what_is_allowed_is_a_number_and_no_more() -> None:
    assert problem(deletes=50, allow_deletes=50) is None
    assert problem(deletes=51, allow_deletes=50) is DeletesWithheld
    assert problem(deletes=1, allow_deletes=0) is DeletesWithheld
    assert "this run may delete 50 at most" in str(verdict(deletes=51, allow_deletes=50).problem)


def test_an_allowance_for_deletes_sets_nothing_back() -> None:
    assert problem(deletes=5, ahead=21, allow_deletes=5) is SetBackWithheld


def test_what_was_withheld_before_stays_withheld_however_ordinary_its_number_is_now() -> None:
    found = verdict(target=10_000, source=9_999, deletes=1, held=1, since="run x of yesterday")
    assert "1 of them were withheld before (since run x of yesterday)" in str(found.problem)
    assert found.writes
    assert problem(target=10_000, deletes=1, held=1, allow_deletes=1) is None
    assert problem(target=10_000, source=10_000, ahead=1, held_ahead=1) is SetBackWithheld


def test_what_stopped_everything_stops_it_on_the_next_night_as_well() -> None:
    found = {"source": 1, "target": 10, "deletes": 10, "inserts": 1}
    assert not verdict(**found).writes
    assert not verdict(**found, held=10, since="yesterday").writes


def test_another_data_set_is_stopped_before_anything_is_written() -> None:
    assert not verdict(source=60, updates=60, deletes=40).writes
    assert not verdict(source=100, ahead=100).writes
    assert not verdict(source=85, ahead=15, updates=20, deletes=15).writes
    # A source that lost much, and is otherwise what it was.
    assert verdict(source=60, updates=3, inserts=3, deletes=40).writes


def test_the_words_say_whether_anything_was_written() -> None:
    assert "nothing was written" in str(verdict(source=60, updates=60, deletes=40).problem)
    assert "nothing was deleted" in str(verdict(source=100, ahead=30).problem)


def test_the_way_out_names_all_that_it_takes() -> None:
    together = str(verdict(deletes=15, ahead=15).problem)
    assert """'{"service": "thing", "allow_deletes": 15, "force": true}'""" in together
    asking = LossLimits(0.2, 10, 1_000, ask_updates=True)
    updates = str(verdict(limits=asking, source=1_998, target=2_000, updates=1_001, deletes=2).problem)
    assert """'{"service": "thing", "force": true, "allow_deletes": 2}'""" in updates


def test_the_way_out_of_a_set_back_is_told_with_the_deletes_that_come_with_it() -> None:
    said = str(verdict(ahead=30, deletes=2).problem)
    assert """'{"service": "thing", "force": true, "allow_deletes": 2}'""" in said


def test_most_of_a_backup_changing_at_once_is_told_and_withheld_where_a_service_wants_that() -> None:
    asking = LossLimits(0.2, 10, 1_000, ask_updates=True)
    many = {"source": 2_000, "target": 2_000, "updates": 1_001}
    assert many_updates(1_001, 2_000)
    assert not many_updates(1_000, 2_000)
    assert not many_updates(1_000, 1_000)
    assert problem(**many) is None
    found = verdict(limits=asking, **many)
    assert isinstance(found.problem, UpdatesWithheld)
    assert not found.writes
    assert problem(limits=asking, force=True, **many) is None


def test_a_rewrite_that_was_asked_for_says_nothing_of_the_source() -> None:
    assert problem(source=95, updates=95, deletes=5, force=True) is None
    assert verdict(source=60, updates=60, deletes=40, force=True).writes


@pytest.mark.parametrize("read, rejected", [(1_000, 10), (5_000, 50), (2, 1), (0, 0)])
def test_a_few_records_that_cannot_be_copied_do_not_fail_a_run(read: int, rejected: int) -> None:
    check_rejected("thing", read, rejected, LossLimits(0.01, 10, 10**9))


@pytest.mark.parametrize("read, rejected", [(1_000, 11), (5_000, 51), (1, 1), (3, 3)])
def test_too_many_of_them_or_all_do(read: int, rejected: int) -> None:
    with pytest.raises(TooManyRejected, match="Nothing was deleted"):
        check_rejected("thing", read, rejected, LossLimits(0.01, 10, 10**9))

"""What was found is gathered, and sorted by how it is best read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from backup_sync.model.diff import Changes
from backup_sync.walk.find import Found
from backup_sync.walk.plan import Missing, Plan, Reread


@pytest.fixture
def plan() -> Iterator[Plan]:
    with closing(Plan(reread_share=0.25)) as found:
        yield found


def keys(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


def test_a_range_of_which_much_changed_is_read_again_and_of_others_the_changed_keys(plan: Plan) -> None:
    plan.add(Found(100, 100, Changes(inserts=keys(5), updates=keys(20)), within="much"))
    plan.add(Found(100, 100, Changes(updates=keys(24)), within="little"))
    assert plan.reread_ranges == [Reread("much", 0, 25)]
    assert [row[0] for row in plan.reread] == [0] * 5 + [1] * 20
    assert (len(plan.changed), plan.inserts, plan.updates) == (24, 5, 44)


def test_a_part_that_cannot_be_read_separately_is_asked_for_by_keys(plan: Plan) -> None:
    plan.add(Found(100, 100, Changes(updates=keys(100)), within=None))
    assert plan.reread_ranges == []
    assert len(plan.changed) == 100


def test_a_range_that_the_target_lacks_is_kept_as_a_range(plan: Plan) -> None:
    plan.add(Found(70, 0, None, within="new"))
    plan.add(Found(0, 3, Changes(deletes=keys(3))))
    assert plan.missing == [Missing("new", 70)]
    assert (plan.inserts, plan.source_records, plan.target_records, len(plan.deletes)) == (70, 70, 3, 3)

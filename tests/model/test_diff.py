from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_sync.model.diff import AHEAD, CHANGED, FILLED, MISSING, SAME, UNFILLED, compare, diff, moment

keys = st.tuples(st.integers(0, 30))
sides = st.dictionaries(keys, st.tuples(st.integers(0, 3)))


@given(sides, sides, st.booleans())
def test_every_key_of_the_source_is_counted_exactly_once(source, backup, force):
    changes = diff(source, backup, ("higher",), force=force)
    assert len(changes.inserts) + len(changes.updates) + len(changes.ahead) + changes.skipped == len(source)
    assert set(changes.inserts) == set(source) - set(backup)
    assert set(changes.deletes) == set(backup) - set(source)


@given(sides, sides)
def test_applying_the_changes_leaves_only_records_that_are_ahead_different(source, backup):
    changes = diff(source, backup, ("higher",))
    after = {key: stamp for key, stamp in backup.items() if key not in changes.deletes}
    after |= {key: source[key] for key in (*changes.inserts, *changes.updates)}
    assert after.keys() == source.keys()
    assert {key for key in source if after[key] != source[key]} == set(changes.ahead)


@given(sides, sides)
def test_force_updates_all_that_both_sides_hold(source, backup):
    assert set(diff(source, backup, ("higher",), force=True).updates) == set(source) & set(backup)


@pytest.mark.parametrize(
    "new, old, rule, verdict",
    [
        (2, 1, "higher", CHANGED),
        (1, 2, "higher", AHEAD),
        (1, None, "higher", CHANGED),
        (None, 1, "higher", AHEAD),
        (b"\x02", b"\x01", "higher", CHANGED),
        ("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "newer", CHANGED),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z", "newer", SAME),
        ("2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00Z", "newer", SAME),
        ("2024-01-01T00:00:00.0000002Z", "2024-01-01T00:00:00.0000001Z", "newer", CHANGED),
        ("2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00.4999999Z", "newer", CHANGED),
        ("2024-01-01 00:00:00.1234567", "2024-01-01 00:00:00.1234566", "newer", CHANGED),
        (1700000001, 1700000000, "newer", CHANGED),
        ("2024-01-01T00:00:00Z", 1700000000, "newer", CHANGED),
        ("Paid", "Pending", "different", CHANGED),
        (None, "Pending", "different", CHANGED),
        (True, False, "different", CHANGED),
    ],
)
def test_a_rule_says_when_a_stamp_counts_as_changed(new, old, rule, verdict):
    assert compare((new,), (old,), (rule,)) == verdict


def test_a_field_to_be_filled_in_makes_a_change_but_not_of_a_copy_that_is_ahead():
    rules = ("higher", UNFILLED)
    assert compare((1, 7), (1, None), rules) == FILLED
    assert compare((1, 7), (1, 7), rules) == SAME
    assert compare((1, 7), (2, None), rules) == AHEAD
    assert compare((2, 7), (1, 7), rules) == CHANGED


def test_any_rule_is_enough_and_one_ordered_field_that_is_older_outweighs_every_change():
    assert compare((2, "b"), (1, "a"), ("higher", "different")) == CHANGED
    assert compare((1, "b"), (1, "a"), ("higher", "different")) == CHANGED
    assert compare((1, "a"), (2, "a"), ("higher", "different")) == AHEAD
    assert compare((1, "b"), (2, "a"), ("higher", "different")) == AHEAD
    assert compare(("b", 1), ("a", 2), ("different", "higher")) == AHEAD
    assert compare((3, 1), (2, 2), ("higher", "higher")) == AHEAD
    assert compare((None, "b"), (2, "a"), ("higher", "different")) == AHEAD


@pytest.mark.parametrize(
    "old, new",
    [
        ("31.12.2023 23:59", "01.01.2024 00:10"),
        ("12/31/2023", "01/01/2024"),
        ("Sun, 31 Dec 2023 23:59:00 GMT", "Mon, 01 Jan 2024 00:10:00 GMT"),
        ("2024-1-9", "2024-1-10"),
        ("999999999", "1000000000"),
        ("20231231", "20240101"),
        ("2023-W52-7", "2024-W01-1"),
        ("2024-13-45", "2024-01-01"),
        ("2024-01-01T25:00:00", "2024-01-01"),
        ("2024-01-01", "yesterday"),
        ("", "2024-01-01"),
        (True, False),
        ("２０２４-01-01", "2024-01-01"),
        (b"\x01", b"\x02"),
    ],
)
def test_what_differs_and_is_no_moment_of_a_known_form_is_a_change_in_both_directions(old, new):
    assert compare((new,), (old,), ("newer",)) == CHANGED
    assert compare((old,), (new,), ("newer",)) == CHANGED


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01",
        "2024-01-01T00:00",
        "2024-01-01 00:00:00",
        "2024-01-01T00:00:00.000Z",
        "2024-01-01 02:00:00 +02:00",
        "2024-01-01t00:00:00z",
        "2024-01-01T02:00:00+0200",
        "2024-01-01T02:00:00,0+02",
    ],
)
def test_one_moment_in_its_known_forms_is_the_same(text):
    assert moment(text) == moment("2024-01-01T00:00:00Z")


@pytest.mark.parametrize("rule", ["higher", "newer", "different"])
def test_null_and_a_field_that_is_not_there_are_two_stamps(rule):
    assert compare((None,), (MISSING,), (rule,)) == CHANGED
    assert compare((MISSING,), (None,), (rule,)) == CHANGED
    assert compare((MISSING,), (MISSING,), (rule,)) == SAME


def test_a_field_that_is_not_there_survives_a_file_as_what_it_is():
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING

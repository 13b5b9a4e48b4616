from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from backup_sync.walk import withheld
from backup_sync.walk.withheld import Withheld, known, sketch

keys = st.sets(st.tuples(st.one_of(st.integers(), st.text(), st.binary(), st.floats(allow_nan=False))), max_size=50)


@given(keys, keys)
def test_a_sketch_of_few_keys_knows_those_and_no_other(withheld_, found):
    assert known(found, sketch(withheld_)) == len(withheld_ & found)


def test_of_many_keys_it_holds_a_bounded_sample_that_any_part_has_its_share_in():
    held = sketch((number,) for number in range(200_000))
    assert len(held) == withheld.MOST
    part = known(((number,) for number in range(50_000, 70_000)), held)
    assert 300 < part < 500
    assert known(((number,) for number in range(200_000, 300_000)), held) == 0


def test_the_number_one_and_the_text_one_are_two_keys():
    assert known([("1",)], sketch([(1,)])) == 0


def test_what_is_remembered_survives_json_and_holds_no_value_of_a_key():
    found = Withheld("run x", sketch([("hunter2",)]), sketch([(5,)]))
    text = json.dumps(found.to_value())
    assert Withheld.from_value(json.loads(text)) == found
    assert "hunter2" not in text


def test_nothing_remembered_is_false():
    assert not Withheld.from_value(None)
    assert Withheld.from_value({"since": "x", "deletes": ["a"], "ahead": []})

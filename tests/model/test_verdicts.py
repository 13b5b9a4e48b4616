from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from backup_sync.model.verdicts import DRIFT, MISSING, SAMPLES, Rolling, Verified, parse_share

DAY = timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=timezone.utc)


def nights(rolling: Rolling, count: int, start: datetime = START, drift: int = 0) -> Rolling:
    """So many nights, each of which finds ``drift`` records that drift."""
    for night in range(count):
        last = len(rolling.times) == rolling.of - 1
        rolling = rolling.after(drift, None if last else [night], start + night * DAY)
        rolling = Rolling.from_value(json.loads(json.dumps(rolling.to_value())), rolling.of)
    return rolling


@pytest.mark.parametrize(("text", "of"), [("all", 1), ("1/1", 1), ("1/7", 7), ("1/30", 30), ("1/1000", 1000)])
def test_a_share_is_all_or_one_of_some(text: str, of: int) -> None:
    assert parse_share(text) == of


@pytest.mark.parametrize("text", ["", "7", "2/7", "1/0", "1/07", "1 /7", "0.5", "1/-7", "1/10000", "half", "1/7\n"])
def test_anything_else_is_no_share_and_the_message_shows_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="1/7"):
        parse_share(text)


def test_as_many_nights_as_there_are_shares_cover_everything() -> None:
    for count in range(7):
        rolling = nights(Rolling(7), count)
        assert rolling.share == pytest.approx(count / 7)
        assert rolling.since is None
        assert rolling.part == pytest.approx(1 / (7 - count))
    rolling = nights(Rolling(7), 7)
    assert (rolling.share, rolling.since, rolling.position, rolling.times) == (1.0, START, None, ())


def test_what_was_compared_last_night_makes_the_oldest_share_younger() -> None:
    rolling = nights(Rolling(7), 7)
    ages = []
    for night in range(7, 28):
        now = START + night * DAY
        rolling = nights(rolling, 1, now)
        assert rolling.since is not None
        ages.append((now - rolling.since) / DAY)
    assert max(ages) <= 7
    assert ages[6] == 6


def test_a_share_that_drifts_is_the_next_one_again_until_it_no_longer_does() -> None:
    rolling = nights(Rolling(7), 3)
    again = nights(rolling, 2, START + 3 * DAY, drift=5)
    assert (again.position, again.times, again.drift) == (rolling.position, rolling.times, 5)
    assert nights(again, 1, START + 5 * DAY).drift == 0


def test_drift_that_comparing_everything_found_is_not_forgotten_for_a_share_that_is_right() -> None:
    everywhere = Rolling(1).after(9, None, START)
    rolling = Rolling.from_value(everywhere.to_value(), 7)
    assert rolling.drift == 9
    assert nights(rolling, 8).drift == 9
    assert Rolling.from_value(rolling.to_value(), 1).after(0, None, START).drift == 0


def test_drift_of_a_share_is_not_forgotten_where_the_next_share_is_another_one() -> None:
    drifted = nights(nights(Rolling(7), 3), 1, START + 3 * DAY, drift=5)
    rolling = Rolling.from_value(drifted.to_value(), 30)
    assert nights(rolling, 40).drift == 5
    assert Rolling.from_value(rolling.to_value(), 1).after(0, None, START).drift == 0


def test_another_number_of_shares_begins_anew_and_remembers_since_when_all_were_compared() -> None:
    rolling = Rolling.from_value(nights(Rolling(7), 9).to_value(), 30)
    assert (rolling.of, rolling.position, rolling.times, rolling.share) == (30, None, (), 1.0)
    assert rolling.since == nights(Rolling(7), 9).since
    assert Rolling.from_value(nights(Rolling(7), 3).to_value(), 30).since is None


def test_what_was_found_names_some_keys_and_the_fields_and_no_values() -> None:
    found = Verified(records=100)
    for number in range(SAMPLES + 5):
        found.add(DRIFT, (number, b"\x01\xff"), ["Email"] if number else ["Email", "Name"])
    found.add(MISSING, ("a",))
    value = json.loads(json.dumps(found.to_value()))
    assert value["Drift"]["Count"] == SAMPLES + 5
    assert value["Drift"]["Keys"] == [[number, "01ff"] for number in range(SAMPLES)]
    assert value["Drift"]["Fields"] == {"Email": SAMPLES + 5, "Name": 1}
    assert value["Missing"] == {"Count": 1, "Keys": [["a"]]}
    assert value["Extra"] == value["Lag"] == {"Count": 0, "Keys": []}

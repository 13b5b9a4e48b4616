"""What is asked for keys: each key once, exactly, and never more than a query may hold."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from backup_sync.model.diff import Key
from backup_sync.stores.cosmos.documents import MISSING, key_text, names_of
from backup_sync.stores.cosmos.reads import Asked, asked

LONG = '/"' + "x/y " * 60 + '"'
IDS = ["é" * 511, "漢" * 341, "🎁" * 255, "x" * 1_023, '"' * 1_023, "\u0001" * 1_023]
"""Ids of as many bytes as the service takes; sent as escaped ASCII they are up to six times as long."""


def sent(part: Asked) -> tuple[int, int]:
    """Bytes of the query's text and of the request's body, as the SDK writes it."""
    text = f"SELECT * FROM c WHERE {part.condition}"
    return len(text), len(json.dumps({"query": text, "parameters": part.parameters}, separators=(",", ":")))


def parts_of(keys: list[Key], *paths: str) -> list[Asked]:
    found = list(asked(keys, [names_of(path) for path in paths]))
    assert sorted(key for part in found for key in part.keys) == sorted(keys)
    return found


@pytest.mark.parametrize("id_", IDS)
@pytest.mark.parametrize("paths", [("/id",), ("/group",), ("/a", LONG, "/id")])
@pytest.mark.parametrize("partitions", [1, 3_000])
def test_a_request_stays_below_a_megabyte_and_a_thousand_keys_whatever_the_ids(
    id_: str, paths: tuple[str, ...], partitions: int
) -> None:
    keys: list[Key] = []
    for number in range(3_000):
        own = f"{number:04}{id_[4:]}"
        values = [own if path == "/id" else f"{number % partitions:04}" + id_ * 2 for path in paths]
        keys.append((own, key_text(values)))
    for part in parts_of(keys, *paths):
        text, body = sent(part)
        assert text < 256_000
        assert body < 1_050_000
        assert len(part.keys) <= 1_000
        assert part.condition.count(" AND ") < 2_000
        assert part.condition.count(" OR ") < 2_000


def test_short_keys_go_a_thousand_at_a_time() -> None:
    keys: list[Key] = [(f"thing-{number}", key_text([f"group-{number}"])) for number in range(2_500)]
    assert [len(part.keys) for part in parts_of(keys, "/group")] == [1_000, 1_000, 500]


def test_keys_of_one_partition_are_asked_for_by_a_list_of_ids() -> None:
    (part,) = parts_of([("1", '["a"]'), ("2", '["a"]'), ("3", "[1]")], "/order")
    assert part.condition == (
        '((ARRAY_CONTAINS(@i0, c["id"]) AND c["order"] = @k0p0) OR (c["id"] = @i1 AND c["order"] = @k1p0))'
    )
    assert part.parameters == [
        {"name": "@i0", "value": ["1", "2"]},
        {"name": "@k0p0", "value": "a"},
        {"name": "@i1", "value": "3"},
        {"name": "@k1p0", "value": 1},
    ]


def test_the_id_as_partition_key_is_asked_for_once() -> None:
    keys: list[Key] = [(str(number), key_text([str(number)])) for number in range(3)]
    (part,) = parts_of(keys, "/id")
    assert part.condition == 'ARRAY_CONTAINS(@i0, c["id"])'


@pytest.mark.parametrize(
    ("values", "condition", "parameters"),
    [
        ([None, "a"], 'c["a b"] = @k0p0 AND c["x"]["y"] = @k0p1', [None, "a"]),
        ([MISSING, 1.5], 'NOT IS_PRIMITIVE(c["a b"]) AND c["x"]["y"] = @k0p1', [1.5]),
        ([True, MISSING], 'c["a b"] = @k0p0 AND NOT IS_PRIMITIVE(c["x"]["y"])', [True]),
        ([MISSING, MISSING], 'NOT IS_PRIMITIVE(c["a b"]) AND NOT IS_PRIMITIVE(c["x"]["y"])', []),
    ],
)
def test_null_is_a_value_and_undefined_is_everything_that_is_none(
    values: list[Any], condition: str, parameters: list[Any]
) -> None:
    (part,) = parts_of([("1", key_text(values))], '/"a b"', "/x/y")
    assert part.condition == f'(c["id"] = @i0 AND {condition})'
    assert [parameter["value"] for parameter in part.parameters[1:]] == parameters


def test_keys_of_any_mix_are_each_asked_for_once() -> None:
    chance = random.Random(1)
    values = ["a", "b" * 2_000, "1", 1, True, None, MISSING, 1.5, "漢" * 600]
    keys: list[Key] = []
    for number in range(4_000):
        keys.append((f"{number}" + "x" * chance.choice([0, 5, 1_000]), key_text(chance.choices(values, k=2))))
    for part in parts_of(keys, "/a", '/"b c"/d'):
        assert sent(part)[1] < 1_050_000


def test_no_keys_ask_nothing() -> None:
    assert parts_of([], "/a") == []

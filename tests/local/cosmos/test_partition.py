"""The hash of partition keys: where documents lie has to be where the SDK believes them to be."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from azure.cosmos.partition_key import PartitionKey as SdkPartitionKey
from azure.cosmos.partition_key import _Undefined

from local.cosmos import ranges
from local.cosmos.errors import CosmosError
from local.cosmos.hashes import UNDEFINED
from local.cosmos.partition import PartitionKey, canonical

_RANDOM = random.Random(7)
VALUES: list[Any] = [
    None, True, False, 0, -0.0, 1, 1.5, -7, 1e300, 2**60 + 1, "", "x", "é😀", "a" * 300, UNDEFINED,
    *("".join(chr(_RANDOM.randint(32, 0x2FF)) for _ in range(length)) for length in range(60)),
]  # fmt: skip


def _sdk(value: Any) -> Any:
    return _Undefined() if value is UNDEFINED else value


def test_the_hash_of_a_single_key_is_the_sdks() -> None:
    ours = PartitionKey({"paths": ["/a"], "kind": "Hash", "version": 2})
    theirs = SdkPartitionKey("/a")
    for value in VALUES:
        assert ours.effective([value]) == theirs._get_effective_partition_key_string([_sdk(value)]), repr(value)


def test_the_hash_of_a_hierarchical_key_is_the_sdks() -> None:
    ours = PartitionKey({"paths": ["/a", "/b", "/c"], "kind": "MultiHash", "version": 2})
    theirs = SdkPartitionKey(["/a", "/b", "/c"], kind="MultiHash")
    for value in VALUES:
        components = [value, 3, "z"]
        for depth in (1, 2, 3):
            expected = theirs._get_effective_partition_key_string([_sdk(one) for one in components[:depth]])
            assert ours.effective(components[:depth]) == expected, repr(value)


def test_numbers_of_one_value_are_one_key_and_types_are_kept_apart() -> None:
    assert canonical([1]) == canonical([1.0])
    texts = {canonical([value]) for value in (1, "1", True, None, UNDEFINED, "", 0, False, "null", "{}")}
    assert len(texts) == 10


@pytest.mark.parametrize(
    ("path", "position"),
    [("pk", 0), ("/", 0), ("", 0), ("/a b", 2), ("/a.b", 2), ("/a+", 2), ("/first/*", 7), ("/a/", 2), ("//a", 1),
     ("/a[0]", 2), ('/"open', 6), ('/"a"b', 4), ("/a?", 2), (7, 0), (None, 0)],
)  # fmt: skip
def test_a_path_with_other_characters_than_the_service_takes_is_refused(path: Any, position: int) -> None:
    with pytest.raises(CosmosError) as caught:
        PartitionKey({"paths": [path], "version": 2})
    assert caught.value.status == 400
    assert f"failed near position '{position}'" in caught.value.message


@pytest.mark.parametrize(
    "path", ["/a", "/a/b_1", "/customer-id", "/größe", '/"a b"', '/"a/b"', '/"a.b"/c', "/'q'", "/_ts"]
)
def test_a_path_of_letters_digits_and_quoted_names_is_taken(path: str) -> None:
    assert PartitionKey({"paths": [path], "version": 2}).paths


def test_quoted_path_segments_are_names() -> None:
    key = PartitionKey({"paths": ['/"a b"/c'], "kind": "Hash", "version": 2})
    assert key.extract({"a b": {"c": 5}}) == [5]
    assert key.extract({"a b": 1}) == [UNDEFINED]
    assert key.extract({"a b": {"c": [5]}}) == [UNDEFINED]


@pytest.mark.parametrize(
    "definition",
    [None, {}, {"paths": []}, {"paths": ["pk"]}, {"paths": ["/"]}, {"paths": ["/a", "/b"], "kind": "Hash"},
     {"paths": ["/a"], "kind": "Range"}, {"paths": ["/a"], "version": 3}, {"paths": ["/a"], "version": True},
     {"paths": ["/a"] * 4, "kind": "MultiHash", "version": 2}, {"paths": ["/a", "/b"], "kind": "MultiHash"},
     {"paths": ["/a", "/b"], "kind": "MultiHash", "version": 1}],
)  # fmt: skip
def test_a_partition_key_definition_that_cannot_be_served_is_refused(definition: Any) -> None:
    with pytest.raises(CosmosError) as caught:
        PartitionKey(definition)
    assert caught.value.status == 400


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("definition", [{"version": 2}, {"version": 1}, {"kind": "MultiHash", "version": 2}])
def test_ranges_cover_the_space_without_gap_and_share_keys_evenly(count: int, definition: dict[str, Any]) -> None:
    key = PartitionKey({"paths": ["/a"], **definition})
    made = ranges.seen_by(ranges.even(count), key)
    assert (made[0].minimum, made[-1].maximum) == ("", "FF")
    assert all(one.maximum == following.minimum for one, following in itertools.pairwise(made))
    held = [ranges.holding(made, key.effective([f"k{n}"])).id for n in range(200 * count)]
    assert all(100 < held.count(one.id) < 320 for one in made)


def test_a_split_halves_each_range_and_names_its_parents() -> None:
    halves = ranges.split(ranges.even(2), 2)
    assert [one.id for one in halves] == ["2", "3", "4", "5"]
    assert [one.parents for one in halves] == [("0",), ("0",), ("1",), ("1",)]
    assert (halves[0].minimum, halves[-1].maximum) == ("", "FF")
    assert [one.maximum for one in halves[:-1]] == [one.minimum for one in halves[1:]]
    assert ranges.split(halves, 6)[0].parents == ("0", "2")


def test_the_hash_of_version_1_is_the_sdks() -> None:
    ours = PartitionKey({"paths": ["/a"], "kind": "Hash"})
    theirs = SdkPartitionKey("/a", version=1)
    for value in [*VALUES, "a" * 100, "a" * 101, "é" * 49, "é" * 50, "é" * 51, "😀" * 26, 2**31, 2**32 - 1, -2.5]:
        # Of these the SDK makes something else than the service does: null has no byte, a whole number no sign.
        if value is None or (type(value) is int and not 0 <= value < 2**32):
            continue
        expected = theirs._get_effective_partition_key_string([_sdk(value)])
        assert ours.effective([value]) == str(expected).upper(), repr(value)


def test_version_1_hashes_whole_numbers_as_doubles_and_gives_null_a_byte() -> None:
    key = PartitionKey({"paths": ["/a"], "version": 1})
    for number in (-7, 2**40, 2**60 + 1):
        assert key.effective([number]) == key.effective([float(number)])
    theirs = SdkPartitionKey("/a", version=1)
    assert key.effective([None]) == str(theirs._get_effective_partition_key_string([None])).upper() + "01"


def test_the_bounds_of_version_1_are_those_that_the_service_shows() -> None:
    seen = ranges.seen_by(ranges.even(2), PartitionKey({"paths": ["/a"]}))
    assert [(one.minimum, one.maximum) for one in seen] == [("", "05C1DFFFFFFFFC"), ("05C1DFFFFFFFFC", "FF")]


def test_the_inner_bounds_of_a_hierarchical_key_have_64_digits() -> None:
    key = PartitionKey({"paths": ["/a", "/b"], "kind": "MultiHash", "version": 2})
    for one in ranges.seen_by(ranges.split(ranges.even(3), 3), key)[1:]:
        assert len(one.minimum) == 64


def test_a_split_within_a_key_parts_its_second_level_and_no_other_key() -> None:
    key = PartitionKey({"paths": ["/a", "/b"], "kind": "MultiHash", "version": 2})
    before = ranges.even(3)
    made = ranges.split_within(before, key.effective(["tenant"]), 3)
    assert len(made) == 4
    seen = ranges.seen_by(made, key)
    held = {ranges.holding(seen, key.effective(["tenant", n])).id for n in range(50)}
    assert held == {"3", "4"}
    for other in range(50):
        assert len({ranges.holding(seen, key.effective([other, n])).id for n in range(10)}) == 1
    # A container without levels has no documents between two such bounds.
    flat = ranges.seen_by(made, PartitionKey({"paths": ["/a"], "version": 2}))
    assert {len(one.minimum) for one in flat} == {0, 32}
    assert all(one.maximum == following.minimum for one, following in itertools.pairwise(flat))
    with pytest.raises(CosmosError):
        ranges.split_within(made, key.effective(["tenant"]), 5)
    assert ranges.seen_by(ranges.split(made, 5), key)[-1].maximum == "FF"

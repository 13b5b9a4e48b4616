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
from local.cosmos.partition import UNDEFINED, PartitionKey, canonical

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


def test_quoted_path_segments_are_names() -> None:
    key = PartitionKey({"paths": ['/"a b"/c'], "kind": "Hash", "version": 2})
    assert key.extract({"a b": {"c": 5}}) == [5]
    assert key.extract({"a b": 1}) == [UNDEFINED]
    assert key.extract({"a b": {"c": [5]}}) == [UNDEFINED]


@pytest.mark.parametrize(
    "definition",
    [None, {}, {"paths": []}, {"paths": ["pk"]}, {"paths": ["/"]}, {"paths": ["/a", "/b"], "kind": "Hash"},
     {"paths": ["/a"], "kind": "Range"}, {"paths": ["/a"], "version": 1}, {"paths": ["/a"] * 4, "kind": "MultiHash"}],
)  # fmt: skip
def test_a_partition_key_definition_that_cannot_be_served_is_refused(definition: Any) -> None:
    with pytest.raises(CosmosError) as caught:
        PartitionKey(definition)
    assert caught.value.status == 400


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 100])
def test_ranges_cover_the_space_without_gap_and_share_keys_evenly(count: int) -> None:
    made = ranges.even(count)
    assert (made[0].minimum, made[-1].maximum) == ("", "FF")
    assert all(one.maximum == following.minimum for one, following in itertools.pairwise(made))
    key = PartitionKey({"paths": ["/a"]})
    held = [ranges.holding(made, key.effective([f"k{n}"])).id for n in range(200 * count)]
    assert all(100 < held.count(one.id) < 320 for one in made)


def test_a_split_halves_each_range_and_names_its_parents() -> None:
    halves = ranges.split(ranges.even(2), 2)
    assert [one.id for one in halves] == ["2", "3", "4", "5"]
    assert [one.parents for one in halves] == [("0",), ("0",), ("1",), ("1",)]
    assert (halves[0].minimum, halves[-1].maximum) == ("", "FF")
    assert [one.maximum for one in halves[:-1]] == [one.minimum for one in halves[1:]]
    assert ranges.split(halves, 6)[0].parents == ("0", "2")

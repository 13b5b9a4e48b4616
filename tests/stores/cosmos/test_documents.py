"""Keys of documents: what a comparison carries of them says the same as they do, and no two become one."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from azure.cosmos._base import ParsePaths

from backup_sync.model.errors import ConfigurationError
from backup_sync.stores.cosmos.documents import (
    MISSING,
    bundled,
    key_text,
    key_value,
    names_of,
    names_of_field,
    problem_of,
    property_of,
    unbundled,
    value_at,
)

KEYS = ["a", "", 'quote " and \\', "漢字 🎁", "\u0000", "null", "[1]", '"1"', "1", "{}", "true", 1, 0, -0.0, 1.5]
KEYS += [True, False, None, MISSING, 2**53 - 1, 1 - 2**53, 1e300, 5e-324]
"""No two of them are the same partition key value to the service."""
UNDEFINED = [MISSING, {}, {"a": 1}, [], ["a"], [[]]]


def carried(*values: Any) -> list[tuple[Any, ...]]:
    rows = [{"i": "x", "s0": "s"} | ({} if value is MISSING else {"k0": value}) for value in values]
    return bundled(rows, ["k0"], ["s0"])


def stamped(*values: Any) -> list[tuple[Any, ...]]:
    rows = [{"i": "x", "k0": "k"} | ({} if value is MISSING else {"s0": value}) for value in values]
    return bundled(rows, ["k0"], ["s0"])


# paths


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/group", ("group",)),
        ("/deep/tenant", ("deep", "tenant")),
        ("/customer-id", ("customer-id",)),
        ('/"first name"', ("first name",)),
        ("/'first name'", ("first name",)),
        ('/"a/b"', ("a/b",)),
        ('/"a.b"', ("a.b",)),
        ("/a.b", ("a.b",)),
        ('/a/"b/c"/d', ("a", "b/c", "d")),
        ("/'it''/x'", None),
        ("/it's", ("it's",)),
        ("/'say \"x\"/y'/z", ('say "x"/y', "z")),
        (r'/"a\"b"/c', (r"a\"b", "c")),
        ("/ a / b", ("a", "b")),
        ("/a/", ("a",)),
        ('/""', ("",)),
        ('/"a', None),
        ('/"a"b', None),
        ('/"a"b"', None),
        ("group", None),
    ],
)
def test_a_path_is_read_as_the_sdk_reads_it(path: str, names: tuple[str, ...] | None) -> None:
    if names is None:
        with pytest.raises(ValueError, match="Invalid path"):
            ParsePaths([path])
        with pytest.raises(ConfigurationError, match="cannot be read"):
            names_of(path)
    else:
        assert names_of(path) == names == tuple(ParsePaths([path]))


@pytest.mark.parametrize("path", ["", "/"])
def test_a_path_that_names_nothing_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="names no property"):
        names_of(path)


def test_a_field_is_a_path_whose_first_slash_may_be_left_out() -> None:
    assert names_of_field("meta/version") == names_of_field("/meta/version") == ("meta", "version")
    assert names_of_field('"meta/version"') == ("meta/version",)
    assert names_of_field("lastModified") == ("lastModified",)


def test_no_name_can_end_the_expression_that_it_is_written_into() -> None:
    assert property_of(("order", 'x"] OR true --')) == r'c["order"]["x\"] OR true --"]'
    assert property_of(("back\\slash",)) == r'c["back\\slash"]'


def test_the_value_at_a_path_is_missing_where_any_part_of_the_path_is() -> None:
    document = {"a": {"b": {"c": None}}, "t": "text", "l": [{"b": 1}]}
    assert value_at(document, ("a", "b", "c")) is None
    assert value_at(document, ("a", "b")) == {"c": None}
    for names in (("x",), ("a", "x", "c"), ("t", "b"), ("l", "b"), ("a", "b", "c", "d")):
        assert value_at(document, names) is MISSING


# keys


def test_keys_that_are_not_the_same_to_the_service_are_not_the_same_bundle() -> None:
    assert len(set(carried(*KEYS))) == len(KEYS)
    # Whatever their page is like otherwise.
    assert set(carried(*KEYS)) == {bundle for value in KEYS for bundle in carried(value)}
    assert len({key_text([value]) for value in KEYS}) == len(KEYS)


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (0, 0.0), (2**53, 2.0**53), (2**60, 2.0**60), (2**53 + 1, 2**53), (-5, -5.0)]
)
def test_two_ways_to_write_one_number_are_one_key(one: Any, other: Any) -> None:
    assert key_text([one]) == key_text([other])
    assert carried(one) == carried(other)


@pytest.mark.parametrize("value", UNDEFINED)
def test_what_is_no_text_number_truth_or_null_is_an_undefined_key(value: Any) -> None:
    assert key_text([value]) == "[{}]"
    assert key_text(["a", value]) == '["a", {}]'
    assert key_value(("x", key_text([value]))) == {}
    assert key_value(("x", key_text([value, "a"]))) == [{}, "a"]
    assert carried(value) == carried(MISSING)
    assert problem_of("x", [value], ["/a"]) is None


def test_a_bundle_gives_back_id_key_and_stamps_as_they_were() -> None:
    for value, bundle in zip(KEYS, carried(*KEYS), strict=True):
        assert repr(unbundled(bundle, 1)) == repr(("x", [value], ("s",)))
    (bundle,) = bundled([{"i": "x", "k0": "a", "k1": 2, "s1": None}], ["k0", "k1"], ["s0", "s1"])
    assert unbundled(bundle, 2) == ("x", ["a", 2], (MISSING, None))


# stamps

STAMPS = [
    1,
    0,
    True,
    False,
    None,
    MISSING,
    "1",
    "true",
    "",
    "null",
    [1],
    [True],
    {"a": 1},
    '{"a": 1}',
    "[1]",
    [],
    {},
    2.5,
]


def test_stamps_that_differ_as_json_differ_whatever_their_page_is_like_otherwise() -> None:
    assert len(set(stamped(*STAMPS))) == len(STAMPS)
    assert set(stamped(*STAMPS)) == {bundle for value in STAMPS for bundle in stamped(value)}
    assert stamped(True, False) == [*stamped(True), *stamped(False)]


def test_stamps_that_are_the_same_json_are_equal_and_survive_a_file() -> None:
    assert stamped(1) == stamped(1.0)
    assert stamped({"a": 1, "b": 2}) == stamped({"b": 2, "a": 1})
    for bundle in stamped(*STAMPS):
        again = pickle.loads(pickle.dumps(bundle))
        assert again == bundle
        assert hash(again) == hash(bundle)


def test_arrays_and_objects_have_no_order_in_a_stamp() -> None:
    one, other = (bundle[-1] for bundle in stamped([1], [2]))
    with pytest.raises(TypeError):
        assert one < other


# what cannot be copied


def test_a_document_without_id_is_carried_so_that_it_can_be_rejected() -> None:
    id_, values, _ = unbundled(bundled([{"s0": 1}], ["k0"], ["s0"])[0], 1)
    assert id_ is None
    assert values == [MISSING]
    assert problem_of(id_, values, ["/a"]) == "has no id"


@pytest.mark.parametrize("id_", ["1", "a b", "ünï", " front", "\u0000", "a \u0000b", "...", ".a", "🎁"])
def test_an_id_that_can_be_part_of_an_address_is_none_to_reject(id_: str) -> None:
    assert problem_of(id_, ["key"], ["/a"]) is None


@pytest.mark.parametrize(
    "id_",
    ["", "a/b", "a\\b", "a?", "#", "blank ", "line\n", ".", "..", "a\tb", "a\r", "a\nb", "\ud800", "x\udfffy", None, 5],
)
def test_an_id_by_which_a_document_cannot_be_addressed_is_rejected(id_: Any) -> None:
    assert problem_of(id_, ["key"], ["/a"])


def test_a_key_with_half_a_surrogate_pair_is_rejected() -> None:
    assert problem_of("x", ["a", "b\ud800"], ["/a", "/b"])
    assert key_text(["a", "b"]) == '["a", "b"]'

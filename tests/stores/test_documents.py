"""Keys of documents: what a comparison carries of them says the same as they do, and no two become one."""

from __future__ import annotations

from typing import Any

import pytest

from backup_sync.stores.documents import MISSING, bundled, key_text, problem_of, unbundled

KEYS = [
    "a",
    "",
    'quote " and \\',
    "漢字 🎁",
    "\u0000",
    "null",
    "[1]",
    '"1"',
    "1",
    1,
    1.0,
    0,
    -0.0,
    True,
    False,
    None,
    2**53,
]


def carried(*values: Any) -> list[tuple[Any, ...]]:
    return bundled([{"i": "x", "k0": value, "s0": "s"} for value in values], ["k0"], ["s0"])


def test_keys_that_are_not_the_same_json_are_not_the_same_bundle() -> None:
    assert len(set(carried(*KEYS))) == len(KEYS)
    # Whatever their page is like otherwise.
    assert set(carried(*KEYS)) == {bundle for value in KEYS for bundle in carried(value)}


def test_a_bundle_gives_back_id_key_and_stamps_as_they_were() -> None:
    for value, bundle in zip(KEYS, carried(*KEYS), strict=True):
        assert repr(unbundled(bundle, 1)) == repr(("x", [value], ("s",)))
    (bundle,) = bundled([{"i": "x", "k0": "a", "k1": 2, "s1": [1, {"b": 2}]}], ["k0", "k1"], ["s0", "s1"])
    assert unbundled(bundle, 2) == ("x", ["a", 2], (None, '[1, {"b": 2}]'))
    hash(bundle)


def test_a_document_without_id_or_key_is_carried_so_that_it_can_be_rejected() -> None:
    id_, values, _ = unbundled(bundled([{"s0": 1}], ["k0"], ["s0"])[0], 1)
    assert id_ is None
    assert values == [MISSING]
    assert problem_of(id_, values, ["/a"]) == "has no id"
    assert "has no value for the partition key /a" in str(problem_of("x", values, ["/a"]))


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

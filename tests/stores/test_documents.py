"""Keys of documents: the quick way for a page of them says what the slow way says of each."""

from __future__ import annotations

import pytest

from backup_sync.stores.documents import all_good, key_text, key_texts, problem_of

TEXTS = ["a", "", 'quote " and \\', "ünïcödé 漢字 🎁", "\u0000\u001f\u2028", "null", "[1]", " "]
IDS = [
    "1",
    "a b",
    "ünï",
    "",
    "a/b",
    "a\\b",
    "a?",
    "#",
    "blank ",
    "line\n",
    " front",
    "\u0000",
    "a \u0000b",
    ".",
    "..",
    "...",
    ".a",
    "a\tb",
    "a\r",
    "a\nb",
    "\ud800",
    "x\udfffy",
    "🎁",
]


def test_many_keys_at_once_are_written_like_each_alone() -> None:
    assert key_texts(TEXTS) == [key_text([text]) for text in TEXTS]


@pytest.mark.parametrize("odd", [1, 1.5, True, None])
def test_a_key_that_is_no_text_is_not_taken_for_one(odd: object) -> None:
    with pytest.raises(TypeError):
        key_texts(["a", odd])  # type: ignore[list-item]


@pytest.mark.parametrize("id_", IDS)
def test_an_id_with_a_problem_never_passes_among_good_ones(id_: str) -> None:
    problem = problem_of(id_, ["key"], ["/a"])
    for ids in ([id_], ["x", id_], [id_, "x"], ["x", id_, "y"]):
        # The quick way may be too careful: the slow way then has the last word.
        assert not (problem and all_good(ids, TEXTS))
    assert all_good(["x", "y", "...", "🎁"], TEXTS)


def test_a_key_with_half_a_surrogate_pair_never_passes_among_good_ones() -> None:
    assert problem_of("x", ["a", "b\ud800"], ["/a", "/b"])
    assert not all_good(["x"], [*TEXTS, "\ud800"])

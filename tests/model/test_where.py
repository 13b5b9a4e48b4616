"""The setting ``where`` of a table as it stands in the file."""

from __future__ import annotations

from typing import Any

import pytest

from backup_sync.model.config import load_service
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.service import parse_service
from backup_sync.model.where import Condition, parse_where

ENTRY = {"source": "a", "backup": "b", "table": "app.Things", "changed": {"Version": "higher"}}


def test_a_value_is_what_the_column_equals_and_operators_are_all_asked() -> None:
    assert parse_where({"a": "x", "b": True, "c": {"in": [1, "2"]}, "d": {"at_least": 0.5, "below": 2}}) == (
        Condition("a", "in", ("x",)),
        Condition("b", "in", (True,)),
        Condition("c", "in", (1, "2")),
        Condition("d", "at_least", (0.5,)),
        Condition("d", "below", (2,)),
    )
    assert parse_where({"e": {"not": 5}, "f": {"not": [5, 6], "is_null": False}}) == (
        Condition("e", "not", (5,)),
        Condition("f", "not", (5, 6)),
        Condition("f", "is_null", (False,)),
    )


@pytest.mark.parametrize(
    "wanted, said",
    [
        ({}, "says nothing of Status; give a value, or one of in, not, at_least, below, is_null"),
        ({"like": "a%"}, "does not know like; known are in, not"),
        ({None: True}, "does not know None; known are in, not"),
        ({"in": []}, "the list of Status in 'where' is empty"),
        ({"in": "secret"}, "'in' of Status in 'where' has to be a list"),
        ({"not": []}, "the list of Status in 'where' is empty"),
        ({"not": {"in": [1]}}, "has to be text, a number, true or false"),
        ({"at_least": None}, "for NULL write {is_null: true}"),
        ({"below": [1]}, "gives Status a list"),
        ({"is_null": "yes"}, "'is_null' of Status in 'where' has to be true or false"),
        (None, "compares Status with nothing; for NULL write {is_null: true}"),
        (["secret"], "gives Status a list; write {in: […]}"),
        (float("nan"), "has to be text, a number, true or false"),
        ({"in": [float("inf")]}, "has to be text, a number, true or false"),
        ("secret\n", "the text of Status in 'where' holds a control character"),
        ("secret\0", "the text of Status in 'where' holds a control character"),
        ("secret\ud800", "the text of Status in 'where' holds a control character"),
    ],
)
def test_a_mistake_is_one_sentence_without_the_value(wanted: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        parse_service("thing", {**ENTRY, "where": {"Status": wanted}}, where="test")
    assert said in str(wrong.value)
    assert "secret" not in str(wrong.value)


def test_a_column_that_chooses_cannot_be_excluded() -> None:
    with pytest.raises(ConfigurationError, match="'exclude' names STATUS, which is in 'where'"):
        parse_service("thing", {**ENTRY, "where": {"Status": "x"}, "exclude": ["STATUS"]}, where="test")


def test_documents_are_chosen_by_equal_values_only() -> None:
    entry = {"source": "a", "backup": "b", "container": "c", "changed": {"version": "higher"}}
    assert parse_service("thing", {**entry, "where": {"type": "x", "n": 5, "b": True}}, where="test").conditions == ()
    for odd in ({"in": ["x"]}, 0.5, ["x"], None):
        with pytest.raises(ConfigurationError, match="'where' of a container compares a field with text"):
            parse_service("thing", {**entry, "where": {"type": odd}}, where="test")


def test_the_file_may_say_it_in_one_line(tmp_path: Any) -> None:
    path = tmp_path / "services.yaml"
    where = "{TenantId: 7, Status: {not: [deleted, test], is_null: false}, Day: {at_least: 2026-01-01}, Code: '01'}"
    text = "services: {things: {source: a, backup: b, table: app.T, changed: content, where: "
    path.write_text(f"{text}{where}}}}}")
    assert load_service(path, "things").conditions == (
        Condition("TenantId", "in", (7,)),
        Condition("Status", "not", ("deleted", "test")),
        Condition("Status", "is_null", (False,)),
        Condition("Day", "at_least", ("2026-01-01",)),
        Condition("Code", "in", ("01",)),
    )

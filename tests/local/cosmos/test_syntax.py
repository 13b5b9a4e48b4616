"""The words of Cosmos SQL: what is refused, and how the service says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError

# https://github.com/Azure/azure-cosmos-dotnet-v3/blob/main/Microsoft.Azure.Cosmos/src/Query/Core/Parser/sql.g4
_WRITTEN = """and array as asc between by desc distinct escape exists from group in join left like limit not offset or
order rank right select top value where udf true false null undefined"""
KEYWORDS = _WRITTEN.split()
NAMES = ["all", "first", "last", "count", "type", "name", "date", "user", "key", "having", "is", "end", "cast", "TRUE"]
DOCUMENT = {"id": "1", "pk": "a", "customer-id": "x", "customer": 5, "n": 3, **dict.fromkeys(KEYWORDS + NAMES, 7)}


@pytest.fixture(scope="module")
def words(database: DatabaseProxy) -> ContainerProxy:
    container = database.create_container("words", PartitionKey("/pk"))
    container.create_item(DOCUMENT)
    return container


def rows(container: ContainerProxy, text: str) -> list[Any]:
    return list(container.query_items(text, enable_cross_partition_query=True))


def refused(container: ContainerProxy, text: str) -> dict[str, Any]:
    """The first error of the service's error document."""
    with pytest.raises(CosmosHttpResponseError) as caught:
        rows(container, text)
    assert caught.value.status_code == 400
    text = caught.value.response.text()
    document = json.loads(json.loads(text)["message"].removeprefix("Message: ").partition("\r\n")[0])
    (error,) = document["errors"]
    assert error["severity"] == "Error"
    return dict(error)


@pytest.mark.parametrize("word", KEYWORDS)
def test_a_keyword_after_a_dot_is_a_syntax_error_and_in_brackets_a_property(words: ContainerProxy, word: str) -> None:
    error = refused(words, f"SELECT * FROM c WHERE c.{word} = 7")
    assert error["code"] == "SC1001"
    assert error["message"] == f"Syntax error, incorrect syntax near '{word}'."
    assert (error["location"]["start"], error["location"]["end"]) == (24, 24 + len(word))
    assert rows(words, f'SELECT VALUE c.id FROM c WHERE c["{word}"] = 7') == ["1"]


@pytest.mark.parametrize("word", ["GROUP", "Value", "oRdEr", "Left", "TOP"])
def test_the_case_of_a_keyword_does_not_matter(words: ContainerProxy, word: str) -> None:
    assert refused(words, f"SELECT c.{word} FROM c")["code"] == "SC1001"
    assert refused(words, f"SELECT c.id FROM c ORDER BY c.{word}")["code"] == "SC1001"
    assert refused(words, f"SELECT c.id AS {word} FROM c")["code"] == "SC1001"
    assert refused(words, f"SELECT * FROM {word}")["code"] == "SC1001"
    assert refused(words, f"SELECT * FROM c WHERE ARRAY_CONTAINS([7], c.n.{word})")["code"] == "SC1001"


@pytest.mark.parametrize("word", NAMES)
def test_a_word_that_is_no_keyword_is_a_name(words: ContainerProxy, word: str) -> None:
    assert rows(words, f"SELECT VALUE c.{word} FROM c") == [7]


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("c.customer-id = 'x'", "id"),
        ("c.customer - id = 'x'", "id"),
        ("c.customer-number-two = 'x'", "number"),
        ("customer = 5", "customer"),
        ("C.n = 3", "C"),
        ("root.n = 3", "root"),
        ("c.n = TRUE", "TRUE"),
        ("c.n = NULL", "NULL"),
        ("c.n = c[x]", "x"),
        ("c.n IN (1, three)", "three"),
        ("NOT IS_DEFINED(customer)", "customer"),
    ],
)
def test_a_name_that_is_not_the_alias_cannot_be_resolved(words: ContainerProxy, condition: str, name: str) -> None:
    error = refused(words, f"SELECT * FROM c WHERE {condition}")
    assert error["code"] == "SC2001"
    assert error["message"] == f"Identifier '{name}' could not be resolved."


def test_a_hyphenated_property_is_a_difference_unless_it_stands_in_brackets(words: ContainerProxy) -> None:
    assert rows(words, "SELECT VALUE c[\"customer-id\"] FROM c WHERE c['customer-id'] = 'x'") == ["x"]
    assert refused(words, "SELECT c.customer-id FROM c")["code"] == "SC2001"
    assert refused(words, "SELECT c.id FROM c ORDER BY c.customer-id")["code"] == "SC2001"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT * FROM c WHERE c.customer-id = = 1", "SC1001"),
        ("SELECT * FROM c WHERE other.n = 1 AND", "SC1001"),
        ("SELECT * FROM c WHERE c.n = 1;", "SC1010"),
        ("SELECT * FROM c WHERE c.$type = 1", "SC1010"),
        ("SELECT c.größe FROM c", "SC1010"),
        ("SELECT * FROM c WHERE c.first name = 1", "SC1001"),
        ("SELECT * FROM c WHERE c.2nd = 1", "SC1001"),
        ("SELECT * FROM c WHERE c.a/b = 1", "SC2001"),
        ("SELECT * FROM c WHERE c.id = 'a\\q'", "SC1012"),
        ("SELECT * FROM c WHERE c.id = 'a\nb'", "SC1010"),
        ("SELECT * FROM c WHERE FOO(c.n)", "SC2005"),
        ("SELECT {1: c.n} AS x FROM c", "SC1001"),
        ("SELECT * FROM c WHERE c.n IN ()", "SC1001"),
        ("SELECT * FROM c WHERE c.n IN (1,)", "SC1001"),
        ("SELECT *, c.n FROM c", "SC1001"),
        ("SELECT VALUE c.n AS n FROM c", "SC1001"),
        ("SELECT * FROM c d WHERE c.n = 1", "SC2001"),
    ],
)
def test_what_is_no_query_is_refused_by_the_services_code(words: ContainerProxy, text: str, code: str) -> None:
    assert refused(words, text)["code"] == code

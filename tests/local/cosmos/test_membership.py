"""Lists of ids and of partition key values in a query: compared by type, and found by the index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, DatabaseProxy, PartitionKey

from local.cosmos import query
from local.cosmos.paging import Scope, query_page
from local.cosmos.ranges import EVERYTHING, Slice
from local.cosmos.storage import Place, Store

VALUES: dict[str, Any] = {
    "null": None, "true": True, "false": False, "zero": 0, "one": 1, "float": 1.5, "text": "1", "empty": "",
    "array": [1], "object": {"a": 1}, "nul": "a\u0000b", "word": "true",
}  # fmt: skip
PRIMITIVE = set(VALUES) - {"array", "object"}
ALL = {*VALUES, "none"}


@pytest.fixture(scope="module")
def typed(database: DatabaseProxy) -> ContainerProxy:
    container = database.create_container("typed", PartitionKey("/pk"))
    for name, value in VALUES.items():
        container.create_item({"id": name, "pk": name, "the-value": value, "deep": {"order": value}})
    container.create_item({"id": "none", "pk": "none"})
    return container


@pytest.mark.parametrize("path", ['c["the-value"]', 'c["deep"]["order"]'])
@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("ARRAY_CONTAINS(@list, PATH)", [1], {"one"}),
        ("ARRAY_CONTAINS(@list, PATH)", [1.0, 0.0], {"one", "zero"}),
        ("ARRAY_CONTAINS(@list, PATH)", [True], {"true"}),
        ("ARRAY_CONTAINS(@list, PATH)", [False], {"false"}),
        ("ARRAY_CONTAINS(@list, PATH)", ["1", "true"], {"text", "word"}),
        ("ARRAY_CONTAINS(@list, PATH)", [None], {"null"}),
        ("ARRAY_CONTAINS(@list, PATH)", ["a\u0000b", ""], {"nul", "empty"}),
        ("ARRAY_CONTAINS(@list, PATH)", [None, 1, True, "1"], {"null", "one", "true", "text"}),
        ("ARRAY_CONTAINS(@list, PATH)", [], set()),
        ("NOT ARRAY_CONTAINS(@list, PATH)", [None, 1, True, "1"], set(VALUES) - {"null", "one", "true", "text"}),
        ("IS_DEFINED(PATH)", [], set(VALUES)),
        ("NOT IS_DEFINED(PATH)", [], {"none"}),
        ("IS_PRIMITIVE(PATH)", [], PRIMITIVE),
        ("NOT IS_PRIMITIVE(PATH)", [], ALL - PRIMITIVE),
        ("(ARRAY_CONTAINS(@list, PATH) OR NOT IS_PRIMITIVE(PATH))", [1], {"one"} | (ALL - PRIMITIVE)),
        ("ARRAY_CONTAINS(@ids, c['id']) AND (ARRAY_CONTAINS(@list, PATH) OR NOT IS_PRIMITIVE(PATH))", [1, "1"],
         {"one", "array", "none"}),
        ("ARRAY_CONTAINS(@ids, c['id']) AND ARRAY_CONTAINS(@list, PATH)", [None, "1", 1], {"one", "null"}),
    ],
)  # fmt: skip
def test_lists_are_compared_by_type(
    typed: ContainerProxy, path: str, condition: str, values: list[Any], expected: set[str]
) -> None:
    given = [
        {"name": "@list", "value": values},
        {"name": "@ids", "value": ["one", "array", "none", "null", "nobody"]},
    ]
    text = f"SELECT VALUE c.id FROM c WHERE {condition.replace('PATH', path)}"
    found = list(typed.query_items(text, parameters=given, enable_cross_partition_query=True))
    assert sorted(found) == sorted(expected)
    parts = [
        one for part in typed.read_feed_ranges() for one in typed.query_items(text, parameters=given, feed_range=part)
    ]
    assert sorted(parts) == sorted(expected)


def test_top_one_of_a_constant_tells_whether_there_is_any(typed: ContainerProxy) -> None:
    def asked(condition: str) -> list[Any]:
        text = f"SELECT TOP 1 VALUE 1 FROM c WHERE {condition}"
        return list(typed.query_items(text, enable_cross_partition_query=True))

    assert asked('IS_DEFINED(c["deep"]["order"])') == [1]
    assert asked('IS_DEFINED(c["deep"]["group"])') == []
    assert len(list(typed.query_items("SELECT VALUE 1 FROM c", enable_cross_partition_query=True))) == len(ALL)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """20,000 documents, put in without the server in between."""
    store = Store(tmp_path_factory.mktemp("many") / "many.sqlite", 4)
    query.install(store)
    with store.transaction():
        for number in range(20_000):
            name, key = f"d{number:05d}", number % 100
            parts = {"id": json.dumps(name), "pk": str(key), "text": json.dumps("x" * 100)}
            place = Place(1, "AAAAAAAAAAA=", "", "docs", f"{key * 5:032X}", f"[{key}]")
            store.insert(place, name, parts)
    return store


@pytest.mark.parametrize(
    "condition",
    [
        'ARRAY_CONTAINS(@ids, c["id"])',
        'ARRAY_CONTAINS(@ids, c["id"]) AND ARRAY_CONTAINS(@k0, c["pk"])',
        '(ARRAY_CONTAINS(@k0, c["pk"]) OR NOT IS_PRIMITIVE(c["pk"])) AND ARRAY_CONTAINS(@ids, c["id"])',
        'ARRAY_CONTAINS(@ids, c["id"]) OR (ARRAY_CONTAINS(@ids, c["id"]) AND IS_NULL(c["pk"]))',
    ],
)
@pytest.mark.parametrize("part", [EVERYTHING, Slice("", f"{250:032X}")])
def test_a_thousand_ids_are_looked_up_and_not_searched_for(many: Store, condition: str, part: Slice) -> None:
    ids = [f"d{number:05d}" for number in range(0, 20_000, 20)]
    keys = list(range(100))
    wanted = query.compiled(f"SELECT VALUE c.id FROM c WHERE {condition}", {"@ids": ids, "@k0": keys})
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1000
        return 0

    many.connection.set_progress_handler(count, 1000)
    try:
        page = query_page(many, wanted, Scope(1, part), 2000, None)
    finally:
        many.connection.set_progress_handler(None, 0)
    expected = ids if part == EVERYTHING else [name for name in ids if int(name[1:]) % 100 * 5 < 250]
    assert sorted(json.loads(text) for text in page.texts) == expected
    # A look at each document of the smaller slice alone takes more than 100,000.
    assert steps < 90_000

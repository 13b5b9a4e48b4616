"""Queries: what they select, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, DatabaseProxy, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError

from local.cosmos.compare import canonical

DOCUMENTS: list[dict[str, Any]] = [
    {"id": "int", "pk": "a", "x": 1, "n": 1},
    {"id": "float", "pk": "b", "x": 1.0, "n": 2},
    {"id": "two", "pk": "c", "x": 2, "n": 3},
    {"id": "text", "pk": "d", "x": "1", "n": 4},
    {"id": "true", "pk": "e", "x": True, "n": 5},
    {"id": "false", "pk": "f", "x": False, "n": 6},
    {"id": "null", "pk": "g", "x": None, "n": 7},
    {"id": "array", "pk": "h", "x": [1, "1", {"k": [1.0]}], "n": 8},
    {"id": "object", "pk": "i", "x": {"b": 2, "a": 1.0}, "n": 9},
    {"id": "none", "pk": "j", "n": 10},
    {"id": "upper", "pk": "k", "x": "B", "n": 11},
    {"id": "lower", "pk": "l", "x": "a", "n": 12},
    {"id": "accent", "pk": "m", "x": "é", "n": 13},
]
ALL = {document["id"] for document in DOCUMENTS}


def composite(*paths: str) -> dict[str, Any]:
    """An indexing policy with an index for ORDER BY with these keys."""
    return {"compositeIndexes": [[{"path": path, "order": "ascending"} for path in paths]]}


@pytest.fixture(scope="module")
def mixed(database: DatabaseProxy) -> ContainerProxy:
    container = database.create_container("mixed", PartitionKey("/pk"), indexing_policy=composite("/_ts", "/n"))
    for document in DOCUMENTS:
        container.create_item(document)
    return container


def rows(container: ContainerProxy, text: str, **parameters: Any) -> list[Any]:
    given = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
    return list(container.query_items(text, parameters=given, enable_cross_partition_query=True))


def ids(container: ContainerProxy, where: str, **parameters: Any) -> set[str]:
    return set(rows(container, f"SELECT VALUE c.id FROM c WHERE {where}", **parameters))


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("c.x = @v", 1, {"int", "float"}),
        ("c.x = @v", "1", {"text"}),
        ("c.x = @v", True, {"true"}),
        ("c.x = @v", False, {"false"}),
        ("c.x = @v", None, {"null"}),
        ("c.x = @v", {"a": 1, "b": 2}, {"object"}),
        ("c.x = @v", [1, "1", {"k": [1]}], {"array"}),
        ("c.x != @v", 1, {"two"}),
        ("c.x <> @v", 1, {"two"}),
        ("c.x != @v", "1", {"upper", "lower", "accent"}),
        ("c.x != @v", None, set()),
        ("c.x > @v", 1, {"two"}),
        ("c.x >= @v", 1, {"int", "float", "two"}),
        ("@v < c.x", 1, {"two"}),
        ("c.x < @v", "a", {"text", "upper"}),
        ("c.x > @v", "a", {"accent"}),
        ("c.x >= @v", False, {"true", "false"}),
        ("NOT (c.x = @v)", 1, {"two"}),
        ("c.x IN (@v, 2)", 1, {"int", "float", "two"}),
        ("c.x IN ('1', 2, null, true)", None, {"text", "two", "null", "true"}),
        ("c.x NOT IN (@v)", 1, {"two"}),
        ("c.x BETWEEN 1 AND @v", 2, {"int", "float", "two"}),
        ("c.n BETWEEN 3 AND @v AND c.x = '1'", 9, {"text"}),
        ("c.x NOT BETWEEN 2 AND @v", 3, {"int", "float"}),
        ("ARRAY_CONTAINS(@v, c.x)", [1, "a", None, {"a": 1, "b": 2.0}], {"int", "float", "lower", "null", "object"}),
        ("NOT ARRAY_CONTAINS(@v, c.x)", [1, "1", True], ALL - {"int", "float", "text", "true", "none"}),
        ("ARRAY_CONTAINS(c.x, @v)", 1, {"array"}),
        ("ARRAY_CONTAINS(c.x, @v)", {"k": [1]}, {"array"}),
        ("ARRAY_CONTAINS(c.x, @v)", True, set()),
        ("ARRAY_CONTAINS(@v, c.id)", ["int", "nobody"], {"int"}),
        ("c.id IN ('int', @v)", "null", {"int", "null"}),
        ("c.x.a = @v", 1, {"object"}),
        ("c['x'][\"b\"] = @v", 2, {"object"}),
        ("c.x[1] = @v", "1", {"array"}),
        ("STARTSWITH(c.id, @v)", "t", {"two", "text", "true"}),
        ("ENDSWITH(c.id, @v)", "e", {"true", "false", "none"}),
        ("CONTAINS(c.id, @v)", "u", {"true", "null", "upper"}),
        ("STARTSWITH(c.x, @v)", "1", {"text"}),
        ("c.n = @v OR c.n = 2", 1, {"int", "float"}),
        ("(c.n = @v OR c.n = 2) AND c.pk = 'a'", 1, {"int"}),
        ("c.nowhere = @v OR c.n = 1", 1, {"int"}),
        ("c.x = c.n AND @v = 1", 1, {"int"}),
    ],
)
def test_conditions_select_as_cosmos_does(mixed: ContainerProxy, where: str, value: Any, expected: set[str]) -> None:
    assert ids(mixed, where, v=value) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("IS_DEFINED(c.x)", ALL - {"none"}),
        ("NOT IS_DEFINED(c.x)", {"none"}),
        ("IS_DEFINED(c.x) = false", {"none"}),
        ("IS_NULL(c.x)", {"null"}),
        ("NOT IS_NULL(c.x)", ALL - {"null"}),
        ("IS_STRING(c.x)", {"text", "upper", "lower", "accent"}),
        ("IS_NUMBER(c.x)", {"int", "float", "two"}),
        ("IS_BOOL(c.x)", {"true", "false"}),
        ("IS_ARRAY(c.x)", {"array"}),
        ("IS_OBJECT(c.x)", {"object"}),
        ("c.x", {"true"}),
        ("NOT c.x", {"false"}),
        ("c.x = undefined", set()),
        ("true", ALL),
        ("false", set()),
        ("c.x = 1 -- a comment", {"int", "float"}),
        ("c.x = /* another */ '\\u0031'", {"text"}),
        ("c.x = \"1\"", {"text"}),
        ("c.x = -1 OR c.x = 1e0", {"int", "float"}),
    ],
)  # fmt: skip
def test_types_and_absence_are_told_apart(mixed: ContainerProxy, where: str, expected: set[str]) -> None:
    assert ids(mixed, where) == expected


def test_undefined_properties_are_left_out_of_projections(mixed: ContainerProxy) -> None:
    assert rows(mixed, "SELECT c.id, c.x, c.y.z AS deep FROM c WHERE c.id = 'none'") == [{"id": "none"}]
    assert rows(mixed, "SELECT c.id, c.x FROM c WHERE c.id = 'null'") == [{"id": "null", "x": None}]
    assert len(rows(mixed, "SELECT VALUE c.x FROM c")) == len(DOCUMENTS) - 1


def test_projections_of_each_form_have_the_shape_asked_for(mixed: ContainerProxy) -> None:
    where = "WHERE c.id = 'object'"
    assert rows(mixed, f'SELECT c.id, c["x"]["b"] AS b FROM c {where}') == [{"id": "object", "b": 2}]
    assert rows(mixed, f"SELECT VALUE c.x FROM c {where}") == [{"b": 2, "a": 1.0}]
    assert rows(mixed, f"SELECT VALUE {{'i': c.id, 'l': [c.n, 1, c.nowhere]}} FROM c {where}") == [
        {"i": "object", "l": [9, 1]}
    ]
    assert rows(mixed, "SELECT o.id FROM orders o WHERE o.n = 1") == [{"id": "int"}]
    assert rows(mixed, "SELECT o.id FROM orders AS o WHERE o.n = 1") == [{"id": "int"}]
    assert rows(mixed, "SELECT root.id FROM root WHERE root.n = 1") == [{"id": "int"}]
    assert rows(mixed, "SELECT IS_DEFINED(c.x) AS there, 'k' AS k FROM c WHERE c.n = 10") == [
        {"there": False, "k": "k"}
    ]
    whole = rows(mixed, f"SELECT VALUE c FROM c {where}")
    assert whole == rows(mixed, f"SELECT * FROM c {where}")
    assert whole[0]["_ts"] > 0


def test_property_names_in_brackets_may_be_keywords_and_need_no_ascii(container: ContainerProxy) -> None:
    container.create_item({"id": "1", "pk": "a", "order": 1, "value": 2, "größe": 3, "a b": 4, "from": {"select": 5}})
    text = 'SELECT c["order"], c["value"], c["größe"] AS g, c["a b"] AS ab, c["from"]["select"] AS s FROM c'
    assert list(container.query_items(text, partition_key="a")) == [
        {"order": 1, "value": 2, "g": 3, "ab": 4, "s": 5}
    ]  # fmt: skip
    assert list(container.query_items('SELECT VALUE c.id FROM c WHERE c["größe"] = 3', partition_key="a")) == ["1"]


@pytest.mark.parametrize(
    "name", ['say "no"', "back\\slash", "line\nbreak", "tab\t", "a.b", "a/b", "it's", "", "$", "[0]"]
)
def test_any_name_can_be_asked_for_in_brackets(container: ContainerProxy, name: str) -> None:
    for id_, value in {"1": 1.5, "2": "x", "3": None, "4": [1, {"k": 2}]}.items():
        container.create_item({"id": id_, "pk": "a", name: value, "inner": {name: [value]}})
    container.create_item({"id": "5", "pk": "a"})
    path = f"c[{json.dumps(name)}]"

    def found(text: str, *values: Any) -> list[Any]:
        given = [{"name": "@list", "value": list(values)}]
        return list(container.query_items(text, parameters=given, partition_key="a"))

    assert found(f"SELECT VALUE {path} FROM c") == [1.5, "x", None, [1, {"k": 2}]]
    assert found(f"SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(@list, {path})", 1.5, None) == ["1", "3"]
    assert found(f"SELECT VALUE c.id FROM c WHERE NOT IS_PRIMITIVE({path})") == ["4", "5"]
    assert found(f"SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED({path})") == ["5"]
    assert found(f"SELECT VALUE c.id FROM c WHERE {path}[1].k = 2") == ["4"]
    assert found(f"SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS({path}, 1)") == ["4"]
    assert found(f'SELECT VALUE c.id FROM c WHERE c["inner"][{json.dumps(name)}][0] = "x"') == ["2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT VALUE COUNT(1) FROM c", 13),
        ("SELECT VALUE COUNT(c.x) FROM c", 12),
        ("SELECT VALUE COUNT(1) FROM c WHERE c.n > 100", 0),
        ("SELECT VALUE MAX(c.n) FROM c", 13),
        ("SELECT VALUE MIN(c.n) FROM c WHERE c.n > 5", 6),
        ("SELECT VALUE SUM(c.n) FROM c", 91),
        ("SELECT VALUE AVG(c.n) FROM c", 7.0),
        ("SELECT VALUE MAX(c.id) FROM c", "upper"),
    ],
)
def test_aggregates_count_over_all_partitions(mixed: ContainerProxy, text: str, expected: Any) -> None:
    assert rows(mixed, text) == [expected]


def test_aggregates_of_one_partition_need_no_client(container: ContainerProxy) -> None:
    for n in (2**60 + 1, 2**60 + 3):
        container.create_item({"id": str(n), "pk": "a", "n": n})
    one = lambda text: list(container.query_items(text, partition_key="a"))  # noqa: E731
    assert one("SELECT VALUE COUNT(1) FROM c") == [2]
    assert one("SELECT COUNT(1) AS n, MAX(c.n) AS most FROM c") == [{"n": 2, "most": 2**60 + 3}]
    assert one("SELECT VALUE SUM(c.n) FROM c") == [2**61 + 4]
    assert one("SELECT VALUE MAX(c.nowhere) FROM c") == []


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_order_by_sorts_over_partitions_and_pages(mixed: ContainerProxy, size: int) -> None:
    def ordered(text: str) -> list[Any]:
        return list(mixed.query_items(text, enable_cross_partition_query=True, max_item_count=size))

    assert ordered("SELECT VALUE c.n FROM c ORDER BY c.n") == list(range(1, 14))
    assert ordered("SELECT VALUE c.n FROM c ORDER BY c.n DESC") == list(range(13, 0, -1))
    assert ordered("SELECT c.id FROM c WHERE c.n < 3 ORDER BY c.n DESC") == [{"id": "float"}, {"id": "int"}]
    assert [one["n"] for one in ordered("SELECT * FROM c ORDER BY c.n")] == list(range(1, 14))
    assert ordered("SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n") == [1, 2, 3]
    assert ordered("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 4 LIMIT 3") == [5, 6, 7]
    assert ordered("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 10 LIMIT 2") == [11, 12]
    assert ordered("SELECT VALUE c.id FROM c WHERE c._ts > 0 ORDER BY c._ts, c.n")[0] == "int"


def test_order_by_ranks_types_as_cosmos_does(container: ContainerProxy) -> None:
    values = [None, False, True, -1, 2.5, "A", "a", "é"]
    for n, value in enumerate(reversed(values)):
        container.create_item({"id": str(n), "pk": "a", "x": value})
    container.create_item({"id": "u", "pk": "a"})
    found = container.query_items("SELECT c.x FROM c ORDER BY c.x", partition_key="a", max_item_count=2)
    assert list(found) == [{}] + [{"x": value} for value in values]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_top_offset_and_distinct_hold_over_pages(mixed: ContainerProxy, size: int) -> None:
    def found(text: str) -> list[Any]:
        return list(mixed.query_items(text, enable_cross_partition_query=True, max_item_count=size))

    assert len(found("SELECT TOP 5 * FROM c")) == 5
    assert found("SELECT TOP 0 * FROM c") == []
    assert len(found("SELECT c.id FROM c OFFSET 10 LIMIT 100")) == 3
    assert len({one["id"] for one in found("SELECT c.id FROM c OFFSET 2 LIMIT 7")}) == 7
    values = found("SELECT DISTINCT VALUE c.x FROM c WHERE IS_NUMBER(c.x)")
    assert sorted(values) == [1, 2]


def test_several_keys_of_order_by_need_an_index_of_just_these(database: DatabaseProxy) -> None:
    policy = {"compositeIndexes": [*composite("/a", "/b/c")["compositeIndexes"], *composite('/"d e"', "/a")["compositeIndexes"],
        [{"path": "/a"}, {"path": "/n", "order": "descending"}]]}  # fmt: skip
    container = database.create_container("ordered", PartitionKey("/pk"), indexing_policy=policy)
    for order in ("c.a, c.b.c", "c.a ASC, c.b.c ASC", "c.a DESC, c.b.c DESC", 'c["d e"], c.a', "c.a", "c.n"):
        assert list(container.query_items(f"SELECT * FROM c ORDER BY {order}", partition_key="a")) == []
        assert list(container.query_items(f"SELECT * FROM c ORDER BY {order}", enable_cross_partition_query=True)) == []
    for order in ("c.b.c, c.a", "c.a, c.n", "c.a, c.b.c, c.n", "c.a, c.b"):
        for where in ({"partition_key": "a"}, {"enable_cross_partition_query": True}):
            with pytest.raises(CosmosHttpResponseError) as caught:
                list(container.query_items(f"SELECT * FROM c ORDER BY {order}", **where))  # type: ignore[call-overload]
            assert caught.value.status_code == 400
            assert "composite index" in caught.value.message


def test_top_and_offset_hold_over_pages_of_one_partition(database: DatabaseProxy) -> None:
    container = database.create_container("tops", PartitionKey("/pk"), indexing_policy=composite("/half", "/n"))
    for n in range(9):
        container.create_item({"id": str(n), "pk": "a", "n": n, "half": n // 2})
    found = lambda text: list(container.query_items(text, partition_key="a", max_item_count=2))  # noqa: E731
    assert found("SELECT TOP 5 VALUE c.n FROM c") == [0, 1, 2, 3, 4]
    assert found("SELECT VALUE c.n FROM c OFFSET 3 LIMIT 4") == [3, 4, 5, 6]
    assert found("SELECT DISTINCT VALUE c.half FROM c") == [0, 1, 2, 3, 4]
    assert found("SELECT DISTINCT TOP 3 VALUE c.half FROM c") == [0, 1, 2]
    assert found("SELECT DISTINCT VALUE c.half FROM c OFFSET 2 LIMIT 2") == [2, 3]
    assert found("SELECT VALUE c.n FROM c ORDER BY c.half DESC, c.n DESC") == list(range(8, -1, -1))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("SELECT c.id FROM c GROUP BY c.id", "GROUP BY"),
        ("SELECT c.id FROM c JOIN t IN c.x", "JOIN"),
        ("SELECT t FROM t IN c.x", "IN"),
        ("SELECT c.id FROM c WHERE c.id LIKE 'a%'", "LIKE"),
        ("SELECT c.n + 1 AS m FROM c", "+"),
        ("SELECT VALUE c.n ?? 1 FROM c", "??"),
        ("SELECT c.id FROM c WHERE EXISTS (SELECT 1 FROM c)", "EXISTS"),
        ("SELECT VALUE LOWER(c.id) FROM c", "LOWER"),
        ("SELECT c.id FROM c WHERE ARRAY_CONTAINS(c.x, {'a': 1}, true)", "ARRAY_CONTAINS"),
        ("SELECT c.id FROM c WHERE CONTAINS(c.x, 'a', true)", "CONTAINS"),
        ("SELECT c.id FROM c ORDER BY c.n, c.x DESC", "ORDER BY"),
        ("SELECT c.id, COUNT(1) FROM c", "aggregates"),
        ("SELECT 1", "FROM"),
    ],
)
def test_what_is_not_supported_is_400_and_named(mixed: ContainerProxy, text: str, named: str) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        list(mixed.query_items(text, partition_key="a"))
    assert caught.value.status_code == 400
    assert named in caught.value.message
    assert "does not support" in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["SELECT", "SELECT * FRM c", "SELECT * FROM c WHERE", "SELECT * FROM c WHERE c.x = ", "SELECT d.x FROM c",
     "SELECT * FROM c WHERE c.x = @missing", "SELECT * FROM c WHERE c.x = 'open", "SELECT * FROM c extra words",
     "SELECT TOP 'a' * FROM c", "SELECT * FROM c; DELETE", "SELECT * FROM c WHERE " + "(" * 5000],
)  # fmt: skip
def test_a_malformed_query_is_400(mixed: ContainerProxy, text: str) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        list(mixed.query_items(text, partition_key="a"))
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    "hostile", ["'); DROP TABLE resource; --", "' OR '1'='1", "\\", "\u0000", "%_*?[", "a\u0000b", "\ud800", "é"]
)
def test_values_and_names_in_a_query_are_never_run_as_sql(container: ContainerProxy, hostile: str) -> None:
    container.create_item({"id": "1", "pk": "a", "x": hostile})
    container.create_item({"id": "2", "pk": "a", "x": "other"})
    container.create_item({"id": "3", "pk": "a", "x": "a\u0000c"})
    given = [{"name": "@v", "value": hostile}]
    for where in ("c.x = @v", "c.x IN (@v)", "ARRAY_CONTAINS([@v], c.x)"):
        text = f"SELECT VALUE c.id FROM c WHERE {where}"
        assert list(container.query_items(text, parameters=given, partition_key="a")) == ["1"], where
    text = "SELECT VALUE c.id FROM c WHERE c[\"x') OR ('1'='1\"] = 1"
    assert list(container.query_items(text, partition_key="a")) == []


def test_a_query_over_partitions_has_to_be_allowed(mixed: ContainerProxy) -> None:
    with pytest.raises(CosmosHttpResponseError) as caught:
        list(mixed.query_items("SELECT * FROM c"))
    assert caught.value.status_code == 400
    assert "Cross partition query is required" in caught.value.message


def test_read_items_finds_each_document_once_and_leaves_out_the_missing(container: ContainerProxy) -> None:
    wanted = [(str(n), f"p{n % 7}") for n in range(120)]
    for id_, key in wanted:
        container.create_item({"id": id_, "pk": key})
    found = container.read_items([*wanted, ("missing", "p1"), ("1", "other")])
    assert [(one["id"], one["pk"]) for one in found] == wanted


def test_read_items_of_two_thousand_ids_fits_into_a_query(container: ContainerProxy) -> None:
    container.create_item({"id": "7", "pk": "k7"})
    found = container.read_items([(str(n), f"k{n}") for n in range(2000)])
    assert [one["id"] for one in found] == ["7"]


def test_read_items_works_where_the_id_is_the_partition_key(database: DatabaseProxy) -> None:
    container = database.create_container("by_id", PartitionKey("/id"))
    for n in range(30):
        container.create_item({"id": str(n), "n": n})
    found = container.read_items([(str(n), str(n)) for n in range(30)])
    assert [one["n"] for one in found] == list(range(30))


def test_equal_arrays_and_objects_have_one_canonical_form() -> None:
    assert canonical('{"a": 1.0, "b": [true]}') == canonical({"b": [True], "a": 1})
    assert canonical("[1]") != canonical("[true]")
    assert canonical('["1"]') != canonical("[1]")

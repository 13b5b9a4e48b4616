from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_sync.model.config import Declared, load_service, read_services
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.running import Running
from backup_sync.model.service import parse_service

SHIPPED = Path(__file__).resolve().parents[2] / "dags" / "backup_sync.yaml"
GOOD = "services: {thing: {source: a, backup: b, table: app.Things, changed: {Version: higher}}}"


def load(tmp_path: Path, text: str, name: str = "thing"):
    path = tmp_path / "backup_sync.yaml"
    path.write_text(text, encoding="utf-8")
    return load_service(path, name)


def test_the_shipped_file_declares_customer_and_order():
    assert list(read_services(SHIPPED).services) == ["customer", "order"]
    customer, order = load_service(SHIPPED, "customer"), load_service(SHIPPED, "order")
    assert (customer.table, customer.changed) == ("customer.Customers", {"Version": "higher"})
    assert (order.container, order.where) == ("orders", {"type": "Order"})
    assert order.changed == {"lastModified": "newer", "status": "different"}


def test_defaults_are_the_documented_ones(tmp_path):
    service = load(tmp_path, GOOD)
    assert (service.guard.share, service.guard.count, service.concurrency) == (0.20, 10, 16)


@pytest.mark.parametrize(
    "text, message",
    [
        ("services: [", r"is not valid YAML at line 1"),
        ("thing: {}", r"must hold the top-level key 'services'"),
        ("services: {}", r"no service is declared"),
        ("services: {thing: 5}", r"line 1: service 'thing' must be a mapping"),
        (GOOD.replace("table: app.Things, ", ""), r"either a table or a container"),
        (GOOD.replace("table", "container: c, table"), r"either a table or a container"),
        (GOOD.replace("app.Things", "Things"), r"table: write it as schema\.table"),
        (GOOD.replace("Version: higher", "Version: bigger"), r"changed\.Version: Input should be 'higher', 'newer' or"),
        (GOOD.replace("{Version: higher}", "{}"), r"changed: name a field and its rule, or write 'changed: content'"),
        (GOOD.replace("source: a", "source: 5"), r"source: Input should be a valid string"),
        (GOOD.replace("source: a, ", ""), r"source: Field required"),
        (GOOD.replace("backup: b", "backup: a"), r"the same connection"),
        (GOOD.replace("source", "sauce: x, source"), r"unknown field 'sauce' \(known: source, backup, table"),
        (GOOD.replace("table", "guard: {share: 2}, table"), r"guard\.share: Input should be less than or equal to 1"),
        (GOOD.replace("table", "where: {x: [1]}, table"), r"'where' gives x a list; write"),
        (GOOD.replace("table: app.Things", "container: c, on_schema_change: evolve"), r"works for tables only"),
        (
            GOOD.replace("table", "on_schema_change: ask, table"),
            r"on_schema_change: Input should be 'evolve' or 'fail'",
        ),
        (GOOD.replace("table", "name: x, table"), r"remove 'name'"),
    ],
)
def test_a_mistake_is_named_with_its_field(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


def declared(tmp_path: Path, text: str | bytes) -> Declared:
    path = tmp_path / "services.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_services(path)


ENTRY = "{source: a, backup: b, table: app.Things, changed: {Version: higher}}"


@pytest.mark.parametrize(
    "name, problem",
    [
        ("'a b'", "may hold only ASCII letters"),
        ("a.b", "may hold only ASCII letters"),
        ("'{{ x }}'", "may hold only ASCII letters"),
        ("kunde_ß", "may hold only ASCII letters"),
        ("''", "must begin with a letter"),
        ("'2024'", "must begin with a letter"),
        ("_x", "must begin with a letter"),
        ("2024", "no text"),
        ("true", "no text"),
        ("~", "no text"),
        ("? [a]", "no text"),
        ("None", "no Python constant"),
        ("all", "that word means every service"),
        ("summary", "a task of the DAG is called so"),
        ("n" * 101, "101 characters; Airflow takes 100"),
    ],
)
def test_a_name_that_would_break_the_dag_is_named_with_file_and_line_and_the_other_services_are_there(
    tmp_path, name, problem
):
    found = declared(tmp_path, f"services:\n  {name} : {ENTRY}\n  good: {ENTRY}\n")
    assert list(found.services) == ["good"]
    ((_, said),) = found.problems.items()
    assert said.startswith(f"{tmp_path}/services.yaml, line 2: service ")
    assert problem in said
    assert load_service(tmp_path / "services.yaml", "good").name == "good"


@pytest.mark.parametrize("name", ["customer", "No", "NO", "y", "off", "a-b_C9", "n" * 100])
def test_any_other_name_is_a_good_one(tmp_path, name):
    assert declared(tmp_path, f"services: {{{name}: {ENTRY}}}") == Declared({name: parsed(ENTRY)}, {name: Running()})


def parsed(text: str) -> Any:
    return yaml.safe_load(text)


@pytest.mark.parametrize(
    "entry, given",
    [
        ("{source: a, source: b}", "'source'"),
        ("{'source': a, source: b}", "'source'"),
        ("{changed: {Version: higher, Version: newer}}", "'Version'"),
        ("{guard: {share: 0.1, share: 0.2}}", "'share'"),
        ("{<<: {table: a.b, table: a.c}}", "'table'"),
    ],
)
def test_a_setting_that_is_given_twice_is_that_services_mistake(tmp_path, entry, given):
    found = declared(tmp_path, f"services:\n  twice: {entry}\n  good: {ENTRY}\n")
    assert list(found.services) == ["good"]
    assert f"service 'twice' cannot be read: {given} is given twice, in lines 2 and 2" in found.problems["twice"]
    with pytest.raises(ConfigurationError, match="is given twice"):
        load_service(tmp_path / "services.yaml", "twice")


def test_a_service_that_is_declared_twice_is_neither_of_both(tmp_path):
    found = declared(tmp_path, f"services:\n  one: {ENTRY}\n  good: {ENTRY}\n  'one': {ENTRY}\n")
    assert list(found.services) == ["good"]
    assert "line 4: service 'one' is declared in line 2 already" in found.problems["one"]


def test_what_is_merged_in_may_be_given_again(tmp_path):
    text = f"services:\n  one: &one {ENTRY}\n  two: &two {{<<: *one, backup: c}}\n  three: {{<<: *two, backup: d}}\n"
    found = declared(tmp_path, text)
    assert [entry["backup"] for entry in found.services.values()] == ["b", "c", "d"]
    assert found.problems == {}


@pytest.mark.parametrize(
    "entry", ["5", "[]", "~", "text", "&x {a: *x}", "{? [1] : 2}", "{x: !!python/object:os.system 1}", "{x: !mine y}"]
)
def test_an_entry_that_cannot_be_read_is_that_services_mistake(tmp_path, entry):
    found = declared(tmp_path, f"services:\n  bad: {entry}\n  good: {ENTRY}\n")
    assert list(found.services) == ["good"]
    assert found.problems["bad"].startswith(f"{tmp_path}/services.yaml, line 2: service 'bad' ")


@pytest.mark.parametrize(
    "data, problem",
    [
        (b'services: {a: {x: "caf\xe9"}}', r"line 1, holds a byte that is not UTF-8 \(0xe9\); save the file as UTF-8"),
        (b"services:\n  a: {}\n# \x80\n", r"line 3, holds a byte that is not UTF-8"),
        ("services: {a: {}}".encode("utf-16"), r"is UTF-16 text; save it as UTF-8"),
        ("services: {a: {}}".encode("utf-16-le"), r"is not valid YAML"),
        (b"services: {a: {x: y\x00}}", r"is not valid YAML"),
        (b"services: [", r"is not valid YAML at line 1, column 12"),
        (b"services: {a: *nobody}", r"undefined alias"),
        (b"services: {a: {}}\n--- {}", r"another document"),
        (b"services: " + b"[" * 5000, r"nested too deeply"),
        (b"", r"must hold the top-level key 'services'"),
        (b"services: {}\nservices: {}", r"must hold the top-level key 'services'"),
        (b"services: {a: {}}\nmore: 1", r"must hold the top-level key 'services'"),
        (b"- services", r"must hold the top-level key 'services'"),
        (b"services: [a]", r"must hold the top-level key 'services'"),
        (b"services:", r"no service is declared"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_no_exception(tmp_path, data, problem):
    found = declared(tmp_path, data)
    assert found.services == {}
    ((name, said),) = found.problems.items()
    assert name == "services_file"
    assert said.startswith(f"{tmp_path}/services.yaml")
    assert re.search(problem, said)
    with pytest.raises(ConfigurationError, match=problem):
        load_service(tmp_path / "services.yaml", "a")


def test_a_mark_for_utf_8_at_the_beginning_is_no_part_of_the_file(tmp_path):
    assert list(declared(tmp_path, b"\xef\xbb\xbf" + f"services: {{a: {ENTRY}}}".encode()).services) == ["a"]


def test_a_file_that_is_a_folder_is_named(tmp_path):
    assert "cannot be read" in read_services(tmp_path).problems["services_file"]


def test_a_missing_file_and_an_unknown_service_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"does not exist; create it or name another"):
        load_service(tmp_path / "nothing.yaml", "thing")
    with pytest.raises(ConfigurationError, match=r"unknown service 'nope'; backup_sync\.yaml declares: thing"):
        load(tmp_path, GOOD, "nope")


def test_a_value_in_the_wrong_place_is_not_repeated(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GOOD.replace("source: a", "source: a, password: hunter2, guard: hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text, value",
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("01234", "01234"),
        ("12:30:45", "12:30:45"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("17", 17),
        ("-3", -3),
        ('"17"', "17"),
    ],
)
def test_only_what_is_plainly_no_text_is_read_as_none(tmp_path, text, value):
    path = tmp_path / "services.yaml"
    path.write_text(
        f"services: {{things: {{source: a, backup: b, container: c, changed: {{No: higher}}, where: {{x: {text}}}}}}}"
    )
    found = load_service(path, "things")
    assert (found.where["x"], type(found.where["x"])) == (value, type(value))
    assert found.changed == {"No": "higher"}


@pytest.mark.parametrize("field", ["table: app.Things", "container: things"])
def test_two_services_that_lead_to_one_copy_are_refused_by_both_names_and_the_others_are_not(tmp_path, field):
    path = tmp_path / "services.yaml"
    entry = f"{{source: a, backup: b, {field}, changed: {{Version: higher}}}}"
    path.write_text(f"services: {{one: {entry}, two: {entry}, three: {entry.replace('b,', 'c,')}}}")
    for name, other in (("one", "two"), ("two", "one")):
        with pytest.raises(ConfigurationError, match=f"services {name} and {other} lead to the same copy"):
            load_service(path, name)
    assert load_service(path, "three").backup == "c"


@pytest.mark.parametrize("field", ["_ts", "_etag", "_rid", "_self", "_attachments", "_ts/x", '"_ts"'])
@pytest.mark.parametrize("setting", ["changed", "where"])
def test_what_cosmos_db_assigns_anew_in_a_copy_is_no_stamp_and_no_condition(setting, field):
    entry = {"source": "a", "backup": "b", "container": "c", "changed": {"version": "higher"}}
    entry[setting] = {field: "higher"}
    with pytest.raises(ConfigurationError, match=r"Cosmos DB assigns .* anew in the copy"):
        parse_service("things", entry, where="test")


def test_a_column_of_a_table_may_be_called_like_that():
    entry = {"source": "a", "backup": "b", "table": "app.Things", "changed": {"_ts": "higher"}}
    assert parse_service("things", entry, where="test").fields == ("_ts",)


@pytest.mark.parametrize("table", ["app.SyncHistory", "app.synchistory", "app.SyncHistory_Unfilled", "app.SyncState"])
def test_a_table_called_as_one_that_the_backup_needs_is_refused(table):
    entry = {"source": "a", "backup": "b", "table": table, "changed": {"Version": "higher"}}
    with pytest.raises(ConfigurationError, match="is called as one that the backup needs for its history"):
        parse_service("things", entry, where="test")


SHARED = """
defaults:
  source: src
  keep_history: 30d
  guard: {share: 0.1, count: 5}
  airflow: {retries: 4, owner: crm}
  changed: {Version: higher}
services:
  a: {backup: b, table: app.A}
  b: {backup: b, table: app.B, changed: {ModifiedAt: newer}, guard: {count: 7}, airflow: {retries: 1}, keep_history: null}
"""


def test_what_all_services_share_is_said_once_and_each_may_have_its_own(tmp_path):
    found = declared(tmp_path, SHARED)
    assert found.problems == {}
    assert found.services["a"]["changed"] == {"Version": "higher"}
    assert found.services["b"]["changed"] == {"ModifiedAt": "newer"}, "a rule of its own replaces the shared one"
    assert (found.running["a"].retries, found.running["a"].owner) == (4, "crm")
    assert (found.running["b"].retries, found.running["b"].owner) == (1, "crm")
    a, b = (load_service(tmp_path / "services.yaml", name) for name in "ab")
    assert (a.source, a.keep_history, a.guard.share, a.guard.count) == ("src", "30d", 0.1, 5)
    assert (b.keep_history, b.guard.share, b.guard.count) == (None, 0.1, 7)


def test_defaults_that_are_no_mapping_are_a_mistake_of_the_file(tmp_path):
    found = declared(tmp_path, f"defaults: 7\nservices: {{a: {ENTRY}}}")
    assert "'defaults' must be a mapping of settings" in found.problems["services_file"]


@pytest.mark.parametrize(
    "text", ["? [a, b]\n: 1\nservices: {}", "? {a: 1}\n: 1\nservices: {}", "{[a]: 1, services: {}}"]
)
def test_a_top_level_key_that_is_no_text_is_a_mistake_of_the_file(tmp_path, text):
    assert "must hold the top-level key" in declared(tmp_path, text).problems["services_file"]


def test_a_group_or_defaults_left_empty_say_nothing(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(f"defaults:\n  airflow: {{retries: 4}}\nservices:\n  a: {ENTRY[:-1]}, airflow: null}}\n")
    assert read_services(path).running["a"].retries == 4
    path.write_text(f"defaults:\nservices:\n  a: {ENTRY}\n")
    assert read_services(path).problems == {}

from __future__ import annotations

from pathlib import Path

import pytest

from backup_sync.config import load_service, read_services
from backup_sync.core.errors import ConfigurationError
from backup_sync.service import parse_service

SHIPPED = Path(__file__).resolve().parents[1] / "dags" / "backup_sync.yaml"
GOOD = "services: {thing: {source: a, backup: b, table: app.Things, changed: {Version: higher}}}"


def load(tmp_path: Path, text: str, name: str = "thing"):
    path = tmp_path / "backup_sync.yaml"
    path.write_text(text, encoding="utf-8")
    return load_service(path, name)


def test_the_shipped_file_declares_customer_and_order():
    assert list(read_services(SHIPPED)) == ["customer", "order"]
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
        ("thing: {}", r"must hold one top-level key, 'services'"),
        ("services: {}", r"no service is declared"),
        ("services: {thing: 5}", r"services\.thing must be a mapping"),
        ("services: {'a b': {}}", r"service name 'a b' may hold only"),
        ("services: {'2024': {}}", r"must begin with a letter"),
        ("services: {'None': {}}", r"no Python constant"),
        ("services: {all: {}}", r"cannot be called 'all'"),
        (GOOD.replace("table: app.Things, ", ""), r"either a table or a container"),
        (GOOD.replace("table", "container: c, table"), r"either a table or a container"),
        (GOOD.replace("app.Things", "Things"), r"table: write it as schema\.table"),
        (GOOD.replace("Version: higher", "Version: bigger"), r"changed\.Version: Input should be 'higher', 'newer' or"),
        (GOOD.replace("{Version: higher}", "{}"), r"changed: Dictionary should have at least 1 item"),
        (GOOD.replace("source: a", "source: 5"), r"source: Input should be a valid string"),
        (GOOD.replace("source: a, ", ""), r"source: Field required"),
        (GOOD.replace("backup: b", "backup: a"), r"the same connection"),
        (GOOD.replace("source", "sauce: x, source"), r"unknown field 'sauce' \(known: source, backup, table"),
        (GOOD.replace("table", "guard: {share: 2}, table"), r"guard\.share: Input should be less than or equal to 1"),
        (GOOD.replace("table", "where: {x: 1}, table"), r"'where' works for containers only"),
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
    with pytest.raises(ConfigurationError, match="is called as a table that the backup needs for itself"):
        parse_service("things", entry, where="test")

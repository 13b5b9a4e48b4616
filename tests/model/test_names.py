"""How a table's name is written."""

from __future__ import annotations

import pytest

from backup_sync.model.config import load_service
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.names import parse_table
from backup_sync.model.service import parse_service


@pytest.mark.parametrize(
    "text, found",
    [
        ("customer.Customers", ("customer", "Customers")),
        ("[customer].[Customers]", ("customer", "Customers")),
        ('"customer".Customers', ("customer", "Customers")),
        ("main.[75D0FFDC.Settings]", ("main", "75D0FFDC.Settings")),
        ('main."75D0FFDC.Settings"', ("main", "75D0FFDC.Settings")),
        ("[a.b].[c.d]", ("a.b", "c.d")),
        ("a.[b]]c]", ("a", "b]c")),
        ('a."b""c"', ("a", 'b"c')),
        ("a.b c", ("a", "b c")),
        ("a.straße", ("a", "straße")),
        ("a.b]", ("a", "b]")),
    ],
)
def test_a_table_is_found_however_it_is_written(text, found):
    assert parse_table(text) == found


@pytest.mark.parametrize(
    "text", ["Customers", "a.b.c", "a.", ".b", "[a.b", "a.[b]c", "[a]b.c", '"a.b', "a.[]", "[a].[b].[c]"]
)
def test_what_is_not_schema_and_table_is_refused_with_the_spelling_to_use(text):
    entry = {"source": "a", "backup": "b", "table": text, "changed": {"Version": "higher"}}
    with pytest.raises(ConfigurationError, match=r"table: write it as schema\.table.*customer\.\[My\.Table\]"):
        parse_service("thing", entry, where="test")


@pytest.mark.parametrize("one, other", [("app.Things", "[app].Things"), ('app."Things"', "[app].[Things]")])
def test_two_services_that_lead_to_one_copy_are_found_however_it_is_written(tmp_path, one, other):
    path = tmp_path / "services.yaml"
    entry = "{{source: a, backup: b, table: '{}', changed: {{Version: higher}}}}"
    path.write_text(f"services: {{one: {entry.format(one)}, two: {entry.format(other)}}}")
    with pytest.raises(ConfigurationError, match="services one and two lead to the same copy"):
        load_service(path, "one")


@pytest.mark.parametrize("table", ["app.[SyncHistory]", 'app."synchistory"', "[app].[SYNCSTATE]"])
def test_a_table_that_the_backup_needs_for_itself_is_refused_however_it_is_written(table):
    entry = {"source": "a", "backup": "b", "table": table, "changed": {"Version": "higher"}}
    with pytest.raises(ConfigurationError, match="is called as one that the backup needs for its history"):
        parse_service("thing", entry, where="test")

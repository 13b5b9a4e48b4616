"""``python -m backup_sync declare``: entries for tables that are there, right as they stand or a comment that says why not."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_sync.__main__ import main
from backup_sync.model.config import load_service, read_services
from backup_sync.model.declaring import Declarable, entries, stamp_of


def declared(found: list[Declarable], tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "services.yaml"
    path.write_text("\n".join(entries("crm_source", "crm_backup", found)))
    services = read_services(path).services
    for name in services:
        load_service(path, name)
    return services


@pytest.mark.parametrize(
    "columns, stamp",
    [
        ({"Id": "int", "RowVer": "binary(8)", "Version": "int"}, ("RowVer", "higher")),
        ({"Id": "int", "Version": "int", "ModifiedAt": "datetime2(7)"}, ("Version", "higher")),
        ({"Id": "int", "row_version": "bigint"}, ("row_version", "higher")),
        ({"Id": "int", "Version": "nvarchar(20)", "LastModified": "datetime2(7)"}, ("LastModified", "newer")),
        ({"Id": "int", "updated_at": "TEXT"}, ("updated_at", "newer")),
        ({"Id": "int", "last_changed_utc": "datetimeoffset(7)"}, ("last_changed_utc", "newer")),
        ({"Id": "int", "CreatedAt": "datetime2(7)", "Conversion": "int", "ModifiedBy": "nvarchar(50)"}, None),
    ],
)
def test_the_column_that_tells_when_a_row_changed_is_known_by_type_and_name(
    columns: dict[str, str], stamp: tuple[str, str] | None
) -> None:
    stamps = [name for name, kind in columns.items() if kind == "binary(8)"]
    assert stamp_of(Declarable("app", "T", columns, ["Id"], stamps)) == stamp


def test_what_is_printed_can_be_pasted_and_what_cannot_be_backed_up_is_a_comment(tmp_path: Path) -> None:
    good = {"Id": "int", "Version": "int"}
    found = [
        Declarable("crm", "CustomerOrders", good, ["Id"]),
        Declarable("old", "CustomerOrders", good, ["Id"]),
        Declarable("crm", "My.Odd [Table]", good, ["Id"]),
        Declarable("crm", "7days", good, ["Id"]),
        Declarable("crm", "NoKey", good, []),
        Declarable("crm", "NoStamp", {"Id": "int", "Name": "text"}, ["Id"]),
        Declarable("crm", "Masked", {}, [], problem="column x is masked"),
    ]
    services = declared(found, tmp_path)
    assert {name: entry["table"] for name, entry in services.items()} == {
        "customer_orders": "crm.CustomerOrders",
        "old_customer_orders": "old.CustomerOrders",
        "my_odd_table": "crm.[My.Odd [Table]]]",
        "table_7days": "crm.7days",
        "no_stamp": "crm.NoStamp",
    }
    assert services["no_stamp"]["changed"] == "content"
    text = (tmp_path / "services.yaml").read_text()
    assert "# crm.NoKey: it has no primary key" in text
    assert "# crm.Masked: column x is masked" in text


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE Items (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL)")
        db.execute(
            "CREATE TABLE OrderLines (OrderId INT NOT NULL, Line INT NOT NULL, UpdatedAt TEXT, PRIMARY KEY (OrderId, Line))"
        )
        db.execute("CREATE TABLE Items_Undo (Id INTEGER)")
        db.execute("CREATE TABLE SyncState (Name TEXT)")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_SOURCE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def test_a_connection_is_read_and_what_this_package_made_is_left_out(shop: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["declare", "shop_source"]) == 0
    services = yaml.safe_load(capsys.readouterr().out)["services"]
    assert services == {
        "items": {
            "source": "shop_source",
            "backup": "shop_backup",
            "table": "main.Items",
            "changed": {"Version": "higher"},
        },
        "order_lines": {
            "source": "shop_source",
            "backup": "shop_backup",
            "table": "main.OrderLines",
            "changed": {"UpdatedAt": "newer"},
        },
    }


def test_only_tables_like_the_pattern_are_declared(shop: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["declare", "shop_source", "*.order*", "--backup", "elsewhere"]) == 0
    services = yaml.safe_load(capsys.readouterr().out)["services"]
    assert {name: entry["backup"] for name, entry in services.items()} == {"order_lines": "elsewhere"}
    assert main(["declare", "shop_source", "crm.*"]) == 1
    assert "no table is called like crm.*" in capsys.readouterr().err


def test_a_connection_to_containers_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS", json.dumps({"conn_type": "azure_cosmos", "login": "https://x/"}))
    assert main(["declare", "orders"]) == 1
    assert "connection orders leads to containers" in capsys.readouterr().err

"""The commands that make what a connection may not make: right for every name, and those that the docs show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from backup_sync.stores.cosmos.account import Account
from backup_sync.stores.cosmos.catalog import HISTORY_SHAPE
from backup_sync.stores.cosmos.making import ContainerShape, commands

CONNECTIONS = Path(__file__).resolve().parents[3] / "docs" / "connections.md"
ACCOUNT = Account("https://orders-backup.documents.azure.com:443/", "", "orderdb-backup", "orders")


def one(name: str, shape: ContainerShape) -> str:
    [command] = commands(ACCOUNT, {name: shape}, database=False)
    return command


def test_the_docs_show_the_commands_as_they_are_logged() -> None:
    text = CONNECTIONS.read_text(encoding="utf-8").partition("### Containers that you create")[2]
    [block] = re.findall(r"```bash\n(.*?)```", text.partition("\n### ")[0], re.DOTALL)
    shape = ContainerShape(("/customerId",), "Hash", 2)
    wanted = {"orders": shape, "sync-history": HISTORY_SHAPE, "orders-undo": shape}
    assert re.sub(r"\s*\\\n\s*", " ", block).splitlines() == commands(ACCOUNT, wanted, database=True)


@pytest.mark.parametrize("name", ["orders", "my orders", "it's", "$(touch x)", "`x`", "a;b", "-n", "ü"])
def test_a_name_stays_one_word_whatever_is_in_it(name: str) -> None:
    words = shlex.split(one(name, ContainerShape((f'/"{name}"',), "Hash", 1)))
    assert words[words.index("--name") + 1] == name
    assert words[-4:] == ["--partition-key-path", f'/"{name}"', "--partition-key-version", "1"]


def test_a_hierarchical_key_is_for_powershell_with_all_of_its_paths_in_order() -> None:
    shape = ContainerShape(("/tenant", "/it's", "/deep/er"), "MultiHash", 2)
    assert one("my 'orders'", shape) == (
        "New-AzCosmosDBSqlContainer -ResourceGroupName '<resource-group>' -AccountName 'orders-backup' -DatabaseName "
        "'orderdb-backup' -Name 'my ''orders''' -PartitionKeyKind MultiHash -PartitionKeyPath @('/tenant','/it''s','/deep/er') "
        "-PartitionKeyVersion 2"
    )

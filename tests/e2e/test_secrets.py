"""The page about secrets backends: its steps are done, its names and values read by the backends themselves."""

from __future__ import annotations

import json
import re
import sqlite3
from configparser import ConfigParser
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.e2e import page

PAGE = (page.ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
STEPS = page.blocks(PAGE.partition("\n## Try it with a file")[2])


@pytest.mark.airflow
def test_the_steps_of_the_secrets_page_work_as_they_are_written(tmp_path: Path) -> None:
    said = page.run(tmp_path, STEPS, without=[])
    promised = page.promised(STEPS)
    assert len({number for number, _ in promised}) == 3
    for number, line in promised:
        assert line in said[number], said
    with closing(sqlite3.connect(tmp_path / "backup-secrets" / "shop_backup.sqlite")) as db:
        assert db.execute("SELECT COUNT(*) FROM Items").fetchone() == (50,)


def test_the_key_vault_of_the_page_finds_the_connections_under_their_names() -> None:
    from airflow.providers.microsoft.azure.secrets.key_vault import AzureKeyVaultBackend

    parser = ConfigParser(interpolation=None)
    [settings] = [content for _, language, content in page.blocks(PAGE) if language == "ini"]
    parser.read_string(settings)
    module, _, name = parser["secrets"]["backend"].rpartition(".")
    assert (module, name) == (AzureKeyVaultBackend.__module__, AzureKeyVaultBackend.__name__)
    backend = AzureKeyVaultBackend(**json.loads(parser["secrets"]["backend_kwargs"]))
    names = dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|$", PAGE, re.MULTILINE))
    value = json.dumps({"conn_type": "sqlite", "host": "/data/shop.sqlite"})
    vault = {secret: SimpleNamespace(value=value) for secret in names.values()}
    backend.__dict__["client"] = SimpleNamespace(
        get_secret=lambda name: vault[name]
    )  # its client, made when first used
    assert len(names) == 2
    for connection in names:
        found = backend.get_connection(connection)
        assert found is not None
        assert (found.conn_type, found.host) == ("sqlite", "/data/shop.sqlite")
    assert backend.get_variable("anything") is None, "a prefix of null asks nothing"

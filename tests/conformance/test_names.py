"""No name of the configuration can be anything but a name: none ends the identifier that it stands in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError
from tests.conformance.backends import CosmosBackend, MssqlBackend, SqliteBackend

# SQL Server's own ]] for a closing bracket is misread by the server at hand; tests/stores/mssql/test_tsql.py has it.
EVIL = [
    "x'; DROP TABLE VICTIM; --",
    'x"; DROP TABLE VICTIM; --',
    "x; DROP TABLE VICTIM",
    "x` /* [a",
    "100% %(a)s %%",
    "x/y",
]
VERY_EVIL = [*EVIL, "x]; DROP TABLE VICTIM; --", "x]]", "%s %d"]


def sqlite_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", VERY_EVIL)
def test_any_name_is_a_name_to_sqlite(name: str, tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    name = name.replace("VICTIM", "Things")
    there = sqlite_quoted(name)
    backend.run_source(f"CREATE TABLE {there} ({there} TEXT NOT NULL, Version INTEGER NOT NULL)")
    backend.run_source(f"INSERT INTO {there} VALUES (?, 1)", [("a",), ("b",)])
    service = backend.service(table=f"app.{name}", key=[name], history=f"{name} history")
    backend.initialize(service=service)
    assert backend.sync(service=service).inserted == 2
    backend.run_source(f"UPDATE {there} SET Version = 2")
    assert backend.sync(service=service).updated == 2
    with closing(sqlite3.connect(backend.backup_path)) as db:
        assert db.execute(f"SELECT * FROM {there}").fetchall()
    assert backend.source_rows() == []  # Things is there, and empty


@pytest.mark.parametrize("name", EVIL)
def test_any_name_is_a_name_to_sql_server(mssql: MssqlBackend, name: str) -> None:
    name = name.replace("VICTIM", mssql.table)
    odd = name.replace(".", "_")
    mssql.run_source(f"CREATE TABLE app.[{odd}] ([{odd}] INT NOT NULL, Version INT NOT NULL)")
    service = mssql.service(table=f"app.{odd}", key=[odd], history=f"{odd} history")
    try:
        mssql.run_source(f"INSERT INTO app.[{odd}] VALUES (1, 1), (2, 1)")
        mssql.initialize(service=service)
        assert mssql.sync(service=service).inserted == 2
        mssql.run_source(f"UPDATE app.[{odd}] SET Version = 2")
        assert mssql.sync(service=service).updated == 2
        mssql.put((1, 1, "the victim"))
        assert len(mssql.source_rows()) == 1
    finally:
        mssql.run_source(f"DROP TABLE app.[{odd}]")
        for table in (odd, f"{odd} history"):
            mssql.run_backup(
                f"IF EXISTS (SELECT 1 FROM sys.tables WHERE name = N'{table.replace(chr(39), chr(39) * 2)}') "
                f"DROP TABLE app.[{table}]"
            )


@pytest.mark.parametrize("where", ["table", "schema", "key", "stamp"])
def test_a_name_that_is_not_there_is_a_mistake_in_the_configuration_and_harms_nobody(
    mssql: MssqlBackend, where: str
) -> None:
    mssql.put((1, 1, "the victim"))
    for evil in VERY_EVIL:
        name = evil.replace("VICTIM", mssql.table).replace(".", "_")
        changes: dict[str, dict[str, Any]] = {
            "table": {"table": f"app.{name}"},
            "schema": {"table": f"{name}.Things"},
            "key": {"key": [name]},
            "stamp": {"changed": {name: "higher"}},
        }
        with pytest.raises(ConfigurationError):
            mssql.open(mssql.service(**changes[where]))[0].describe()
    assert len(mssql.source_rows()) == 1


def test_a_database_that_is_not_there_is_looked_for_by_its_name_and_by_nothing_else(mssql: MssqlBackend) -> None:
    mssql.put((1, 1, "the victim"))
    for evil in VERY_EVIL:
        mssql.backup_database = evil.replace("VICTIM", mssql.table)
        assert mssql.initialize(dry_run=True)[0] == f"database {mssql.backup_database}"
    mssql.backup_database = MssqlBackend.backup_database
    assert len(mssql.source_rows()) == 1


@pytest.mark.parametrize("name", ['type"] = "Thing" OR c["type', "type = 'x' OR true --", "a'b\"c\\d", "@w0", "%s"])
def test_any_name_is_a_name_to_cosmos(embedded: list[tuple[str, str]], name: str) -> None:
    backend = CosmosBackend("cosmos-embedded", *embedded)
    try:
        backend.put((1, 1, "not asked for"))
        backend.source.upsert_item({"id": "odd", "group": "a", name: "yes", "type": "Other"})
        service = backend.service(where={name: "yes"}, changed={name: "different"})
        backend.initialize(service=service)
        backend.sync(service=service)
        assert [row["id"] for row in backend.backup_rows()] == ["odd"]
    finally:
        backend.close()

"""Columns that a service excludes are neither read nor copied nor compared nor restored."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Wish
from backup_sync.walk.restore import plan, restore
from tests.conformance.backends import Backend, MssqlBackend

MANY = 50


def table(sql: Backend) -> str:
    return sql.table if isinstance(sql, MssqlBackend) else "Things"


def settings(**more: Any) -> dict[str, Any]:
    return {"exclude": ["photo"], "keep_history": "30d", "verify_again_seconds": 0, **more}


@pytest.fixture
def filled(sql: Backend) -> Backend:
    sql.put(*((key, 1, f"text {key}") for key in range(MANY)))
    sql.run_source(f"ALTER TABLE {table(sql)} ADD Photo VARBINARY(100)")  # type: ignore[attr-defined]
    sql.run_source(
        f"UPDATE {table(sql)} SET Photo = {'0x0102' if isinstance(sql, MssqlBackend) else 'x' + repr('0102')}"
    )  # type: ignore[attr-defined]
    service = sql.service(**settings())
    sql.initialize(service=service)
    sql.sync(service=service)
    return sql


def test_the_copy_does_not_have_them_and_a_change_of_them_is_none(filled: Backend) -> None:
    service = filled.service(**settings())
    assert not [name for name in filled.backup_rows()[0] if name.lower() == "photo"]
    filled.run_source(f"UPDATE {table(filled)} SET Photo = NULL WHERE Id = 1")  # type: ignore[attr-defined]
    assert filled.counts(service=service) == (0, 0, 0, MANY)
    run = filled.verify(service)
    assert run.success
    assert run.verified is not None
    assert run.verified["Drift"]["Count"] == 0
    assert filled.counts(service=filled.service(**settings(changed="content"))) == (0, 0, 0, MANY)


def test_a_restore_leaves_them_as_they_are(filled: Backend) -> None:
    service = filled.service(**settings())
    name = next(name for name in filled.source_rows()[0] if name.lower() == "photo")
    filled.run_source(f"UPDATE {table(filled)} SET Version = 2, [Te xt] = 'bad'")  # type: ignore[attr-defined]
    filled.sync(service=service)
    source, backup = filled.open(service)
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "restore", "thing"), "thing", run_id="restore")
        restore(source, backup, source, run, Wish(number=1), plan(backup, source, run, Wish(number=1)).id)
    assert run.updated == MANY
    assert {bytes(row[name]) for row in filled.source_rows()} == {b"\x01\x02"}
    assert filled.counts(service=service)[:3] == (0, 0, 0)


def test_a_column_that_is_excluded_later_is_kept_in_the_copy_and_no_longer_read(sql: Backend) -> None:
    sql.put((1, 1, "a"))
    sql.run_source(f"ALTER TABLE {table(sql)} ADD Photo INT")  # type: ignore[attr-defined]
    sql.initialize()
    sql.sync()
    service = sql.service(exclude=["Photo"])
    assert "kept column Photo" in " ".join(sql.initialize(service=service))
    sql.put((2, 1, "b"))
    assert sql.counts(service=service) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "exclude, said", [(["Fotos"], "has no column fotos, which 'exclude'"), (["ID"], "is in the key of")]
)
def test_a_name_that_cannot_be_excluded_is_a_mistake(filled: Backend, exclude: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError) as wrong:
        filled.sync(service=filled.service(**settings(exclude=exclude)))
    assert said in str(wrong.value)


def test_what_a_backup_needs_cannot_be_excluded(sql: Backend) -> None:
    with pytest.raises(ConfigurationError, match="which is in 'key' or 'changed'"):
        sql.service(exclude=["VERSION"])

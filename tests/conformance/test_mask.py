"""``mask`` of a table: the backup, its histories and what is said of them never hold the values; a restore leaves them alone."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from backup_sync.model.errors import BackupSyncError, ConfigurationError, FatalError, PairingRefused
from backup_sync.model.faults import installed
from backup_sync.model.mask import key_of
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.wish import Planned, Wish
from backup_sync.walk.drill import drill
from backup_sync.walk.restore import plan, restore
from tests.conformance.backends import Backend, MssqlBackend, Row, SqliteBackend
from tests.conformance.test_sql import remake

MANY = 24
SECRET = "no more than a test needs"
MASK = {"Email": "hash", "Phone": "null"}


def table(sql: Backend) -> str:
    return sql.table if isinstance(sql, MssqlBackend) else "Things"


def run_source(sql: Backend, statement: str) -> None:
    sql.run_source(statement)  # type: ignore[attr-defined]


def run_backup(sql: Backend, statement: str) -> None:
    sql.run_backup(statement)  # type: ignore[attr-defined]


def service(sql: Backend, mask: Any = MASK, **more: Any) -> Any:
    settings = {"keep_history": "30d", "verify_again_seconds": 0, "guard": {"count": 1_000}, **more}
    return sql.service(mask=mask, mask_key="secret", **settings)


def hashed(sql: Backend, text: str, secret: str = SECRET) -> Any:
    """The hash as anybody makes it who has the secret."""
    encoding = "utf-16-le" if isinstance(sql, MssqlBackend) else "utf-8"
    made = hashlib.sha256((key_of(secret) + text).encode(encoding))
    return made.digest() if isinstance(sql, MssqlBackend) else made.hexdigest()


def everything(sql: Backend) -> str:
    """All that the backup holds: the copy, its histories and its states."""
    name = sql.service().table or ""
    if isinstance(sql, SqliteBackend):
        return "".join(line for line in _dump(sql))
    assert isinstance(sql, MssqlBackend)
    beside = [name, f"{name}_Undo", f"{name}_RestoreLog", f"app.{sql.history}", "app.SyncState"]
    return repr([sql.rows(sql.backup_uri, sql.backup_database, one) for one in beside])


def _dump(sql: SqliteBackend) -> Iterator[str]:
    import sqlite3

    with closing(sqlite3.connect(sql.backup_path)) as db:
        yield from db.iterdump()


@pytest.fixture(autouse=True)
def keyed(sql: Backend) -> None:
    sql.mask_key = key_of(SECRET)
    sql.small(bulk_rows=1, bulk_rows_again=1)


def needs_hex(sql: Backend) -> None:
    """Skip what updates a hash where the server at hand cannot read one: Babelfish takes hex digits for bytes."""
    if isinstance(sql, MssqlBackend) and sql.run_backup("SELECT CONVERT(BINARY(1), '0A', 2)")[0][0] != b"\x0a":
        pytest.skip("this server reads no hex")


@pytest.fixture
def people(sql: Backend) -> Backend:
    """Rows 0 to 23 with an e-mail address and a telephone number; not copied yet."""
    sql.put(*((key, 1, f"text {key}") for key in range(MANY)))
    text = "NVARCHAR(50)" if isinstance(sql, MssqlBackend) else "TEXT"
    run_source(sql, f"ALTER TABLE {table(sql)} ADD Email {text}")
    run_source(sql, f"ALTER TABLE {table(sql)} ADD Phone {text}")
    for key in range(MANY):
        run_source(
            sql,
            f"UPDATE {table(sql)} SET Email = 'żó{key % 8}@x.org', Phone = '+46 {key}' WHERE Id = {key} AND Id <> 5",
        )
    return sql


@pytest.fixture
def filled(people: Backend) -> Backend:
    people.initialize(service=service(people))
    people.sync(service=service(people))
    return people


def bring_back(
    sql: Backend, wish: Wish, run_id: str = "restore", target: str = "", during: Callable[[str], None] | None = None
) -> tuple[Planned, SyncResult]:
    asked = service(sql)
    source, backup = sql.open(asked)
    place = sql.beside(asked, target) if target else source
    with closing(source), closing(backup), closing(place), installed(during or (lambda _: None)):
        run = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
        found = plan(backup, place, run, wish)
        restore(source, backup, place, run, wish, found.id)
    return found, run


# the copy


def test_a_hash_is_that_of_key_and_value_and_null_is_nothing(filled: Backend) -> None:
    rows = {row["Id"]: row for row in filled.backup_rows()}
    for key, row in rows.items():
        assert row["Phone"] is None
        assert row["Email"] == (None if key == 5 else hashed(filled, f"żó{key % 8}@x.org")), key
        assert row["Te xt"] == f"text {key}"
    assert rows[1]["Email"] == rows[9]["Email"] != rows[2]["Email"]


@pytest.mark.parametrize("changed", [{"Version": "higher"}, "content"])
def test_what_is_the_same_is_left_alone_and_what_changes_is_written(filled: Backend, changed: Any) -> None:
    asked = service(filled, changed=changed)
    assert filled.counts(service=asked) == (0, 0, 0, MANY)
    needs_hex(filled)
    name = table(filled)
    run_source(filled, f"UPDATE {name} SET Email = 'new@x.org', Version = 2 WHERE Id IN (1, 2)")
    run_source(filled, f"UPDATE {name} SET Phone = 'new', Version = 2 WHERE Id = 3")
    run_source(filled, f"DELETE FROM {name} WHERE Id = 4")
    run_source(filled, f"INSERT INTO {name} (Id, Version, Email) VALUES (100, 1, 'z@x.org')")
    assert filled.counts(service=asked) == (1, 3, 1, MANY - 4)
    rows = {row["Id"]: row["Email"] for row in filled.backup_rows()}
    assert (rows[1], rows[2], rows[100]) == (*[hashed(filled, "new@x.org")] * 2, hashed(filled, "z@x.org"))
    assert filled.verify(asked).success


def test_a_verify_compares_masked_with_masked(filled: Backend) -> None:
    assert filled.verify(service(filled)).success
    run_source(filled, f"UPDATE {table(filled)} SET Phone = 'another' WHERE Id = 1")
    assert filled.verify(service(filled)).success  # the copy has none either way
    run_source(filled, f"UPDATE {table(filled)} SET Email = 'another' WHERE Id = 2")
    run = filled.verify(service(filled))
    assert run.verified is not None
    assert (run.drift, run.verified["Drift"]["Fields"]) == (1, {"Email": 1})


def test_nothing_of_the_values_is_in_the_backup_or_in_the_log(
    filled: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = table(filled)
    run_source(filled, f"UPDATE {name} SET Email = 'secret1@x.org', Phone = '+47 secret2', Version = 2 WHERE Id < 9")
    filled.sync(service=service(filled))
    run_source(filled, f"UPDATE {name} SET Email = 'secret3@x.org' WHERE Id = 7")
    run_source(filled, f"DELETE FROM {name} WHERE Id > 20")
    filled.verify(service(filled))
    bring_back(filled, Wish(delete=True))
    bring_back(filled, Wish(number=1), "older")
    held = everything(filled)
    assert "text 7" in held
    for plain in ("x.org", "+46", "+47", "secret", SECRET, key_of(SECRET)):
        assert plain not in held, plain
        assert plain not in caplog.text, plain


def test_numbers_moments_and_fractions_have_hashes_too(sql: Backend) -> None:
    remake(
        sql,
        "Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, N INT, D DECIMAL(9, 2), F FLOAT, Day DATE, [Te xt] CHAR(3)",
    )
    for key in range(4):
        run_source(sql, f"INSERT INTO {table(sql)} VALUES ({key}, 1, 7, 1.5, 0.5, '2026-11-27', 'abc')")
    asked = service(sql, dict.fromkeys(["N", "D", "F", "Day", "Te xt"], "hash"))
    sql.initialize(service=asked)
    sql.sync(service=asked)
    row = sql.backup_rows()[0]
    assert row["N"] == hashed(sql, "7")
    assert (row["Day"], row["Te xt"]) == (hashed(sql, "2026-11-27"), hashed(sql, "abc"))
    assert len({row[name] for name in ("N", "D", "F", "Day", "Te xt")}) == 5
    run_source(sql, f"UPDATE {table(sql)} SET F = 0.25 WHERE Id = 1")
    assert sql.counts(service=service(sql, asked.mask, changed="content")) == (0, 1, 0, 3)


def test_where_and_mask_go_together(people: Backend) -> None:
    asked = service(people, where={"Id": {"below": 10}})
    people.initialize(service=asked)
    assert people.counts(service=asked) == (10, 0, 0, 0)
    assert people.counts(service=asked) == (0, 0, 0, 10)
    assert people.backup_rows()[1]["Email"] == hashed(people, "żó1@x.org")
    assert people.verify(asked).success


# what is refused


@pytest.mark.parametrize(
    "mask, said",
    [
        ({"Mail": "hash"}, "has no column Mail, which 'mask' of service thing names, so nothing was copied"),
        ({"Id": "null"}, "Id is in the key of"),
    ],
)
def test_what_cannot_be_masked_is_a_mistake_before_anything_is_made(people: Backend, mask: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        people.initialize(service=service(people, mask))
    assert people.backup_rows() == []


def test_a_masked_column_that_is_renamed_is_not_copied_as_it_is(filled: Backend) -> None:
    if isinstance(filled, MssqlBackend):
        run_source(filled, f"EXEC sp_rename '{filled.table}.Email', 'Mail', 'COLUMN'")
    else:
        run_source(filled, "ALTER TABLE Things RENAME COLUMN Email TO Mail")
    for job in filled.initialize, filled.sync:
        with pytest.raises(ConfigurationError, match="has no column Email"):
            job(service=service(filled))  # type: ignore[operator]
    assert "x.org" not in everything(filled)


def test_without_the_key_nothing_is_read(people: Backend) -> None:
    people.mask_key = None
    people.initialize(service=service(people, {"Phone": "null"}))
    with pytest.raises(ConfigurationError, match="the key of 'mask' of service thing is missing"):
        people.sync(service=service(people, MASK))
    assert people.backup_rows() == []


OTHERS: dict[str, tuple[Any, Any]] = {
    "switched on": ({}, {"Phone": "null"}),
    "one more": ({"Email": "hash"}, MASK),
    "switched off": ({"Phone": "null"}, {}),
    "otherwise": ({"Email": "null"}, {"Email": "hash"}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_mask_is_refused_while_the_backup_holds_what_the_other_one_gave_it(people: Backend, name: str) -> None:
    before, now = OTHERS[name]
    people.initialize(service=service(people, before))
    people.sync(service=service(people, before))
    run_source(people, f"UPDATE {table(people)} SET Version = 2")
    people.sync(service=service(people, before))
    held = people.backup_rows()
    for accept in False, True:
        with pytest.raises(PairingRefused, match="'mask' or its key is another one"):
            people.initialize(service=service(people, now), accept_source=accept, run_id="accepts")
    with pytest.raises(BackupSyncError, match=r"'mask' or its key is another one|does not fit the source"):
        people.sync(service=service(people, now))
    assert people.backup_rows() == held
    people.drop_copy()  # its history still holds what it should not
    with pytest.raises(PairingRefused, match=r"_Undo there was filled"):
        people.initialize(service=service(people, now))
    run_backup(people, f"DROP TABLE {table(people)}_Undo")
    people.initialize(service=service(people, now))
    assert people.counts(service=service(people, now)) == (MANY, 0, 0, 0)
    assert people.counts(service=service(people, now)) == (0, 0, 0, MANY)


def test_nobody_is_told_to_drop_what_is_another_services(filled: Backend) -> None:
    other = service(filled, {"Phone": "null"}).model_copy(update={"name": "other"})
    for accept in False, True:
        with pytest.raises(PairingRefused, match="'mask' or its key" if accept else "it belongs to service thing"):
            filled.initialize(service=other, accept_source=accept, run_id="accepts")


def test_another_key_is_another_mask(filled: Backend) -> None:
    filled.mask_key = key_of("another secret of some length")
    with pytest.raises(PairingRefused, match="'mask' or its key is another one"):
        filled.sync(service=service(filled))
    filled.mask_key = key_of(SECRET)
    assert filled.counts(service=service(filled)) == (0, 0, 0, MANY)


def test_a_new_column_may_come_with_its_mask(filled: Backend) -> None:
    needs_hex(filled)
    run_source(
        filled, f"ALTER TABLE {table(filled)} ADD Fax {'NVARCHAR(50)' if isinstance(filled, MssqlBackend) else 'TEXT'}"
    )
    run_source(filled, f"UPDATE {table(filled)} SET Fax = 'fax'")
    asked = service(filled, {**MASK, "Fax": "hash"})
    filled.initialize(service=asked)
    assert filled.counts(service=asked) == (0, MANY, 0, 0)
    assert {row["Fax"] for row in filled.backup_rows()} == {hashed(filled, "fax")}
    with pytest.raises(PairingRefused, match="fax is held otherwise"):
        filled.sync(service=service(filled))


# restoring


def contacts(rows: list[Row]) -> dict[int, tuple[Any, Any]]:
    return {row["Id"]: (row["Email"], row["Phone"]) for row in rows}


def test_a_restore_leaves_masked_columns_as_they_are_and_new_rows_get_their_defaults(filled: Backend) -> None:
    was = contacts(filled.source_rows())
    run_source(filled, f"UPDATE {table(filled)} SET [Te xt] = 'bad', Version = 2 WHERE Id < 4")
    filled.remove(9)
    found, run = bring_back(filled, Wish())
    assert "column Email is masked in the backup, so it is not restored" in found.notes
    assert (run.inserted, run.updated) == (1, 4)
    rows = filled.source_rows()
    assert contacts(rows) == {**was, 9: (None, None)}
    assert {row["Te xt"] for row in rows if row["Id"] < 4} == {f"text {key}" for key in range(4)}
    assert filled.counts(service=service(filled))[:3] == (0, 0, 0)
    _, undone = bring_back(filled, Wish(undo=run.run_number), "undo")
    assert (undone.updated, undone.deleted) == (4, 1)
    assert contacts(filled.source_rows()) == {key: value for key, value in was.items() if key != 9}


def test_a_mask_that_was_taken_out_since_lets_no_hash_into_the_source_and_no_value_into_the_backup(
    filled: Backend,
) -> None:
    run_source(filled, f"UPDATE {table(filled)} SET [Te xt] = 'bad', Version = 2 WHERE Id < 4")
    was = filled.source_rows()
    name = f"{filled.service().table}_Restored"
    for mask in ({}, {"Phone": "null"}, {"Email": "null"}):
        asked = service(filled, mask)
        source, backup = filled.open(asked)
        with closing(source), closing(backup), closing(filled.beside(asked, name)) as place:
            run = SyncResult(sync_id("dag", f"restore {mask}", "thing"), "thing", run_id="restore")
            found = plan(backup, source, run, Wish())
            assert set(found.fields) == {"Te xt", "Version"}
            with pytest.raises(PairingRefused, match="'mask' or its key is another one"):
                restore(source, backup, source, run, Wish(), found.id)
            restore(source, backup, place, run, Wish(keys=[[1]]), plan(backup, place, run, Wish(keys=[[1]])).id)
            place.catalog.changed()  # type: ignore[attr-defined]
            assert {column.name for column in place.catalog.own_shape().columns} == {"Id", "Version", "Te xt"}  # type: ignore[attr-defined]
            place.catalog.drop()
    assert filled.source_rows() == was
    assert "x.org" not in everything(filled)
    assert bring_back(filled, Wish(), "as it was")[1].updated == 4


def test_a_not_null_column_without_a_default_keeps_rows_from_being_restored(sql: Backend) -> None:
    sql.small(bulk_rows=1_000)  # Babelfish lets a bulk copy write NULL there
    text = "NVARCHAR(50)" if isinstance(sql, MssqlBackend) else "TEXT"
    remake(sql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, Email {text} NOT NULL")
    run_source(sql, f"INSERT INTO {table(sql)} VALUES (1, 1, 'a'), (2, 1, 'b')")
    asked = service(sql, {"Email": "hash"})
    sql.initialize(service=asked)
    sql.sync(service=asked)
    sql.remove(1)
    source, backup = sql.open(asked)
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "restore", "thing"), "thing", run_id="restore")
        found = plan(backup, source, run, Wish())
        assert "it is NOT NULL there, so that a new row needs its default" in str(found.notes)
        with pytest.raises(FatalError, match="NOT NULL"):
            restore(source, backup, source, run, Wish(), found.id)
    assert len(sql.source_rows()) == 1


def test_a_row_that_is_there_is_restored_around_a_not_null_column(sql: Backend) -> None:
    text = "NVARCHAR(50)" if isinstance(sql, MssqlBackend) else "TEXT"
    remake(sql, f"Id INT NOT NULL PRIMARY KEY, Version INT NOT NULL, Email {text} NOT NULL, [Te xt] {text}")
    run_source(sql, f"INSERT INTO {table(sql)} VALUES (1, 1, 'a', 'good'), (2, 1, 'b', 'good')")
    asked = service(sql, {"Email": "hash"})
    sql.initialize(service=asked)
    sql.sync(service=asked)
    run_source(sql, f"UPDATE {table(sql)} SET [Te xt] = 'bad', Email = 'c'")
    source, backup = sql.open(asked)
    with closing(source), closing(backup):
        run = SyncResult(sync_id("dag", "restore", "thing"), "thing", run_id="restore")
        restore(source, backup, source, run, Wish(), plan(backup, source, run, Wish()).id)
    assert run.updated == 2
    assert [(row["Email"], row["Te xt"]) for row in sql.source_rows()] == [("c", "good")] * 2


def test_a_new_place_is_made_without_them_also_by_a_restore_that_died(filled: Backend) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == "after restore":
            raise Killed

    filled.small(asked_keys=5, pending_keys=5)
    name = f"{filled.service().table}_Restored"
    planned = None
    asked = service(filled)
    source, backup = filled.open(asked)
    with closing(source), closing(backup), closing(filled.beside(asked, name)) as place:
        planned = plan(backup, place, SyncResult(sync_id("dag", "p", "thing"), "thing"), Wish())
    with pytest.raises(Killed):
        bring_back(filled, Wish(), target=name, during=kill)
    source, backup = filled.open(asked)
    with closing(source), closing(backup), closing(filled.beside(asked, name)) as place:
        run = SyncResult(sync_id("dag", "restore", "thing"), "thing", run_id="restore")
        restore(source, backup, place, run, Wish(), planned.id)
    rows = (
        filled.rows(filled.source_uri, filled.source_database, name)
        if isinstance(filled, MssqlBackend)
        else filled.rows(filled.source_path, name)  # type: ignore[attr-defined]
    )
    run_source(filled, f"DROP TABLE {name if isinstance(filled, MssqlBackend) else name.partition('.')[2]}")
    assert len(rows) == MANY
    assert set(rows[0]) == {"Id", "Version", "Te xt"}


def test_a_drill_practises_what_can_be_restored(filled: Backend) -> None:
    asked = service(filled, drill="scratch")
    run = SyncResult(sync_id("dag", "drill", "thing"), "thing", run_id="drill")
    source, backup = filled.open(asked)
    source.close()
    with closing(backup), closing(filled.beside(asked, f"{asked.table}_drill_1")) as scratch:
        drill(backup, scratch, run)
    assert f"restored {MANY} records" in str(run.notice)

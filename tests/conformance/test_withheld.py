"""What the guard withholds, it withholds until the records are back or somebody allows it."""

from __future__ import annotations

from contextlib import closing

import pytest

from backup_sync.model import faults
from backup_sync.model.errors import DeletesWithheld, RetriableError, SetBackWithheld, UpdatesWithheld
from backup_sync.model.result import SyncResult, sync_id
from tests.conformance.backends import Backend, CosmosBackend, SqliteBackend


@pytest.fixture
def hundred(backend: Backend) -> Backend:
    backend.put(*((number, 5, "production") for number in range(1, 101)))
    backend.initialize()
    backend.sync()
    return backend


def texts(backend: Backend) -> list[str]:
    return [row.get("Te xt", row.get("text")) for row in backend.backup_rows()]


def test_withheld_deletes_do_not_go_through_on_a_later_night_because_the_backup_has_grown(hundred: Backend) -> None:
    hundred.remove(*range(1, 26))
    with pytest.raises(DeletesWithheld, match="withheld 25 deletes"):
        hundred.sync()
    for night in range(1, 4):
        hundred.put(*((number, 1, "new") for number in range(100 + 20 * night, 120 + 20 * night)))
        with pytest.raises(DeletesWithheld, match="25 of them were withheld before"):
            hundred.sync()
    assert texts(hundred).count("production") == 100
    assert hundred.counts(allow_deletes=25) == (0, 0, 25, 135)
    assert hundred.backup_rows() == hundred.source_rows()


def test_records_that_are_back_are_withheld_no_more_and_ordinary_deletes_go_on(hundred: Backend) -> None:
    gone = range(1, 26)
    hundred.remove(*gone)
    with pytest.raises(DeletesWithheld):
        hundred.sync()
    hundred.put(*((number, 5, "production") for number in gone))
    hundred.remove(50)
    assert hundred.counts() == (0, 0, 1, 99)
    hundred.remove(51)
    assert hundred.counts() == (0, 0, 1, 98)


def test_as_long_as_one_of_them_is_gone_all_deletes_wait(hundred: Backend) -> None:
    hundred.remove(*range(1, 26))
    with pytest.raises(DeletesWithheld):
        hundred.sync()
    hundred.put(*((number, 5, "production") for number in range(2, 26)))
    hundred.remove(50)
    with pytest.raises(DeletesWithheld, match=r"withheld 2 deletes .* 1 of them were withheld before"):
        hundred.sync()
    assert hundred.counts(allow_deletes=2) == (0, 0, 2, 98)


def test_a_set_back_that_was_withheld_is_not_let_through_by_its_share_either(hundred: Backend) -> None:
    hundred.put(*((number, 4, "old copy") for number in range(1, 26)))
    with pytest.raises(SetBackWithheld):
        hundred.sync()
    for night in range(1, 4):
        hundred.put(*((number, 1, "new") for number in range(100 + 5 * night, 105 + 5 * night)))
        with pytest.raises(SetBackWithheld, match="25 of them were withheld before"):
            hundred.sync()
    assert "old copy" not in texts(hundred)
    assert hundred.counts(force=True) == (0, 115, 0, 0)


def test_a_dry_run_remembers_nothing(hundred: Backend) -> None:
    hundred.remove(*range(1, 26))
    with pytest.raises(DeletesWithheld):
        hundred.sync(dry_run=True)
    hundred.put(*((number, 5, "production") for number in range(10, 26)))
    assert hundred.counts() == (0, 0, 9, 91)


@pytest.mark.parametrize(
    "changed, older, gone",
    [(60, 0, 40), (20, 15, 15), (0, 100, 0), (0, 21, 0), (0, 0, 100)],
    ids=["60 changed, 40 gone", "20 changed, 15 older, 15 gone", "all older", "a fifth older", "all gone"],
)
def test_another_data_set_in_the_source_replaces_and_deletes_nothing(
    hundred: Backend, changed: int, older: int, gone: int
) -> None:
    hundred.remove(*range(1, gone + 1))
    first = gone + 1
    hundred.put(*((number, 7, "STAGING") for number in range(first, first + changed)))
    first += changed
    hundred.put(*((number, 4, "STAGING") for number in range(first, first + older)))
    with pytest.raises((DeletesWithheld, SetBackWithheld)):
        hundred.sync()
    assert texts(hundred).count("production") == 100


def test_a_small_table_is_not_replaced_whole(backend: Backend) -> None:
    backend.put(*((number, 5, "production") for number in range(1, 11)))
    backend.initialize()
    backend.sync()
    backend.remove(*range(1, 11))
    backend.put((900, 1, "STAGING"))
    with pytest.raises(DeletesWithheld, match="would leave nothing of the backup"):
        backend.sync()
    assert texts(backend) == ["production"] * 10
    assert backend.counts(allow_deletes=10) == (1, 0, 10, 0)


def test_another_field_that_changed_does_not_hide_that_a_record_is_older(backend: Backend) -> None:
    second = "state" if isinstance(backend, CosmosBackend) else "Te xt"
    first = "version" if isinstance(backend, CosmosBackend) else "Version"
    service = backend.service(changed={first: "higher", second: "different"})
    backend.put(*((number, 20, "the present") for number in range(1, 101)))
    backend.initialize(service=service)
    backend.sync(service=service)
    if isinstance(backend, CosmosBackend):
        for number in range(1, 101):
            backend.source.upsert_item({**backend.document(number, 10, "old"), "state": "Pending"})
    else:
        backend.put(*((number, 10, "old") for number in range(1, 101)))
    with pytest.raises(SetBackWithheld, match="100 records of the backup are newer"):
        backend.sync(service=service)
    assert set(texts(backend)) == {"the present"}


# an allowance is a number


def test_no_more_is_deleted_than_was_allowed(hundred: Backend) -> None:
    hundred.remove(*range(1, 31))
    with pytest.raises(DeletesWithheld, match="this run may delete 29 at most"):
        hundred.sync(allow_deletes=29)
    assert len(hundred.backup_rows()) == 100
    assert hundred.counts(allow_deletes=30) == (0, 0, 30, 70)


def test_the_retry_of_an_allowed_run_does_not_empty_the_backup_after_its_source(hundred: Backend) -> None:
    def away(name: str) -> None:
        if name == "before delete":
            raise RetriableError("the server is away")

    hundred.remove(*range(1, 31))
    with faults.installed(away), pytest.raises(RetriableError):
        hundred.sync("tonight", allow_deletes=30)
    hundred.remove(*range(31, 101))
    with pytest.raises(DeletesWithheld, match="the source reads as empty"):
        hundred.sync("tonight", allow_deletes=30)
    assert len(hundred.backup_rows()) == 100


def test_a_run_that_is_cleared_later_has_what_is_left_of_its_allowance(hundred: Backend) -> None:
    hundred.remove(*range(1, 31))
    assert hundred.counts(run_id="tonight", allow_deletes=30)[2] == 30
    hundred.remove(*range(31, 61))
    with pytest.raises(DeletesWithheld, match="this run may delete 0 at most"):
        hundred.sync("tonight", allow_deletes=30)
    assert len(hundred.backup_rows()) == 70


def test_an_empty_source_is_not_covered_by_any_allowance(hundred: Backend) -> None:
    hundred.remove(*range(1, 101))
    with pytest.raises(DeletesWithheld, match="never empties its backup"):
        hundred.sync(allow_deletes=100)
    assert len(hundred.backup_rows()) == 100


# limits of a service


def test_a_ceiling_in_records_holds_whatever_the_share(hundred: Backend) -> None:
    hundred.remove(*range(1, 14))
    service = hundred.service(guard={"ceiling": 12})
    with pytest.raises(DeletesWithheld, match="or 12 whatever their share"):
        hundred.sync(service=service)


def test_most_of_a_backup_changing_at_once_is_told_in_result_and_history(tmp_path) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 1, "x") for number in range(1_001)))
    found.initialize()
    found.sync()
    found.put(*((number, 2, "encrypted") for number in range(501)))
    service = found.service(guard={"updates": "withhold"})
    with pytest.raises(UpdatesWithheld, match="501 of 1001 records of the backup would change at once"):
        found.sync(service=service)
    assert "encrypted" not in texts(found)
    run = found.sync()
    assert run.notice == "501 of the backup's 1001 records changed at once"
    assert [row["Notice"] for row in found.history_rows() if row["RunId"] == run.run_id] == [run.notice]


def test_a_retry_tells_of_most_of_a_backup_changing_as_well(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 1, "x") for number in range(1_500)))
    found.initialize()
    found.sync()
    found.put(*((number, 2, "encrypted") for number in range(1_500)))
    found.small(pending_keys=900)
    monkeypatch.setattr("backup_sync.stores.sql.reader.SqlReader.reread_share", 2.0)

    def away(name: str) -> None:
        if name == "after write":
            raise RetriableError("the server is away")

    with faults.installed(away), pytest.raises(RetriableError):
        found.sync("tonight")
    run = found.sync("tonight")
    assert run.notice == "1500 of the backup's 1500 records changed at once"


def test_columns_that_are_filled_in_are_no_sign_of_an_accident(tmp_path) -> None:
    found = SqliteBackend(tmp_path)
    found.put(*((number, 1, "x") for number in range(1_500)))
    found.initialize()
    found.sync()
    found.run_source("ALTER TABLE Things ADD COLUMN Fax TEXT")
    found.run_source("UPDATE Things SET Fax = Id")
    service = found.service(guard={"updates": "withhold"})
    found.initialize(service=service)
    run = found.sync(service=service)
    assert (run.updated, run.notice) == (1_500, None)


def test_a_copy_that_was_made_anew_remembers_nothing_of_the_old_one(hundred: Backend) -> None:
    hundred.remove(*range(1, 26))
    with pytest.raises(DeletesWithheld):
        hundred.sync()
    hundred.put(*((number, 5, "production") for number in range(1, 26)))
    source, backup = hundred.open(hundred.service())
    shape = source.catalog.describe()
    reader = source.reader(shape)
    run = SyncResult(sync_id("dag", "by hand", "thing"), "thing", run_id="by hand")
    with closing(source), closing(backup), backup.lock.hold(run, 0):
        backup.journal.begin(run)
        backup.writer(shape).delete([reader.key_of(record) for records in reader.records(None) for record in records])
    assert hundred.sync().inserted == 100
    hundred.remove(1)
    assert hundred.counts() == (0, 0, 1, 99)

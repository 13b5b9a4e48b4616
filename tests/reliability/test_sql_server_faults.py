"""What a SQL server may do to a run: refuse, keep silent, block, choose a deadlock victim, run full, cut the line."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pymssql
import pytest

from backup_sync.model import faults
from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, LockHeld, RetriableError
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.mssql.errors import CONFIGURATION, CONNECTION, FATAL, RETRIABLE, TIMED_OUT, translate
from backup_sync.stores.mssql.store import mssql_store
from backup_sync.stores.mssql.writer import MssqlWriter
from tests.alarm import TimeIsUp, alarm
from tests.conformance.backends import MssqlBackend
from tests.conformance.conftest import MSSQL, named
from tests.reliability.conftest import Case

ROWS = 40


@pytest.fixture
def mssql() -> Iterator[MssqlBackend]:
    """In step, and then with five updates, five deletes and five inserts to be done."""
    found = MssqlBackend(*named(MSSQL))
    found.put(*((key, 1, "old") for key in range(ROWS)))
    found.initialize()
    found.sync()
    found.put(*((key, 2, "changed") for key in range(5)), *((key, 1, "new") for key in range(ROWS, ROWS + 5)))
    found.remove(*range(10, 15))
    yield found
    found.close()


def finished(mssql: MssqlBackend, run_id: str) -> bool:
    """The retry of a run that failed: the contents are equal, and its one record has what both attempts wrote."""
    run = mssql.sync(run_id=run_id)
    counted = [row["RunId"] for row in mssql.history_rows()].count(run_id)
    return (
        mssql.backup_rows() == mssql.source_rows()
        and (run.inserted, run.updated, run.deleted) == (5, 5, 5)
        and counted == 1
    )


@contextmanager
def rival(mssql: MssqlBackend, sql: str, end: str = "backup") -> Iterator[Any]:
    """Another session on one end, in a transaction of its own that has run ``sql``."""
    uri, database = {
        "source": (mssql.source_uri, mssql.source_database),
        "backup": (mssql.backup_uri, mssql.backup_database),
    }[end]
    with closing(mssql.connect(uri, database)) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN TRANSACTION")
        cursor.execute(sql)
        yield cursor


def test_a_deadlock_victim_writes_nothing_and_its_retry_everything(mssql: MssqlBackend) -> None:
    """The run has written rows and waits for its history's row, which a rival holds who then wants one of the rows."""
    threads = []

    def strike(name: str) -> None:
        if name != "before apply" or threads:
            return
        holds = threading.Event()

        def other() -> None:
            with rival(mssql, f"UPDATE app.{mssql.history} SET Attempt = Attempt WHERE RunId = 'tonight'") as cursor:
                holds.set()
                time.sleep(0.5)  # by now the run waits, and is the first to ask whether that is for ever
                cursor.execute(f"UPDATE {mssql.table} SET Version = Version WHERE Id < 5")
                cursor.execute("ROLLBACK TRANSACTION")

        threads.append(threading.Thread(target=other))
        threads[0].start()
        assert holds.wait(10)

    before = mssql.backup_rows()
    with faults.installed(strike), pytest.raises(RetriableError) as caught:
        mssql.sync(run_id="tonight")
    threads[0].join()
    assert str(caught.value) == "backup: SQL Server was chosen as deadlock victim (error 1205)"
    assert mssql.backup_rows() == before
    assert finished(mssql, "tonight")


def test_a_statement_that_is_blocked_for_longer_than_its_time_out_is_retried(
    mssql: MssqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mssql, "options", {"timeout": 2})
    before = mssql.backup_rows()
    with (
        rival(mssql, f"UPDATE {mssql.table} SET Version = Version WHERE Id = 3"),
        pytest.raises(RetriableError, match=r"^backup: SQL Server did not answer in time .*'timeout'"),
    ):
        mssql.sync(run_id="tonight")
    monkeypatch.setattr(mssql, "options", {"timeout": 600})  # the driver keeps the last one for the whole process
    assert mssql.backup_rows() == before
    assert finished(mssql, "tonight")


def test_a_lock_that_somebody_else_keeps_is_waited_for_a_while_and_the_run_retried(mssql: MssqlBackend) -> None:
    mssql.small(lock_seconds=1)
    before = mssql.backup_rows()
    begun = time.monotonic()
    with (
        rival(mssql, f"UPDATE {mssql.table} SET Version = Version WHERE Id = 3"),
        pytest.raises(RetriableError, match=r"^backup: SQL Server waited too long for a lock: .* \(error 1222\)$"),
    ):
        mssql.sync(run_id="tonight")
    assert time.monotonic() - begun < 20
    assert mssql.backup_rows() == before
    assert finished(mssql, "tonight")


def test_the_lock_of_a_run_is_waited_for_as_long_as_the_service_says(mssql: MssqlBackend) -> None:
    mssql.small(lock_seconds=0.1)
    holder, waiter = (mssql.open(mssql.service())[1] for _ in range(2))
    run = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    with closing(holder), closing(waiter), holder.lock.hold(run, 0):
        begun = time.monotonic()
        with pytest.raises(LockHeld, match=r"waited 2 s for it to end"), waiter.lock.hold(run, 2):
            pytest.fail("two runs hold one lock")
        assert 1.9 <= time.monotonic() - begun < 10


@pytest.mark.parametrize("end", ["source", "backup"])
def test_a_run_whose_statement_is_blocked_ends_when_its_time_is_up_and_the_retry_finishes(
    mssql: MssqlBackend, end: str
) -> None:
    """On the source nothing can be read (its table is being altered), on the backup one row cannot be written."""
    before = mssql.backup_rows()
    altering = f"ALTER TABLE {mssql.table} ADD Other INT NULL"
    updating = f"UPDATE {mssql.table} SET Version = Version WHERE Id = 3"
    begun = time.monotonic()
    with rival(mssql, altering if end == "source" else updating, end), alarm(2), pytest.raises(TimeIsUp):
        mssql.sync(run_id="tonight")
    assert 2 <= time.monotonic() - begun < 6
    assert mssql.backup_rows() == before
    assert finished(mssql, "tonight")


@pytest.mark.parametrize(
    "number, sentence",
    [
        (1222, "waited too long for a lock: another session holds one on the table, or on what belongs to it"),
        (9002, "has a full transaction log"),
        (1105, "has no room left in the database's files"),
        (40501, "is too busy"),
    ],
)
def test_a_server_in_trouble_in_the_middle_of_a_batch_undoes_it_and_the_retry_writes_it(
    mssql: MssqlBackend, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    """The inserts of the batch were made when its updates meet the error. (The server at hand has other numbers.)"""

    def refuse() -> int:
        raise pymssql.OperationalError(number, b"row 'old' is in the wayDB-Lib error message 20018, severity 17:\n")

    def update(writer: MssqlWriter, _: Any) -> int:
        return writer.session.connection.call(refuse)

    before = mssql.backup_rows()
    with monkeypatch.context() as broken:
        broken.setattr(MssqlWriter, "_update", update)
        with pytest.raises(RetriableError) as caught:
            mssql.sync(run_id="tonight")
    assert str(caught.value) == f"backup: SQL Server {sentence} (error {number})"
    assert mssql.backup_rows() == before
    assert finished(mssql, "tonight")


@pytest.mark.parametrize("end", [0, 1], ids=["source", "backup"])
def test_a_line_to_sql_server_that_is_cut_between_any_two_steps_is_one_sentence_and_the_retry_finishes(
    mssql_network: Case, end: int
) -> None:
    """Reading and writing; and a source that fails half-way never causes a delete."""
    case, backend = mssql_network, mssql_network.backend
    case.prepare()
    backend.sync(run_id="in step")
    for number, boundary in enumerate(["after digest", "before apply", "before guard", "before delete"]):
        backend.put(*((key, number + 3, "changed") for key in range(100, 110)), (1_000 + number, 1, "new"))
        backend.remove(150 + number)
        case.before = backend.backup_rows()
        cut = []

        def strike(name: str, boundary: str = boundary, cut: list[str] = cut) -> None:
            if name == boundary and not cut:
                cut.append(name)
                case.proxies[end].cut()

        with faults.installed(strike):
            done = case.try_through_it(boundary, 0)
        assert cut
        assert done == (end == 0 and boundary == "before delete"), boundary  # the source is not asked any more
        there = {row["Id"] for row in backend.backup_rows()}
        assert (150 + number in there) == (not done), "an attempt that failed has deleted"
        backend.sync(run_id=boundary, service=case.service())
        assert backend.backup_rows() == backend.source_rows()
        assert [row["RunId"] for row in backend.history_rows()].count(boundary) == 1


# The login


@contextmanager
def login(mssql: MssqlBackend) -> Iterator[tuple[str, str]]:
    """A login that may read the source, and its password."""
    name, password = f"reader_{secrets.token_hex(4)}", f"Pw-{secrets.token_hex(12)}"
    mssql.run(mssql.source_uri, f"CREATE LOGIN {name} WITH PASSWORD = '{password}'", "master")
    mssql.run_source(f"CREATE USER {name} FOR LOGIN {name}")
    mssql.run_source(f"GRANT SELECT ON {mssql.table} TO {name}")
    try:
        yield name, password
    finally:
        mssql.run_source(f"REVOKE SELECT ON {mssql.table} FROM {name}")
        mssql.run_source(f"DROP USER {name}")
        mssql.run(mssql.source_uri, f"DROP LOGIN {name}", "master")


def alter_password(mssql: MssqlBackend, name: str) -> None:
    mssql.run(mssql.source_uri, f"ALTER LOGIN {name} WITH PASSWORD = 'Other-{secrets.token_hex(12)}'", "master")


def as_login(mssql: MssqlBackend, name: str, password: str) -> None:
    parts = urlsplit(mssql.source_uri)
    mssql.reader_uri = f"mssql://{quote(name)}:{quote(password)}@{parts.hostname}:{parts.port}"


class WithReader(MssqlBackend):
    """The source is read by a login of its own."""

    reader_uri = ""

    def open(self, service: Any) -> Any:
        source, backup = super().open(service)
        source.catalog.session._connect = lambda database: self.connect(
            self.reader_uri, database or self.source_database
        )
        return source, backup


@pytest.fixture
def reader(mssql: MssqlBackend) -> Iterator[tuple[MssqlBackend, str, str]]:
    with login(mssql) as (name, password):
        mssql.__class__ = WithReader
        as_login(mssql, name, password)
        yield mssql, name, password


def test_a_password_that_is_changed_in_the_middle_of_a_run_does_not_stop_it(reader: Any) -> None:
    mssql, name, _ = reader
    with faults.installed(lambda point: alter_password(mssql, name) if point == "after cut" else None):
        assert finished(mssql, "tonight")


def test_a_password_that_was_changed_since_the_last_attempt_fails_at_once_and_is_not_told(reader: Any) -> None:
    mssql, name, password = reader
    before = mssql.backup_rows()
    alter_password(mssql, name)
    with pytest.raises(ConfigurationError) as caught:
        mssql.sync(run_id="tonight")
    said = str(caught.value)
    assert said == "source: SQL Server refused the login; correct login and password of the connection (error 18456)"
    assert password not in said
    assert mssql.backup_rows() == before


def test_a_server_that_is_away_is_retried_also_after_a_refused_login(mssql: MssqlBackend) -> None:
    """The driver goes on naming the refused login when afterwards no connection can be made at all."""
    closed = "mssql://sa:x@127.0.0.1:1"
    wrong = f"mssql://nobody:Wrong-{secrets.token_hex(8)}@{urlsplit(mssql.source_uri).netloc.rpartition('@')[2]}"
    found: list[BackupSyncError] = []
    for uri in (wrong, closed):
        store = mssql_store(
            mssql.service(), lambda _, uri=uri: mssql.connect(uri, "master"), "source", "master", copy=False
        )
        with pytest.raises(BackupSyncError) as caught:
            store.catalog.describe()
        found.append(caught.value)
    assert [type(error) for error in found] == [ConnectionMistake, RetriableError]
    assert str(found[1]) == "source: cannot reach SQL Server, or the connection was cut (DB-Library 20009)"


# The sentences


@pytest.mark.parametrize("number", [*RETRIABLE, *CONFIGURATION, *FATAL, *CONNECTION, TIMED_OUT, 0, 99999])
def test_every_error_of_sql_server_becomes_one_sentence_that_quotes_nothing(number: int) -> None:
    error = pymssql.OperationalError(
        number, b"Violation: The duplicate key value is (hunter2). Login failed for 'hunter2'"
    )
    said = str(translate("customer_backup", number, error))
    assert said.startswith("customer_backup: ")
    assert "hunter2" not in said
    assert "\n" not in said
    assert not said.endswith(".")

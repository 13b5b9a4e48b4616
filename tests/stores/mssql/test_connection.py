"""What a session promises: one thread does everything, whoever waits can be told to end, and nothing hangs behind it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pymssql
import pytest

from backup_sync.model.errors import ConfigurationError, RetriableError
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import parse_service
from backup_sync.stores.base import Store
from backup_sync.stores.mssql import catalog as mssql_catalog
from backup_sync.stores.mssql.connection import MssqlConnection
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.mssql.store import mssql_store
from backup_sync.walk.sync import Options, sync
from tests.alarm import TimeIsUp, alarm

COLUMNS = [(name, "int", "NO", None, 10, 0, None, None) for name in ("Id", "Version")]


class Driver:
    """A server of one table without rows, behind a driver that notes which thread used it and what it was told.

    ``blocks``: statements that hold this text wait until ``release`` is set, as a call into C does: deaf to everything.
    """

    def __init__(self, blocks: str = "\0") -> None:
        self.blocks = blocks
        self.refuses = "refused"
        self.release = threading.Event()
        self.reached = threading.Event()
        self.sent: list[str] = []
        self.threads: set[str] = set()
        self.running = 0
        self.closed: list[int] = []
        """For each connection that was closed, how many calls were running then."""

    def connect(self, _: str | None = None) -> Connection:
        self.use("CONNECT")
        return Connection(self)

    def use(self, what: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.sent.append(what)
        self.running += 1
        try:
            if self.blocks in what:
                self.reached.set()
                assert self.release.wait(60)
        finally:
            self.running -= 1


class Connection:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def autocommit(self, _: bool) -> None:
        self.driver.use("AUTOCOMMIT")

    def cursor(self) -> Cursor:
        return Cursor(self.driver)

    def close(self) -> None:
        self.driver.use("CLOSE")
        self.driver.closed.append(self.driver.running)


class Cursor:
    rowcount = 7

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.sets: list[list[Any]] = []

    def execute(self, sql: str, params: Any = None) -> None:
        self.driver.use(sql)
        if "refused" in sql or self.driver.refuses in sql:
            raise pymssql.OperationalError(1205, b"row (hunter2)")
        if "mistaken" in sql:
            raise KeyError("hunter2")
        if "INFORMATION_SCHEMA" in sql:
            self.sets = [COLUMNS, [("Id",)], [], [], [(1,)], [("S", "D", None, None, None)]]
        elif "MIN(" in sql:
            self.sets = [[(1, 100)]]
        elif "getapplock" in sql:
            self.sets = [[(0,)]]
        elif "hundred" in sql:
            self.sets = [[(number,) for number in range(100)]]
        else:
            self.sets = [[]]

    def fetchmany(self, size: int) -> list[Any]:
        self.driver.use("FETCH")
        rows, self.sets[0] = self.sets[0][:size], self.sets[0][size:]
        return rows

    def fetchall(self) -> list[Any]:
        self.driver.use("FETCH")
        return self.sets[0]

    def nextset(self) -> bool:
        self.sets.pop(0)
        return bool(self.sets)


def stops_in_time(work: Callable[[], Any], limit: float = 0.3, within: float = 3.0) -> None:
    begun = time.monotonic()
    with alarm(limit), pytest.raises(TimeIsUp):
        work()
    assert limit <= time.monotonic() - begun < limit + within


def session(driver: Driver, where: str = "backup") -> MssqlConnection:
    return MssqlConnection(where, driver.connect)


def threads_of(where: str) -> list[threading.Thread]:
    """The threads of the sessions at this end. Not how many there are in all: those of other tests come and go."""
    return [thread for thread in threading.enumerate() if thread.name == f"backup_sync-sql-{where}"]


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("it never became true")


def test_the_driver_is_only_ever_used_by_the_sessions_own_thread():
    driver = Driver()
    one = session(driver)
    assert list(one.pages("hundred", (), 40)) == [
        [(number,) for number in range(start, min(start + 40, 100))] for start in (0, 40, 80)
    ]
    assert one.run("UPDATE") == 7
    assert one.results("INFORMATION_SCHEMA")[:2] == [COLUMNS, [("Id",)]]
    one.close()
    assert driver.threads == {"backup_sync-sql-backup"}
    assert driver.closed == [0]


def test_a_session_bounds_the_wait_for_locks_and_is_the_one_to_wait_in_a_deadlock():
    driver = Driver()
    session(driver).close()
    assert driver.sent[:3] == [
        "CONNECT",
        "AUTOCOMMIT",
        f"SET NOCOUNT OFF; SET LOCK_TIMEOUT {1_000 * Limits.lock_seconds:.0f}; SET DEADLOCK_PRIORITY LOW",
    ]
    assert Limits.lock_seconds > 0  # 0 would not wait at all, and -1 for ever


def test_errors_are_those_of_the_tree_and_others_are_as_they_were():
    one = session(Driver())
    with pytest.raises(RetriableError) as caught:
        one.run("refused", ["hunter2"])
    assert str(caught.value) == "backup: SQL Server was chosen as deadlock victim (error 1205)"
    assert caught.value.__context__ is None  # whose frames would hold what was sent
    with pytest.raises(KeyError):
        one.run("mistaken")
    assert one.run("UPDATE") == 7
    one.close()


def test_a_session_that_cannot_be_opened_leaves_no_thread_behind():
    asked: list[int] = []

    def refuse() -> None:
        asked.append(len(threads_of("refused")))
        raise ConfigurationError("refused: no such thing")

    with pytest.raises(ConfigurationError, match="no such thing"):
        MssqlConnection("refused", refuse)
    assert asked == [1]
    eventually(lambda: not threads_of("refused"))


def test_a_session_that_is_closed_or_forgotten_leaves_no_thread_behind():
    one = session(Driver(), "closed")
    assert len(threads_of("closed")) == 1
    one.close()
    eventually(lambda: not threads_of("closed"))
    other = session(Driver(), "forgotten")
    assert len(threads_of("forgotten")) == 1
    del other
    gc.collect()
    eventually(lambda: not threads_of("forgotten"))


def test_a_page_is_held_by_nobody_but_the_one_who_asked_for_it():
    class Page(list[Any]):
        pass

    class Pages:
        def __init__(self) -> None:
            self.left = 3

        def cursor(self) -> Any:
            return self

        def autocommit(self, _: bool) -> None: ...
        def execute(self, *_: Any) -> None: ...
        def close(self) -> None: ...

        rowcount = 0

        def fetchmany(self, _: int) -> Page:
            assert [page() for page in gone] == [None] * len(gone)
            self.left -= 1
            return Page([(1,)] if self.left >= 0 else [])

    gone: list[weakref.ref[Any]] = []
    one = MssqlConnection("backup", Pages)
    count = 0
    for page in one.pages("SELECT", (), 10):
        gone.append(weakref.ref(page))
        count += 1
        del page
    assert count == 3
    one.close()


@pytest.mark.parametrize("blocks", ["CONNECT", "SET NOCOUNT", "SELECT", "FETCH"])
def test_whoever_waits_for_the_server_can_be_told_to_end(blocks):
    driver = Driver(blocks)
    stops_in_time(lambda: list(session(driver).pages("SELECT 1", (), 10)), within=1.0)
    driver.release.set()


def test_an_interrupted_session_is_given_up_and_closed_by_its_own_thread_when_the_call_returns():
    driver = Driver("blocked")
    one = session(driver)
    stops_in_time(lambda: one.run("blocked"), within=1.0)
    begun = time.monotonic()
    one.close()
    with pytest.raises(RetriableError, match="backup: the connection was closed"):
        one.run("ROLLBACK")
    with pytest.raises(RetriableError, match="backup: the connection was closed"):
        list(one.pages("SELECT 1", (), 10))
    assert time.monotonic() - begun < 0.5
    assert driver.closed == []
    driver.release.set()
    eventually(lambda: driver.closed == [0])
    assert driver.sent[-2:] == ["blocked", "CLOSE"]
    assert driver.threads == {"backup_sync-sql-backup"}


def another_waits(driver: Driver, one: MssqlConnection) -> tuple[threading.Thread, list[str]]:
    """A thread that is blocked on the session, and the list in which it will say what it was told."""
    told: list[str] = []

    def ask() -> None:
        with pytest.raises(RetriableError) as caught:
            one.run("blocked")
        told.append(str(caught.value))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert driver.reached.wait(5)
    return thread, told


def test_closing_does_not_wait_for_a_call_that_another_thread_asked_for_and_tells_it():
    driver = Driver("blocked")
    one = session(driver)
    other, told = another_waits(driver, one)
    begun = time.monotonic()
    one.close()
    other.join(5)
    assert time.monotonic() - begun < 0.5
    assert told == ["backup: the connection was closed, because the run that used it was ended"]
    assert driver.closed == []
    driver.release.set()
    eventually(lambda: driver.closed == [0])


def test_a_signals_handler_that_closes_the_store_and_raises_nothing_ends_the_wait_as_well():
    """What an operator does when its task is killed."""
    driver = Driver("blocked")
    one = session_of(driver)
    before = signal.signal(signal.SIGALRM, lambda *_: one.close())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    begun = time.monotonic()
    try:
        with pytest.raises(RetriableError, match="backup: the connection was closed"), one.transaction():
            one.run("blocked")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 0.3 <= time.monotonic() - begun < 1.5
    driver.release.set()
    eventually(lambda: driver.closed == [0])
    assert driver.sent[-2:] == ["blocked", "CLOSE"]


def test_who_cleans_up_behind_a_thread_that_hangs_does_not_hang_in_the_same_call():
    driver = Driver("blocked")
    one = session(driver)
    other, told = another_waits(driver, one)
    begun = time.monotonic()
    with pytest.raises(RetriableError, match="backup: the connection was closed"):
        one.run("EXEC sp_releaseapplock")
    one.close()
    other.join(5)
    assert time.monotonic() - begun < 0.5
    assert len(told) == 1
    driver.release.set()
    eventually(lambda: driver.closed == [0])
    assert driver.sent[-2:] == ["blocked", "CLOSE"]


# A store and a run


def store(driver: Driver, label: str) -> Store:
    entry = {"source": "s", "backup": "b", "table": "app.Things", "changed": {"Version": "higher"}}
    service = parse_service("thing", entry, where="test")
    return mssql_store(service, driver.connect, label, "Db", copy=label == "backup")


def session_of(driver: Driver) -> MssqlSession:
    """The session of a store at the end called backup."""
    session: Any = store(driver, "backup").catalog.session  # type: ignore[attr-defined]
    return session


def test_an_interrupted_store_sends_nothing_more_neither_a_rollback_nor_on_another_connection():
    driver = Driver("blocked")
    one = session_of(driver)

    def work() -> None:
        with one.transaction():
            one.run("blocked")

    stops_in_time(work, within=1.0)
    with pytest.raises(RetriableError):
        one.run("EXEC sp_releaseapplock")
    driver.release.set()
    eventually(lambda: driver.closed == [0])
    assert driver.sent.count("CONNECT") == 1
    assert driver.sent[-3:] == ["BEGIN TRANSACTION", "blocked", "CLOSE"]
    one.close()


def test_a_connection_that_is_made_when_the_store_is_closed_already_is_closed_as_well():
    driver = Driver("CONNECT")
    one = session_of(driver)
    told: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(RetriableError, match="backup: the run has ended") as caught:
            one.run("UPDATE")
        told.append(caught.value)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert driver.reached.wait(5)
    one.close()
    driver.release.set()
    thread.join(5)
    assert len(told) == 1
    assert driver.closed == [0]
    assert "UPDATE" not in driver.sent


def test_a_store_that_lost_its_connection_opens_another_one_as_long_as_it_is_not_closed():
    driver = Driver()
    one = session_of(driver)

    def fails() -> None:
        with one.transaction():
            driver.refuses = "ROLLBACK"
            one.run("refused")

    with pytest.raises(RetriableError, match="deadlock victim"):
        fails()
    assert one.run("UPDATE") == 7
    assert driver.sent.count("CONNECT") == 2
    one.close()
    with pytest.raises(RetriableError, match="backup: the run has ended"):
        one.run("UPDATE")
    assert driver.sent.count("CONNECT") == 2


BOTH_ENDS = ["CONNECT", "INFORMATION_SCHEMA", "COUNT_BIG", "FETCH"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "end, blocks",
    [*product(["source", "backup"], BOTH_ENDS), ("source", "MIN("), ("backup", "getapplock")],
)
def test_a_run_whose_statement_is_blocked_ends_when_it_is_told_to(end, blocks, monkeypatch):
    """Whichever end hangs, and in whichever thread: the time-out's and a few seconds."""
    driver = Driver(blocks)
    ends = {name: store(driver if name == end else Driver(), name) for name in ("source", "backup")}
    # A pair, and not empty, so that both are digested.
    monkeypatch.setattr("backup_sync.walk.pairing.check", lambda *_: False)
    for one in ends.values():
        one.journal.states = lambda: {"pairing": {}}  # type: ignore[method-assign]
        one.journal.begin = lambda run: False  # type: ignore[method-assign]
        one.unfilled = None
    monkeypatch.setattr("backup_sync.stores.mssql.reader.MssqlReader.empty", lambda _: False)
    run = SyncResult(sync_id("d", "r", "thing"), "thing", run_id="r")

    def work() -> None:
        try:
            sync(ends["source"].service, ends["source"], ends["backup"], run, Options())
        finally:
            for one in ends.values():
                one.close()

    stops_in_time(work)
    assert driver.reached.is_set()
    driver.release.set()
    eventually(lambda: driver.running == 0)


@pytest.mark.slow
def test_the_end_of_the_process_waits_for_no_statement(tmp_path: Path):
    script = tmp_path / "ends.py"
    script.write_text(
        "import signal, sys, time\n"
        "from backup_sync.walk.pipeline import both\n"
        "from tests.stores.mssql.test_connection import Driver, TimeIsUp, alarm, session\n"
        "one, other = session(Driver('blocked')), session(Driver('blocked'))\n"
        "try:\n"
        "    with alarm(0.3):\n"
        "        both(lambda: one.run('blocked'), lambda: other.run('blocked'))\n"
        "except TimeIsUp:\n"
        "    print('told to end')\n"
    )
    folder = Path(__file__).resolve().parents[3]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": f"{folder / 'plugins'}:{folder}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "told to end\n", "")
    assert time.monotonic() - begun < 40  # the drivers would hang for 60


# a database that another run makes


@pytest.mark.parametrize("refused", [1, 3])
def test_a_database_that_was_made_between_two_questions_is_found(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store, tries = between_two_questions(refused, monkeypatch)
    assert store.catalog._database_exists()  # type: ignore[attr-defined]
    assert tries == [None, "master"] * refused + [None]
    store.close()


def test_a_login_that_only_master_takes_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store, tries = between_two_questions(1_000, monkeypatch)
    with pytest.raises(ConfigurationError, match="refused the login"):
        store.catalog.exists()
    assert len(tries) == 2 * (1 + len(mssql_catalog.MADE_MEANWHILE))


def between_two_questions(refused: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, list[str | None]]:
    """A store whose database lets nobody in so many times, while master has it already; and what is connected to."""
    monkeypatch.setattr(mssql_catalog, "MADE_MEANWHILE", (0.0,) * 4)
    tries: list[str | None] = []

    class Master(Driver):
        def connect(self, database: str | None = None) -> Connection:
            tries.append(database)
            if database is None and tries.count(None) <= refused:
                raise pymssql.OperationalError(18456, b"Login failed for user 'sa'.")
            return super().connect(database)

    monkeypatch.setattr(Cursor, "fetchall", lambda _: [(5,)])
    service = parse_service(
        "s", {"source": "a", "backup": "b", "table": "t.T", "changed": {"V": "higher"}}, where="test"
    )
    return mssql_store(service, Master().connect, "backup", "Db", copy=True), tries

"""A throw-away home for Airflow, who runs which test when there are several processes, and why tests were skipped.

Airflow reads its environment on import: the home has to be there before any test imports it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pairs import Pairs

_HOME = tempfile.mkdtemp(prefix="backup_sync-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_HOME}/airflow.db"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).resolve().parents[1] / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(Path(__file__).resolve().parents[1] / "plugins")
os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = "a secret of the tests alone, and as long as its algorithm wants it to be"
os.environ["AIRFLOW__API__SECRET_KEY"] = "another secret of the tests alone"

ORDER = ("tests/e2e/", "tests/reliability/", "tests/dags/", "tests/conformance/")
"""These begin first: what takes longest must not be what everybody waits for in the end."""
SPREAD = ("tests/reliability/",)
"""Here each test goes to whoever is free; elsewhere a file goes to one process, and its fixtures are made once."""
AT_ONCE = 8


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-tsql", action="store_true", help="store the T-SQL as it is rendered now")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SPREAD) or "cosmos-npm" in item.nodeid:
            item.add_marker("slow")
    items.sort(key=lambda item: next((at for at, path in enumerate(ORDER) if item.nodeid.startswith(path)), len(ORDER)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: a third of the time a slow test waits, for a lease to end or for a retry. (Three took
    half as long again.)

    One where servers are named to the tests: they find names there that others would use at the same time.
    """
    if any(name.startswith(("BACKUP_SYNC_TEST_MSSQL", "BACKUP_SYNC_TEST_COSMOS")) for name in os.environ):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1 if "not slow" in config.option.markexpr else min(AT_ONCE, 2 * cores)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if nodeid.startswith(SPREAD) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # ORDER is the order
    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each reason to skip; pytest by itself has one for each place and reason."""
    skipped = Counter(str(report.longrepr[2]) for report in terminalreporter.getreports("skipped"))
    if skipped:
        terminalreporter.section("skipped")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"{count:>4} × {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    """Lends pairs of embedded Cosmos servers."""
    found = Pairs(tmp_path_factory.mktemp("pairs"))
    yield found
    found.close()

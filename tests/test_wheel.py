"""Installed by pip, the package is found by a plain Airflow: its provider, its settings, its DAGs. No plugins folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from backup_sync import __version__
from backup_sync.provider import OPTIONS, sanitize_cosmos_uri
from tests.wheel import ROOT, install

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def plain(installed: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of an Airflow that nobody set up, with one DAG file of three lines."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "mine.py").write_text(
        '"""The Airflow DAG backup_sync."""\n'
        "from backup_sync.dags.sync import build\n"
        "globals().update(build(__file__))\n"
    )
    (tmp_path / "dags" / "backup_sync.yaml").write_text(
        "services:\n  thing: {source: a, backup: b, table: app.Things, changed: {Version: higher}}\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BACKUP_SYNC"))}
    return {
        **kept,
        "PYTHONPATH": str(installed),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def said(environment: dict[str, str], code: str) -> Any:
    """What a program prints last, in an Airflow of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=environment["AIRFLOW_HOME"])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def metadata(installed: Path) -> Message:
    (folder,) = installed.glob("backup_sync-*.dist-info")
    return Parser().parsestr((folder / "METADATA").read_text())


def test_airflow_finds_the_provider_and_what_it_says_is_what_airflow_wants_to_know(plain: dict[str, str]) -> None:
    code = (
        "import json; from airflow.providers_manager import ProvidersManager\n"
        "found = ProvidersManager().providers['backup-sync']\n"
        "print(json.dumps([found.version, found.data['name'], found.data['asset-uris'][0]['schemes']]))"
    )
    assert said(plain, code) == [__version__, "backup_sync", ["cosmos"]]


def test_a_dag_file_of_three_lines_is_enough(plain: dict[str, str]) -> None:
    code = (
        "import json, sys; from airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(sys.argv[1] if len(sys.argv) > 1 else 'dags')\n"
        "import backup_sync\n"
        "print(json.dumps([bag.import_errors, {name: sorted(dag.task_ids) for name, dag in bag.dags.items()}, backup_sync.__file__]))"
    )
    errors, dags, where = said(plain, code)
    assert errors == {}
    assert dags == {"backup_sync": ["summary", "thing.initialize", "thing.record_history", "thing.sync"]}
    assert where.startswith(plain["PYTHONPATH"])


def test_airflow_knows_each_setting_and_its_default(plain: dict[str, str]) -> None:
    code = (
        "import json; from airflow.configuration import conf\n"
        "from airflow.providers_manager import ProvidersManager; ProvidersManager().initialize_providers_configuration()\n"
        f"print(json.dumps([conf.get('backup_sync', name) for name in {list(OPTIONS)!r}]))"
    )
    assert said(plain, code) == [default for _, default, _ in OPTIONS.values()]


def test_an_asset_of_a_container_is_checked(plain: dict[str, str]) -> None:
    code = (
        "import json; from airflow.sdk import Asset\n"
        "good = Asset(uri='cosmos://account.documents.azure.com/db/orders').uri\n"
        "try:\n    Asset(uri='cosmos://account/db'); bad = 'taken'\n"
        "except ValueError as error:\n    bad = str(error)\n"
        "print(json.dumps([good, bad]))"
    )
    good, bad = said(plain, code)
    assert good == "cosmos://account.documents.azure.com/db/orders"
    assert "must contain host, database and container" in bad
    with pytest.raises(ValueError):
        sanitize_cosmos_uri(type("Uri", (), {"netloc": "", "path": "/db/orders"}))


def test_the_wheel_wants_what_the_package_runs_on(installed: Path) -> None:
    from packaging.requirements import Requirement

    wanted = {Requirement(text).name.lower() for text in metadata(installed).get_all("Requires-Dist") or []}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {
        Requirement(line.split("#")[0]).name.lower() for line in lines if line.strip() and not line.startswith("#")
    }
    assert pinned - {"pytest"} <= wanted
    assert metadata(installed)["Version"] == __version__


def test_what_is_pinned_is_in_the_range_that_the_wheel_names(installed: Path) -> None:
    from packaging.requirements import Requirement

    ranges = {
        one.name.lower(): one.specifier for one in map(Requirement, metadata(installed).get_all("Requires-Dist") or [])
    }
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pinned = Requirement(line.split("#")[0])
            ((_, version),) = [(spec.operator, spec.version) for spec in pinned.specifier]
            assert pinned.name == "pytest" or ranges[pinned.name.lower()].contains(version)


def test_airflow_finds_the_console_and_its_pages(plain: dict[str, str]) -> None:
    code = (
        "import json; from pathlib import Path; from airflow import plugins_manager\n"
        "apps, _ = plugins_manager.get_fastapi_plugins()\n"
        "import backup_sync.console as console\n"
        "there = sorted(path.name for path in Path(console.__file__).parent.rglob('*') if path.suffix in ('.html', '.css', '.js'))\n"
        "print(json.dumps([[app['url_prefix'] for app in apps], there]))"
    )
    prefixes, there = said(plain, code)
    assert prefixes == ["/backup"]
    console = ROOT / "plugins" / "backup_sync" / "console"
    assert there == sorted(path.name for path in console.rglob("*") if path.suffix in (".html", ".css", ".js"))
    assert len(there) >= 8


def test_a_deserialized_task_keeps_its_link_to_the_console(plain: dict[str, str]) -> None:
    code = (
        "import json; from airflow.dag_processing.dagbag import DagBag\n"
        "from airflow.serialization.serialized_objects import DagSerialization\n"
        "dag = DagBag('dags').dags['backup_sync']\n"
        "task = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task('thing.sync')\n"
        "print(json.dumps([list(task.operator_extra_link_dict), task.fresh_within]))"
    )
    assert said(plain, code) == [["Backup"], 26 * 3_600]

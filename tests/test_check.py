"""``python -m backup_sync check``, as somebody runs it before the next night does."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from backup_sync.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
GOOD = "{source: src, backup: bak, table: app.Things, changed: {Version: higher}}"


def services(tmp_path: Path, text: str) -> str:
    path = tmp_path / "services.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "source.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL)")
    for name, file in (("SRC", path), ("BAK", tmp_path / "backup.sqlite")):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return path


def test_a_file_that_is_right_ends_with_0_and_names_its_services(tmp_path, capsys):
    assert main(["check", services(tmp_path, f"services: {{a: {GOOD}, b: {GOOD.replace('Things', 'Others')}}}")]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}/services.yaml: a, b are as they should be\n"
    assert told.err == ""


def test_each_mistake_is_one_sentence_and_ends_with_1(tmp_path, capsys):
    text = (
        f"services:\n  good: {GOOD}\n  'a b': {{}}\n  rule: {GOOD.replace('higher', 'bigger').replace('Things', 'C')}\n"
    )
    assert main(["check", services(tmp_path, text)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    one, other = told.err.splitlines()
    assert "service 'a b' may hold only" in one
    assert other.startswith("rule: services.yaml: services.rule: changed.Version: ")


def test_a_file_that_is_missing_and_a_wrong_call_have_exit_codes_of_their_own(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nothing.yaml")]) == 1
    with pytest.raises(SystemExit) as caught:
        main(["chekc"])
    assert caught.value.code == 2


def test_without_connections_nothing_of_airflow_is_asked_for(tmp_path):
    code = (
        "import sys\n"
        "from backup_sync.__main__ import main\n"
        f"assert main(['check', {services(tmp_path, f'services: {{a: {GOOD}}}')!r}]) == 0\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'airflow']\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_with_connections_both_ends_are_looked_at_and_nothing_is_made(tmp_path, source, capsys):
    file = services(tmp_path, f"services: {{a: {GOOD}}}")
    assert main(["check", file, "--connections"]) == 0
    assert "a and their connections are as they should be" in capsys.readouterr().out
    assert not (tmp_path / "backup.sqlite").exists()
    source.unlink()
    assert main(["check", file, "--connections"]) == 1
    assert capsys.readouterr().err.startswith("a: ")


@pytest.mark.airflow
def test_connections_that_only_airflows_database_has_are_found(tmp_path, source, monkeypatch):
    file = services(tmp_path, f"services: {{a: {GOOD}}}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    values = {name: environment.pop(f"AIRFLOW_CONN_{name.upper()}") for name in ("src", "bak")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, timeout=120
        )

    assert run("airflow", "db", "migrate").returncode == 0
    ran = run("backup_sync", "check", file, "--connections")
    assert ran.returncode == 1
    assert "connection src of service a does not exist" in ran.stderr
    for name, value in values.items():
        assert run("airflow", "connections", "add", name, "--conn-json", value).returncode == 0
    ran = run("backup_sync", "check", file, "--connections")
    assert ran.returncode == 0, ran.stderr

"""``python -m backup_sync points`` and ``forget``, as somebody calls them beside Airflow."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backup_sync.__main__ import main
from backup_sync.hooks import open_stores
from backup_sync.model.config import load_service
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.walk.initialize import initialize
from backup_sync.walk.record import record_history
from backup_sync.walk.sync import Options, sync

ENTRY = "{source: src, backup: bak, table: app.Things, changed: {Version: higher}, keep_history: 30d}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The services file of a backup with two runs."""
    path = tmp_path / "services.yaml"
    path.write_text(f"services: {{thing: {ENTRY}}}")
    source = tmp_path / "source.sqlite"
    for name, database in (("SRC", source), ("BAK", tmp_path / "backup.sqlite")):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    with closing(sqlite3.connect(source)) as db, db:
        db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL)")
        db.executemany("INSERT INTO Things VALUES (?, 1)", [(1,), (2,)])
    service = load_service(path, "thing")
    for number, run_id in enumerate(("first", "second"), start=1):
        with closing(sqlite3.connect(source)) as db, db:
            db.execute("UPDATE Things SET Version = ? WHERE Id = 1", [number])
        ends = open_stores(service)
        with closing(ends[0]), closing(ends[1]):
            initialize(*ends)
            run = SyncResult(sync_id("dag", run_id, "thing"), "thing", run_id=run_id)
            sync(service, *ends, run, Options())
            record_history(ends[1], run)
    return str(path)


def test_points_are_listed_held_and_released(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["points", "thing", "--file", file]) == 0
    _, second, first = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +2  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ +0 +1 +0  whole    second \([0-9a-f-]{36}\)", second)
    assert re.fullmatch(r" +1  .*Z +2 +0 +0  whole    first \([0-9a-f-]{36}\)", first)
    assert main(["points", "thing", "--file", file, "--hold", "1", "--reason", "before the release"]) == 0
    assert capsys.readouterr().out.splitlines()[2].endswith("; held: before the release")
    assert main(["points", "thing", "--file", file, "--release", "1"]) == 0
    assert "held" not in capsys.readouterr().out


def test_a_point_that_is_not_there_is_one_sentence(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["points", "thing", "--file", file, "--hold", "7"]) == 1
    assert capsys.readouterr().err == "thing: there is no restore point 7; list them first\n"


def test_one_record_is_forgotten(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "thing", "1", "--file", file]) == 0
    assert main(["forget", "thing", "[1]", "--file", file]) == 0
    assert capsys.readouterr().out == "thing: removed 1 entries\nthing: removed 0 entries\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["forget", "thing", "{"], 2, "the key has to be JSON"),
        (["forget", "thing", "[1, 2]"], 1, "the key of app.Things is Id; give a value for each"),
        (["points", "other"], 1, "other"),
    ],
)
def test_a_mistake_is_one_sentence(
    file: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main([*arguments, "--file", file]) == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1

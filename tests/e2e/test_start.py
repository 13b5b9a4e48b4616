"""The page for the first backup, executed from top to bottom as a new user would."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.wheel import install

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/start.md"
INSTALL = ["python3 -m venv venv", ". venv/bin/activate", "pip install -r requirements.txt ."]
"""Already done where this runs, so checked and left out."""
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
SECONDS = 600


def blocks() -> list[tuple[str, str, str]]:
    """(text above, language, content) of the page's blocks, up to the part about servers."""
    page = (ROOT / PAGE).read_text(encoding="utf-8").partition("\n## Every night")[0]
    return re.findall(r"((?:(?!```).)*)```(\w+)\n(.*?)```", page, re.DOTALL)


def script() -> str:
    """One session of a shell that prints a line before each block."""
    parts = ["set -e"]
    for number, (above, language, content) in enumerate(blocks()):
        if language == "bash":
            parts += [f"echo 'BLOCK {number}'", *(line for line in content.splitlines() if line not in INSTALL)]
        elif language == "yaml":
            [file] = re.findall(r"Replace `([^`]+)` with this:$", above.strip())
            parts += [f"cat > \"{file}\" <<'END_OF_FILE'", content.rstrip(), "END_OF_FILE"]
    return "\n".join(parts) + "\n"


def run(home: Path) -> str:
    """What the session prints; whatever it started has ended."""
    others = ("AIRFLOW", "BACKUP_SYNC", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= {
        "PYTHONPATH": str(install(home / "wheel")),
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with subprocess.Popen(
        ["bash", "-c", script()],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            printed, _ = shell.communicate(timeout=SECONDS)
        except BaseException:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    assert shell.returncode == 0, printed
    return printed


def promised() -> list[tuple[int, str]]:
    """(number of the block before, line) for each line that the page shows as output."""
    return [
        (number - 1, line)
        for number, (_, language, content) in enumerate(blocks())
        if language == "text"
        for line in content.splitlines()
    ]


@pytest.mark.airflow
def test_the_start_page_works_as_it_is_written(tmp_path: Path) -> None:
    assert [line for line in blocks()[0][2].splitlines() if line in INSTALL] == INSTALL
    printed = run(tmp_path)
    said = {int(number): text for number, text in re.findall(r"BLOCK (\d+)\n(.*?)(?=BLOCK |\Z)", printed, re.DOTALL)}
    assert len({number for number, _ in promised()}) == 4, "the plan, two syncs and the history show their output"
    for number, line in promised():
        form = MOMENT.join(map(re.escape, re.split(MOMENT, line)))
        assert re.search(form, said[number]), printed
    with closing(sqlite3.connect(tmp_path / "backup-try" / "shop_backup.sqlite")) as db:
        columns = [(name, key) for _, name, _, _, _, key in db.execute("PRAGMA table_info(OrderItems)") if key]
        rows = db.execute(
            "SELECT OrderId, Line, Product, Quantity, ModifiedAt FROM OrderItems ORDER BY 1, 2"
        ).fetchall()
        runs = db.execute("SELECT InsertedCount, UpdatedCount, DeletedCount FROM SyncHistory ORDER BY StartedAt")
        assert runs.fetchall() == [(100, 0, 0), (1, 2, 1)]
    assert columns == [("OrderId", 1), ("Line", 2)], "the key is composite"
    with closing(sqlite3.connect(tmp_path / "backup-try" / "shop.sqlite")) as db:
        assert rows == db.execute("SELECT * FROM OrderItems ORDER BY OrderId, Line").fetchall()
    assert len(rows) == 100

"""The page for the first backup, executed from top to bottom as a new user would."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/start.md"
INSTALL = ["python3 -m venv venv", ". venv/bin/activate", "pip install -r requirements.txt"]
"""What has been done already where this runs."""
SECONDS = 600


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the page's blocks, up to the part that is about servers."""
    page = (ROOT / PAGE).read_text(encoding="utf-8").partition("\n## Every night")[0]
    return re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)


def script() -> str:
    """One session of a shell, with a line in front of what each block prints."""
    parts = ["set -e"]
    for number, (language, text) in enumerate(blocks()):
        if language == "bash":
            lines = [line for line in text.splitlines() if line not in INSTALL]
            parts += [f"echo 'BLOCK {number}'", *lines]
        elif language == "yaml":
            parts += ["cat > \"$AIRFLOW_HOME/dags/backup_sync.yaml\" <<'END_OF_FILE'", text.rstrip(), "END_OF_FILE"]
    return "\n".join(parts) + "\n"


@pytest.mark.airflow
def test_the_start_page_works_as_it_is_written(tmp_path: Path) -> None:
    assert all(line in blocks()[0][1].splitlines() for line in INSTALL)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment.pop("PYTHONPATH", None)
    environment |= {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-c", script()], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    printed = {
        int(number): text for number, text in re.findall(r"BLOCK (\d+)\n(.*?)(?=BLOCK |\Z)", ran.stdout, re.DOTALL)
    }
    promised = 0
    for number, (language, text) in enumerate(blocks()):
        for line in text.splitlines() if language == "text" else ():
            if line.startswith("✓"):
                promised += 1
                assert line in printed[number - 1], ran.stdout
    assert promised >= 3
    with closing(sqlite3.connect(tmp_path / "backup-try" / "shop_backup.sqlite")) as db:
        copied = db.execute("SELECT COUNT(*), SUM(Quantity = 9), MAX(OrderId) FROM OrderItems").fetchone()
        runs = db.execute("SELECT InsertedCount, UpdatedCount, DeletedCount FROM SyncHistory ORDER BY StartedAt")
        assert (copied, runs.fetchall()) == ((100, 2, 51), [(100, 0, 0), (1, 2, 1)])

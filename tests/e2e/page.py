"""A page of the docs, executed from top to bottom as a new user would: its blocks in one session of a shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.wheel import install

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600

Block = tuple[str, str, str]
"""The text above, the language, the content."""


def blocks(text: str) -> list[Block]:
    """The blocks of (a part of) a page."""
    return re.findall(r"((?:(?!```).)*)```(\w+)\n(.*?)```", text, re.DOTALL)


def script(found: list[Block], without: list[str]) -> str:
    """One session that prints a line before each block. ``without``: lines that are left out."""
    parts = ["set -e"]
    for number, (above, language, content) in enumerate(found):
        if language == "bash":
            parts += [f"echo 'BLOCK {number}'", *(line for line in content.splitlines() if line not in without)]
        elif language == "yaml":
            [file] = re.findall(r"Replace `([^`]+)` with\s+this:$", above.strip())
            parts += [f"cat > \"{file}\" <<'END_OF_FILE'", content.rstrip(), "END_OF_FILE"]
    return "\n".join(parts) + "\n"


def run(home: Path, found: list[Block], without: list[str]) -> dict[int, str]:
    """What each block prints, by its number; whatever the session started has ended."""
    others = ("AIRFLOW", "BACKUP_SYNC", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= {
        "PYTHONPATH": str(install(home / "wheel")),
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with subprocess.Popen(
        ["bash", "-c", script(found, without)],
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
    return {int(number): text for number, text in re.findall(r"BLOCK (\d+)\n(.*?)(?=BLOCK |\Z)", printed, re.DOTALL)}


def promised(found: list[Block]) -> list[tuple[int, str]]:
    """(number of the block before, line) for each line that the page shows as output."""
    return [
        (number - 1, line)
        for number, (_, language, content) in enumerate(found)
        if language == "text"
        for line in content.splitlines()
    ]

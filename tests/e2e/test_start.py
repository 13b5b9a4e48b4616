"""The page for the first backup, executed from top to bottom as a new user would."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import page

PAGE = "docs/start.md"
INSTALL = ["python3 -m venv venv", ". venv/bin/activate", "pip install -r requirements.txt ."]
"""Already done where this runs, so checked and left out."""
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

STEPS = page.blocks((page.ROOT / PAGE).read_text(encoding="utf-8").partition("\n## Every night")[0])
"""Up to the part about servers."""


@pytest.mark.airflow
def test_the_start_page_works_as_it_is_written(tmp_path: Path) -> None:
    assert [line for line in STEPS[0][2].splitlines() if line in INSTALL] == INSTALL
    said = page.run(tmp_path, STEPS, without=INSTALL)
    promised = page.promised(STEPS)
    assert len({number for number, _ in promised}) == 4, "the plan, two syncs and the history show their output"
    for number, line in promised:
        form = MOMENT.join(map(re.escape, re.split(MOMENT, line)))
        assert re.search(form, said[number]), said
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

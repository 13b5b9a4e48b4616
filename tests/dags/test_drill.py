"""The DAG that restores for practice."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.dags.conftest import World

pytestmark = pytest.mark.airflow


@pytest.fixture
def drilled(world: World, tmp_path: Path) -> World:
    """One whose customers have a scratch file, and whose orders have none."""
    scratch = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "scratch.sqlite")})
    world.monkeypatch.setenv("AIRFLOW_CONN_CUSTOMER_SCRATCH", scratch)
    world.services(tmp_path, customer={"drill": "customer_scratch"})
    return world


def test_a_service_with_a_scratch_connection_is_drilled_and_the_history_says_how_long_it_took(
    drilled: World, tmp_path: Path
) -> None:
    assert "never proved that this backup can be restored" in drilled.run().said
    outcome = drilled.run("backup_drill")
    assert outcome.state == "success"
    assert outcome.tasks == {"customer": "success", "summary": "success"}
    assert "restored 20 records in" in outcome.said
    assert "customer drill completed" in outcome.log
    found = drilled.rows(drilled.places.customer_backup, "SELECT Mode, Success, Notice FROM SyncHistory")
    assert [row[:2] for row in found if row[0].startswith("drilled")] == [("drilled into customer_scratch", 1)]
    with closing(sqlite3.connect(tmp_path / "scratch.sqlite")) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []
    assert "never proved" not in drilled.run().said


def test_without_a_scratch_connection_there_is_nothing_to_drill_and_no_schedule(world: World) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from tests.dags.conftest import DAGS

    dag = DagBag(str(DAGS)).dags["backup_drill"]
    assert dag.task_ids == ["summary"]
    assert not dag.timetable.can_be_scheduled


def test_a_scratch_that_cannot_be_had_fails_the_drill_and_nothing_else(drilled: World, tmp_path: Path) -> None:
    drilled.run()
    drilled.monkeypatch.delenv("AIRFLOW_CONN_CUSTOMER_SCRATCH")
    outcome = drilled.run("backup_drill")
    assert outcome.state == "failed"
    assert "customer_scratch" in outcome.reasons["customer"]

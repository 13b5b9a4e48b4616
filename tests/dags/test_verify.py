"""The DAG that compares whole records, and the share of them that each night compares."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.dags.conftest import World

pytestmark = pytest.mark.airflow


@pytest.fixture
def quick(world: World, tmp_path: Path) -> World:
    """One that waits for nothing before it looks again."""
    world.services(tmp_path, customer={"verify_again_seconds": 0}, order={"verify_again_seconds": 0})
    return world


def edit(world: World, sql: str) -> None:
    with closing(sqlite3.connect(world.places.customer_backup)) as db, db:
        db.execute(sql)


def history(world: World) -> list[tuple[object, ...]]:
    columns = "Mode, Success, DriftCount, VerifiedShare, UpdatedCount, ErrorMessage"
    return world.rows(world.places.customer_backup, f"SELECT {columns} FROM SyncHistory ORDER BY StartedAt")


def test_each_night_compares_a_share_and_says_so_in_result_history_and_summary(quick: World) -> None:
    outcome = quick.run()
    assert outcome.state == "success"
    for result in outcome.summary["Results"]:
        assert result["VerifiedShare"] == pytest.approx(1 / 7)
        assert result["Verified"]["Drift"] == {"Count": 0, "Keys": [], "Fields": {}}
    assert "Whole content:" in outcome.log
    assert "14% of it by now" in outcome.log
    assert history(quick)[-1][3] == pytest.approx(1 / 7)
    assert quick.order_history()[-1]["verifiedShare"] == pytest.approx(1 / 7)


def test_a_verify_of_what_is_right_is_a_success_and_has_a_record_of_its_own(quick: World) -> None:
    quick.run()
    outcome = quick.run("backup_verify")
    assert outcome.state == "success"
    assert outcome.tasks == {"customer": "success", "order": "success", "summary": "success"}
    assert [result["Verified"]["Records"] for result in outcome.summary["Results"]] == [20, 20]
    assert "customer verify completed" in outcome.log
    assert "Verify summary:" in outcome.log
    assert "Next scheduled" not in outcome.log
    assert history(quick)[-1][:4] == ("verified", 1, 0, 1.0)


def test_drift_fails_the_run_and_names_keys_and_columns_and_no_value(quick: World) -> None:
    quick.run()
    edit(quick, "UPDATE Customers SET City = 'Kiruna-7' WHERE Id IN (3, 5)")
    outcome = quick.run("backup_verify")
    assert outcome.state == "failed"
    assert outcome.tasks["order"] == "success"
    assert "2 records of the backup differ from the source" in outcome.reasons["customer"]
    assert "City 2" in outcome.reasons["customer"]
    (found,) = [result["Verified"] for result in outcome.summary["Results"] if result["ServiceName"] == "customer"]
    assert found["Drift"] == {"Count": 2, "Keys": [[3], [5]], "Fields": {"City": 2}}
    assert "recover.md#the-backup-differs-from-its-source" in outcome.log
    assert "Kiruna" not in outcome.log + str(outcome.returned)
    assert history(quick)[-1][:3] == ("verified", 0, 2)


def test_a_repair_mends_what_differs_and_says_what_it_did(quick: World) -> None:
    quick.run()
    edit(quick, "UPDATE Customers SET City = 'Kiruna' WHERE Id IN (3, 5)")
    edit(quick, "DELETE FROM Customers WHERE Id = 7")
    outcome = quick.run("backup_verify", {"repair": True, "service": "customer"})
    assert outcome.state == "success"
    assert outcome.counts("customer") == (1, 2, 0, 17)
    assert "mended 2 records that drifted" in outcome.said
    assert "order" not in [result["ServiceName"] for result in outcome.summary["Results"]]
    assert quick.run("backup_verify").state == "success"
    assert history(quick)[-2][0] == "repaired"


def test_the_seal_tells_without_the_source_that_somebody_changed_the_backup(
    quick: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.run()
    quick.run("backup_verify")
    quick.places.customer_source.rename(quick.places.customer_source.with_suffix(".away"))
    conf = {"against": "seal", "service": "customer"}
    assert quick.run("backup_verify", conf).state == "success"
    edit(quick, "UPDATE Customers SET City = 'Kiruna' WHERE Id = 3")
    outcome = quick.run("backup_verify", conf)
    assert outcome.state == "failed"
    assert "1 of 1 sealed ranges" in outcome.reasons["customer"]
    assert "Seal: 1 ranges, 1 of them changed by somebody else than a run" in outcome.log


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ({"against": "seal", "repair": True}, "source alone"),
        ({"repiar": True}, "unknown parameter repiar"),
    ],
)
def test_a_run_that_asks_for_what_there_is_not_fails_with_one_sentence(
    quick: World, conf: dict[str, object], reason: str
) -> None:
    quick.run()
    outcome = quick.run("backup_verify", conf)
    assert outcome.state == "failed"
    assert reason in outcome.reasons["customer"]


def test_what_is_no_share_is_refused_before_anything_runs(quick: World) -> None:
    with pytest.raises(ValueError, match="share"):
        quick.run("backup_verify", {"share": "2/7"})


def test_a_night_that_finds_drift_fails_and_the_next_one_looks_there_again(quick: World, tmp_path: Path) -> None:
    quick.services(tmp_path, customer={"verify_again_seconds": 0, "verify": "all"})
    quick.run()
    edit(quick, "UPDATE Customers SET City = 'Kiruna' WHERE Id = 3")
    for _ in range(2):
        outcome = quick.run()
        assert outcome.state == "failed"
        assert outcome.tasks["customer.sync"] == outcome.tasks["customer.record_history"] == "failed"
        assert outcome.tasks["order.sync"] == "success"
        assert "no sync compares" in outcome.reasons["customer.sync"]
    assert quick.run("backup_verify", {"repair": True}).state == "success"
    assert quick.run().state == "success"

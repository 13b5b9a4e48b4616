from __future__ import annotations

import logging
from datetime import datetime, timezone

from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.summary import build_summary, render_summary


def result(service: str, **counts: int) -> SyncResult:
    run = SyncResult(sync_id("d", "r", service), service, **counts)
    run.complete()
    return run


def levelled(*results: SyncResult, started_by: str = "scheduled") -> list[tuple[int, str]]:
    summary = build_summary([run.to_dict() for run in results])
    started = datetime(2024, 12, 7, tzinfo=timezone.utc)
    following = datetime(2024, 12, 8, tzinfo=timezone.utc)
    return list(render_summary(summary, started_by, started, following, "docs/"))


def block(*results: SyncResult, started_by: str = "scheduled") -> list[str]:
    return [line for _, line in levelled(*results, started_by=started_by)]


def test_the_block_is_the_agreed_one():
    found = block(
        result("customer", inserted=5, updated=10, deleted=2, skipped=83),
        result("order", inserted=3, updated=7, deleted=0, skipped=45),
    )
    assert (
        "\n".join(found)
        == """\
========================================
Scheduled sync started at 2024-12-07T00:00:00Z
========================================
✓ customer sync completed. Inserted: 5, Updated: 10, Deleted: 2, Skipped: 83
✓ order sync completed. Inserted: 3, Updated: 7, Deleted: 0, Skipped: 45
========================================
Sync summary:
  Success: 2, Failed: 0
  Total Inserted: 8, Updated: 17, Deleted: 2
========================================
Next scheduled sync at 2024-12-08T00:00:00Z"""
    )


def test_what_was_unusual_is_named():
    assert block(result("customer", ahead=2))[3].endswith("Skipped: 0, Ahead: 2")


def test_a_failure_is_an_error_with_its_reason_once_what_was_done_all_the_same_and_where_to_read_on():
    run = result("order", inserted=1, withheld=30)
    run.fail("order: withheld 30 deletes.")
    run.help = "runbook.md#deletes-were-withheld"
    found = levelled(result("customer"), run, started_by="manual by anna")
    assert found[1] == (logging.INFO, "Manual sync started at 2024-12-07T00:00:00Z by anna")
    assert [line for level, line in found if level == logging.ERROR] == [
        "✗ order sync failed: withheld 30 deletes.",
        "  Inserted: 1, Updated: 0, Deleted: 0, Skipped: 0, Withheld: 30",
        "  See docs/runbook.md#deletes-were-withheld",
    ]
    assert (logging.INFO, "  Success: 1, Failed: 1") in found


def test_a_long_reason_is_broken_between_words_and_a_run_that_did_nothing_names_no_counts():
    run = result("order")
    run.fail(" ".join(["word"] * 60))
    lines = [line for level, line in levelled(run) if level == logging.ERROR]
    assert len(lines) == 3
    assert max(map(len, lines)) <= 110
    assert " ".join(line.strip() for line in lines) == f"✗ order sync failed: {run.error_message}"


def test_a_look_says_what_would_be_done():
    looked = result("customer", inserted=3, updated=2, deleted=1, skipped=94)
    looked.dry_run = True
    found = block(looked, started_by="manual")
    assert found[1] == "Manual look at what a sync would do started at 2024-12-07T00:00:00Z (nothing was written)"
    assert found[3] == "✓ customer sync would insert 3, update 2 and delete 1, and leave 94 as they are"
    assert "  Would be Inserted: 3, Updated: 2, Deleted: 1" in found
    assert "completed" not in "".join(found)


def test_a_held_service_is_neither_good_nor_bad():
    held = result("order")
    held.hold("order: the backup is held by manual by anna, until it is released: moving house")
    summary = build_summary([result("customer").to_dict(), held.to_dict()])
    assert (summary["Success"], summary["Message"]) == (True, "1 of 2 services completed; held: order")
    found = levelled(result("customer"), held)
    line = next(line for _, line in found if "moving house" in line)
    assert line.startswith("‖ order sync skipped: the backup is held by")
    assert (logging.INFO, "  Success: 1, Failed: 0, Held: 1") in found
    assert build_summary([held.to_dict()])["Success"] is False


def test_the_data_says_the_same():
    failed = result("order")
    failed.fail("no")
    summary = build_summary([result("customer").to_dict(), failed.to_dict()])
    assert summary["Success"] is False
    assert summary["Message"] == "1 of 2 services failed: order"
    assert [entry["ServiceName"] for entry in summary["Results"]] == ["customer", "order"]
    assert summary["Timestamp"].endswith("Z")

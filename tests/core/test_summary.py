from __future__ import annotations

from datetime import datetime, timezone

from backup_sync.core.result import SyncResult, sync_id
from backup_sync.core.summary import build_summary, render_summary


def result(service: str, **counts: int) -> SyncResult:
    run = SyncResult(sync_id("d", "r", service), service, **counts)
    run.complete()
    return run


def block(*results: SyncResult, kind: str = "scheduled") -> list[str]:
    summary = build_summary([run.to_dict() for run in results])
    started = datetime(2024, 12, 7, tzinfo=timezone.utc)
    return list(render_summary(summary, kind, started, datetime(2024, 12, 8, tzinfo=timezone.utc)))


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


def test_a_failure_is_named_with_its_reason_and_what_was_unusual():
    run = result("order", inserted=1, withheld=30)
    run.fail("order: withheld 30 deletes.")
    found = block(result("customer", ahead=2), run, kind="manual")
    assert found[1] == "Manual sync started at 2024-12-07T00:00:00Z"
    assert found[3].endswith("Skipped: 0, Ahead: 2")
    assert found[4] == (
        "✗ order sync failed: order: withheld 30 deletes. Inserted: 1, Updated: 0, Deleted: 0, Skipped: 0, Withheld: 30"
    )
    assert "  Success: 1, Failed: 1" in found


def test_the_data_says_the_same():
    failed = result("order")
    failed.fail("no")
    summary = build_summary([result("customer").to_dict(), failed.to_dict()])
    assert summary["Success"] is False
    assert summary["Message"] == "1 of 2 services failed: order"
    assert [entry["ServiceName"] for entry in summary["Results"]] == ["customer", "order"]
    assert summary["Timestamp"].endswith("Z")

"""What there is to see: nights that went well, and nights that did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.console.past import NOW, Past, result

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def good(past: Past, names: list[str], dag_id: str = "backup_sync", days: int = 90) -> None:
    """Ninety nights, each a little different."""
    for day in range(days, 0, -1):
        at = NOW - day * DAY + 20 * HOUR
        told: list[Any] = []
        for number, name in enumerate(names):
            counts = {
                "inserted": (day * 37 + number * 11) % 400,
                "updated": (day * 53 + number) % 900,
                "deleted": (day * 7) % 25,
                "skipped": 100_000 + 1_200 * (90 - day),
            }
            window = {"restorable_since": at - 30 * DAY, "undo_entries": 31_337, "run_number": 91 - day}
            checked = {"verified_share": 1.0, "verified_since": at - 6 * DAY, "verified": {"Records": 14_000}}
            made = result(name, at, **counts, **window, **checked)
            made.completed_at = at + timedelta(seconds=20 + (day * 13) % 40)
            told.append((name, made, "success"))
        past.run(dag_id, at, told)
    past.write()


def failing(past: Past, names: list[str]) -> None:
    """After good nights one that withheld, one that broke, and one that is at work."""
    good(past, names)
    at = NOW - 2 * HOUR
    withheld = (
        "customer: 4,120 of 9,800 records of the backup would be deleted, which is more than 20%. Nothing was deleted. If that is "
        "right, run backup_sync with service=customer and allow_deletes=4120"
    )
    broken = "order: connection order_source cannot be reached (timed out after 30 s); see whether the server is up"
    told: list[Any] = [
        ("customer", result("customer", at, error=withheld, inserted=12, withheld=4_120, skipped=9_800), "failed"),
        ("order", result("order", at, error=broken), "failed"),
    ]
    past.run("backup_sync", at, [one for one in told if one[0] in names], state="failed")
    going = {"Done": 412_000, "Total": 1_000_000, "Rate": 52_000, "SecondsLeft": 11}
    past.run("backup_sync", NOW, [(names[-1], None, "running")], state="running", tasks=["sync"], progress=going)
    past.write()

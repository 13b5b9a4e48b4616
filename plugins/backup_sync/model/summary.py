"""The summary of a run: as data, and as the block that ends its log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from logging import ERROR, INFO
from typing import Any

from backup_sync.model.moments import iso, utc_now
from backup_sync.model.result import COMPLETED, FAILED, HELD
from backup_sync.model.verdicts import VERDICTS

RULE = "=" * 40
WRITTEN = ("Inserted", "Updated", "Deleted")
ODD = ("Withheld", "Rejected", "Ahead")
WIDTH = 110
"""Characters of a line. Airflow's page of a log does not wrap lines."""


def build_summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """``{Success, Message, Results, Timestamp}`` from the results (:meth:`SyncResult.to_dict`) of a run.

    A run whose services are all held is no success, though nothing failed.
    """
    failed, held, good = (
        [result["ServiceName"] for result in results if result["Status"] in status]
        for status in ({FAILED}, {HELD}, {COMPLETED})
    )
    if failed:
        message = f"{len(failed)} of {len(results)} services failed: {', '.join(failed)}"
    else:
        message = f"{len(good)} of {len(results)} services completed"
    if held:
        message += f"; held: {', '.join(held)}"
    success = not failed and bool(good or not held)
    return {"Success": success, "Message": message, "Results": results, "Timestamp": iso(utc_now())}


def render_summary(
    summary: dict[str, Any],
    started_by: str,
    started: datetime,
    following: datetime | None,
    docs: str,
    *,
    job: str = "sync",
) -> Iterator[tuple[int, str]]:
    """The lines of the block, each with its level (:mod:`logging`): failures are errors.

    ``started_by``: what started the run (:attr:`SyncResult.started_by`); ``docs``: where the pages of the docs are. ``job``: what the run
    was to do, ``sync`` or ``verify``.
    """
    results = summary["Results"]
    planned = bool(results) and all(result["DryRun"] for result in results)
    kind, _, user = started_by.partition(" ")
    what = "look at what a sync would do" if planned else job
    yield INFO, RULE
    end = f"{f' {user}' if user else ''}{' (nothing was written)' if planned else ''}"
    yield INFO, f"{kind.partition('_')[0].capitalize()} {what} started at {_second(started)}{end}"
    yield INFO, RULE
    for result in results:
        level, lines = (
            (ERROR, failure_lines(result, docs)) if result["Status"] == FAILED else (INFO, good_lines(result))
        )
        for line in lines:
            yield level, line
    yield INFO, RULE
    yield INFO, f"{job.capitalize()} summary:"
    failed, held = (sum(result["Status"] == status for result in results) for status in (FAILED, HELD))
    yield INFO, f"  Success: {len(results) - failed - held}, Failed: {failed}" + (f", Held: {held}" if held else "")
    totals = {name: sum(result[f"{name}Count"] for result in results) for name in WRITTEN}
    counts = ", ".join(f"{name}: {count}" for name, count in totals.items())
    yield INFO, f"  {'Would be' if planned else 'Total'} {counts}"
    yield INFO, RULE
    if not planned and job == "sync":
        yield INFO, f"Next scheduled sync at {_second(following)}" if following else "No next sync is scheduled"


def good_lines(result: dict[str, Any]) -> list[str]:
    """A service that did not fail, in lines of :data:`WIDTH`: what it did (or would do), and what a person should look at."""
    name = result["ServiceName"]
    if result["Status"] == HELD:
        return _wrapped(f"‖ {name} sync skipped: {result['Notice'].removeprefix(f'{name}: ')}")
    if result["DryRun"]:
        done = (
            f"✓ {name} sync would insert {result['InsertedCount']}, update {result['UpdatedCount']} and delete "
            f"{result['DeletedCount']}, and leave {result['SkippedCount']} as they are{_odd(result)}"
        )
    else:
        done = f"✓ {name} {_job(result)} completed"
        if _job(result) not in ("verify", "drill") or result["TotalProcessed"]:
            done += f". {_counts(result)}"
    return _wrapped(done) + _verified(result) + _note(result)


def failure_lines(result: dict[str, Any], docs: str) -> list[str]:
    """A service that failed, in lines of :data:`WIDTH`: why, once; what was done all the same; and where to read on."""
    name = result["ServiceName"]
    lines = _wrapped(f"✗ {name} {_job(result)} failed: {result['ErrorMessage'].removeprefix(f'{name}: ')}")
    if any(result[f"{name}Count"] for name in (*WRITTEN, "Skipped", *ODD)):
        lines.append(f"  {_counts(result)}")
    lines += _verified(result) + _note(result)
    if result.get("Help"):
        lines.append(f"  See {docs.rstrip('/')}/{result['Help']}")
    return lines


def _job(result: dict[str, Any]) -> str:
    """What the run was to do, by the first word of its mode."""
    word = str(result["Mode"]).partition(" ")[0]
    return {
        "verified": "verify",
        "repaired": "repair",
        "restored": "restore",
        "undid": "restore",
        "drilled": "drill",
    }.get(word, "sync")


def _verified(result: dict[str, Any]) -> list[str]:
    """What comparing whole records found, and how much of the backup was compared so by now."""
    found = result.get("Verified")
    if not found:
        return []
    if found["Sealed"]:
        return _wrapped(
            f"  Seal: {found['Sealed']} ranges, {found['Touched']} of them changed by somebody else than a run"
        )
    counts = ", ".join(f"{verdict.capitalize()}: {found[verdict.capitalize()]['Count']}" for verdict in VERDICTS)
    share, since = result["VerifiedShare"], result["VerifiedSince"]
    when = f"; all of it since {since[:16]}Z" if since else f"; {share:.0%} of it by now" * bool(share)
    return _wrapped(f"  Whole content: {found['Records']} records compared, {counts}{when}")


def _note(result: dict[str, Any]) -> list[str]:
    return _wrapped(f"  Note: {result['Notice']}") if result.get("Notice") else []


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _counts(result: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {result[f'{name}Count']}" for name in (*WRITTEN, "Skipped")) + _odd(result)


def _odd(result: dict[str, Any]) -> str:
    """The unusual counts: named only when there are any, so that they are noticed."""
    return "".join(f", {name}: {result[f'{name}Count']}" for name in ODD if result[f"{name}Count"])


def _second(moment: datetime) -> str:
    return str(iso(moment.replace(microsecond=0)))

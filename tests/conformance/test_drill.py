"""A drill restores a backup into a scratch place, says whether that is what the backup holds, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from backup_sync.model.errors import FatalError
from backup_sync.model.faults import installed
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.walk import drill as drills
from backup_sync.walk.drill import STATE, drill
from tests.conformance.backends import Backend

MANY = 200


@pytest.fixture
def filled(backend: Backend) -> Backend:
    backend.put(*((key, 1, f"text {key}") for key in range(MANY)))
    service = backend.service(keep_history="30d", drill="scratch")
    backend.initialize(service=service)
    backend.sync(service=service)
    return backend


def drilled(backend: Backend, of: int = 1, during: Callable[[str], None] = lambda _: None) -> SyncResult:
    """A drill into a table or container beside the source."""
    service = backend.service(keep_history="30d", drill="scratch")
    field = "container" if service.container else "table"
    name = f"{getattr(service, field)}_drill_1"
    run = SyncResult(sync_id("dag", "drill", "thing"), "thing", run_id="drill")
    source, backup = backend.open(service)
    source.close()
    with closing(backup), closing(backend.beside(service, name)) as scratch, installed(during):
        try:
            drill(backup, scratch, run, of=of)
        finally:
            assert not scratch.catalog.exists(), "the scratch was left behind"
    return run


def test_a_drill_proves_that_a_backup_can_be_restored_and_touches_neither_end(filled: Backend) -> None:
    before = (filled.source_rows(), filled.backup_rows())
    run = drilled(filled)
    assert run.success
    assert f"restored {MANY} records in" in str(run.notice)
    assert (filled.source_rows(), filled.backup_rows()) == before
    source, backup = filled.open(filled.service())
    with closing(source), closing(backup):
        assert backup.journal.states()[STATE]["records"] == MANY


def test_a_share_is_drilled_where_that_is_asked_for(filled: Backend) -> None:
    if filled.name == "cosmos-npm":
        pytest.skip("this server knows no slices of a container")
    run = drilled(filled, of=4)
    source, backup = filled.open(filled.service())
    with closing(source), closing(backup):
        assert backup.journal.states()[STATE]["records"] < MANY
    assert "one of 4 shares" in str(run.notice)


def test_what_comes_out_and_is_not_what_the_backup_holds_fails_the_drill(filled: Backend) -> None:
    def wrong(name: str) -> None:
        if name == "after drill":
            filled.put_in_backup((7, 1, "other"), (8, 1, "other"))

    with pytest.raises(FatalError, match=f"of {MANY} records .* 2 are not what the backup holds"):
        drilled(filled, during=wrong)


def test_runs_go_on_during_a_drill(filled: Backend) -> None:
    def run(name: str) -> None:
        if name == "after drill":
            filled.put((7, 2, "newer"), (900, 1, "new"))
            with installed(lambda _: None):
                filled.sync(service=filled.service(keep_history="30d"))

    assert drilled(filled, during=run).success


def test_the_state_of_a_run_that_is_still_writing_is_not_drilled(filled: Backend) -> None:
    drills_seen: list[SyncResult] = []

    def meanwhile(name: str) -> None:
        if name == "after write" and not drills_seen:
            drills_seen.append(drilled(filled))

    filled.put((7, 2, "newer"))
    with installed(meanwhile):
        filled.sync(service=filled.service(keep_history="30d"))
    assert [run.success for run in drills_seen] == [True]
    source, backup = filled.open(filled.service())
    with closing(source), closing(backup):
        assert backup.journal.states()[STATE]["number"] == 1


def test_a_run_says_so_when_the_last_drill_is_older_than_it_may_be(
    filled: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = filled.service(keep_history="30d", drill="scratch")
    assert "never proved" in str(filled.sync(service=service).notice)
    drilled(filled)
    assert filled.sync(service=service).notice is None
    now = drills.utc_now()
    monkeypatch.setattr(drills, "utc_now", lambda: now + timedelta(days=36))
    run: Any = filled.sync(service=service)
    assert "the last drill" in run.notice
    assert filled.sync(service=filled.service(keep_history="30d")).notice is None

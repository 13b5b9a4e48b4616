"""The same parts carry records back: the copy is read as a source, and the operational store written as a target."""

from __future__ import annotations

from contextlib import closing

import pytest

from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.stores.base import Store
from backup_sync.walk.apply import Applier
from backup_sync.walk.find import Finder
from backup_sync.walk.plan import Plan
from backup_sync.walk.progress import Progress
from tests.conformance.backends import Backend


@pytest.fixture
def hundred(backend: Backend) -> Backend:
    backend.put(*((number, 5, f"text {number}") for number in range(1, 101)))
    backend.initialize()
    backend.sync()
    return backend


def carry_back(backup: Store, source: Store, limits: Limits) -> SyncResult:
    """Bring the source in step with the copy, deletes included."""
    result = SyncResult(sync_id("dag", "by hand", "thing"), "thing", run_id="by hand")
    shape = backup.catalog.describe()
    assert source.catalog.check_fit(shape) in ([], ())
    reader, writer, progress = backup.reader(shape), source.writer(shape), Progress(result)
    finder = Finder(
        reader,
        source.reader(shape),
        backup.service.rules,
        force=False,
        written=lambda _: frozenset(),
        progress=progress,
        check=lambda: None,
        limits=limits,
    )
    applier = Applier(
        reader,
        writer,
        result,
        labels=(backup.label, source.label),
        progress=progress,
        check=lambda: None,
        limits=limits,
    )
    with closing(Plan(reader.reread_share)) as plan:
        for found in finder.find(reader.cut(None, limits.range_records)):
            plan.add(found)
        assert applier.changes(plan) == []
        applier.set_back(plan.ahead)
        applier.delete(plan.deletes)
    return result


@pytest.mark.parametrize("records", [12, Limits.range_records])
def test_records_flow_back_and_nothing_of_ours_lands_in_the_source(hundred: Backend, records: int) -> None:
    if hundred.name == "cosmos-npm" and records < Limits.range_records:
        pytest.skip("its server knows no slices of a container")
    kept, copy, history = hundred.source_rows(), hundred.backup_rows(), hundred.history_rows()
    hundred.remove(*range(10, 40))
    hundred.put((50, 3, "an old one"), (51, 6, "a newer one"), (200, 1, "one that the copy does not know"))
    hundred.small(range_records=records)
    source, backup = hundred.open(hundred.service())
    with closing(source), closing(backup):
        result = carry_back(backup, source, hundred.limits)
    assert (result.inserted, result.updated, result.deleted) == (30, 2, 1)
    assert hundred.source_rows() == kept, "with no column, property or record that was not there"
    assert hundred.backup_rows() == copy
    assert hundred.history_rows() == history
    assert hundred.counts() == (0, 0, 0, 100), "and the next run finds both ends in step"


def test_a_source_that_is_gone_gets_all_of_its_records_back(hundred: Backend) -> None:
    kept = hundred.source_rows()
    hundred.remove(*range(1, 101))
    source, backup = hundred.open(hundred.service())
    with closing(source), closing(backup):
        assert carry_back(backup, source, hundred.limits).inserted == 100
    assert hundred.source_rows() == kept
    assert hundred.counts() == (0, 0, 0, 100)

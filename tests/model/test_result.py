from __future__ import annotations

import json

from backup_sync.model.result import SyncResult, sync_id


def test_a_result_survives_xcom_unchanged():
    run = SyncResult(sync_id("dag", "run", "customer"), "customer", inserted=3, ahead=1, request_charge=1.5)
    run.fail("because")
    assert SyncResult.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_the_public_names_are_those_that_the_history_and_the_summary_use():
    names = set(SyncResult(sync_id("d", "r", "s"), "s").to_dict())
    assert {"SyncId", "ServiceName", "Status", "InsertedCount", "UpdatedCount", "DeletedCount", "SkippedCount"} < names
    assert {"WithheldCount", "TotalProcessed", "StartedAt", "CompletedAt", "ErrorMessage", "Attempt", "RunId"} < names


def test_the_same_run_of_the_same_service_always_has_the_same_id():
    assert str(sync_id("backup_sync", "manual__1", "customer")) == "7a902a5c-dc97-50d4-9678-2a4f0aa843a5"
    different = {sync_id(*parts) for parts in [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d")]}
    assert len(different) == 4

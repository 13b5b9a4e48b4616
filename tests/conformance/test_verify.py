"""A verify tells what is right from what is not, byte for byte, whatever the source does meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backup_sync.model.errors import ConfigurationError, DeletesWithheld, DriftFound
from backup_sync.model.faults import installed
from backup_sync.model.keep import STATE as KEPT
from backup_sync.model.service import Service
from backup_sync.model.verdicts import VERDICTS
from backup_sync.walk import hold, points
from backup_sync.walk.repair import repair
from tests.conformance.backends import Backend

MANY = 300


def settings(**changes: Any) -> dict[str, Any]:
    return {"verify_again_seconds": 0, "guard": {"count": 1_000_000}, **changes}


@pytest.fixture
def filled(backend: Backend) -> Backend:
    """Three hundred records, and a backup of them."""
    backend.put(*((key, 1, f"text {key}") for key in range(1, MANY + 1)))
    service = backend.service(**settings())
    backend.initialize(service=service)
    backend.sync(service=service)
    return backend


@pytest.fixture
def sliced(filled: Backend) -> Backend:
    """One whose server can be asked about a part of the records."""
    if filled.name == "cosmos-npm":
        pytest.skip("this server knows no slices of a container")
    return filled


def counts(run: Any) -> dict[str, int]:
    """How often each verdict was given, where it was."""
    return {verdict: count for verdict in VERDICTS if (count := run.verified[verdict.capitalize()]["Count"])}


def keys(run: Any, verdict: str) -> list[int]:
    """The numbers of the records that a verdict names."""
    return sorted(int(str(key[0]).rpartition("-")[2]) for key in run.verified[verdict.capitalize()]["Keys"])


def text_of(backend: Backend) -> str:
    return "text" if backend.name.startswith("cosmos") else "Te xt"


def test_a_backup_that_is_right_is_found_right(filled: Backend) -> None:
    run = filled.verify(filled.service(**settings()))
    assert run.success
    assert run.verified is not None
    assert run.verified["Records"] == MANY
    assert counts(run) == {}
    assert (run.verified_share, run.drift) == (1.0, 0)
    assert run.verified_since is not None


def test_each_verdict_is_given_where_it_is_due_and_names_keys_and_fields_and_no_values(filled: Backend) -> None:
    filled.put_in_backup((1, 1, "text 1 "), (2, 1, "TEXT 2"), (3, 1, None), (4, 7, "text 4"), (900, 1, "secret"))
    filled.remove_from_backup(5)
    filled.put((6, 2, "newer"), (901, 1, "new"))
    filled.remove(7)
    run = filled.verify(filled.service(**settings()))
    assert not run.success
    assert counts(run) == {"lag": 2, "drift": 3, "missing": 2, "extra": 2}
    assert keys(run, "drift") == [1, 2, 3]
    assert keys(run, "lag") == [4, 6]
    assert keys(run, "missing") == [5, 901]
    assert keys(run, "extra") == [7, 900]
    assert run.verified is not None
    assert run.verified["Drift"]["Fields"] == {text_of(filled): 3}
    assert "secret" not in repr(run.to_dict())
    assert "repair=true" in str(run.error_message)
    assert filled.history_rows()[-1].get("DriftCount", filled.history_rows()[-1].get("driftCount")) in (3, 0)


def test_only_drift_fails_a_verify_since_the_next_sync_mends_the_rest(filled: Backend) -> None:
    service = filled.service(**settings())
    filled.put((6, 2, "newer"), (901, 1, "new"))
    filled.remove(7)
    run = filled.verify(service)
    assert run.success
    assert counts(run) == {"lag": 1, "missing": 1, "extra": 1}
    filled.sync(service=service)
    assert counts(filled.verify(service)) == {}


def test_a_verify_writes_nothing_to_the_copy(filled: Backend) -> None:
    filled.put_in_backup((1, 1, "other"))
    filled.put((6, 2, "newer"))
    before = filled.backup_rows()
    filled.verify(filled.service(**settings()))
    assert filled.backup_rows() == before


def test_what_is_right_at_the_second_look_is_right(filled: Backend) -> None:
    filled.put_in_backup((1, 1, "other"), (2, 1, "other"))
    filled.remove_from_backup(3)
    service = filled.service(**settings(verify_again_seconds=0.01))
    looked: list[str] = []

    def mend(self: Any, seconds: float) -> None:
        looked.append("again")
        filled.put_in_backup((1, 1, "text 1"), (3, 1, "text 3"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backup_sync.walk.verify.Verifier._pause", mend)
        run = filled.verify(service)
    assert looked == ["again"]
    assert counts(run) == {"drift": 1}
    assert keys(run, "drift") == [2]


def test_a_record_that_turns_from_missing_to_drift_is_none_yet(filled: Backend) -> None:
    filled.remove_from_backup(3)
    service = filled.service(**settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backup_sync.walk.verify.Verifier._pause", lambda *_: filled.put_in_backup((3, 1, "half done")))
        run = filled.verify(service)
    assert counts(run) == {"lag": 1}
    assert run.success


def test_where_all_is_right_nothing_is_waited_for(filled: Backend) -> None:
    filled.put((6, 2, "newer"))
    assert counts(filled.verify(filled.service(**settings(verify_again_seconds=3_600)))) == {"lag": 1}


def test_random_edits_of_a_backup_are_all_found_with_the_right_verdict(filled: Backend) -> None:
    dice = random.Random(7)
    many = min(MANY // 2, filled.many // 10)
    chosen = dice.sample(range(1, MANY + 1), many)
    expected: dict[str, set[int]] = {verdict: set() for verdict in VERDICTS}
    edits: list[tuple[int, int, str | None]] = []
    for key in chosen:
        kind = dice.choice(["lag", "drift", "drift", "drift", "missing", "extra"])
        if kind == "missing":
            filled.remove_from_backup(key)
        elif kind == "extra":
            key += 10_000
            edits.append((key, 1, "more"))
        elif kind == "lag":
            edits.append((key, 2, f"text {key}"))
        else:
            edits.append(
                (key, 1, dice.choice([f"text {key} ", f"Text {key}", "", None, f"text\t{key}", f"text {key}\u0301"]))
            )
        expected[kind].add(key)
    filled.put_in_backup(*edits)
    run = filled.verify(filled.service(**settings()))
    assert counts(run) == {verdict: len(found) for verdict, found in expected.items() if found}
    for verdict, found in expected.items():
        assert set(keys(run, verdict)) <= found


def test_drift_that_the_digests_of_small_ranges_have_to_find_is_found(sliced: Backend) -> None:
    sliced.small(range_records=10, held_pairs=5, pending_keys=3, asked_keys=2, digests=4)
    sliced.put_in_backup((150, 1, "other"), (151, 1, "other"))
    sliced.remove_from_backup(*range(200, 240))
    run = sliced.verify(sliced.service(**settings()))
    assert counts(run) == {"drift": 2, "missing": 40}


# shares


def rolled(backend: Backend, service: Service, nights: int, grow: Callable[[int], None] = lambda _: None) -> list[Any]:
    runs = []
    for night in range(nights):
        grow(night)
        runs.append(backend.sync(service=service))
    return runs


def test_as_many_nights_as_shares_compare_every_record_though_the_source_grows(sliced: Backend) -> None:
    service = sliced.service(**settings(verify="1/5", guard={"count": 1_000_000}))
    key = iter(range(1_000, 2_000))

    def grow(_: int) -> None:
        sliced.put(*((next(key), 1, "new") for _ in range(40)))

    runs = rolled(sliced, service, 5, grow)
    assert [round(run.verified_share, 2) for run in runs] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [run.verified_since is not None for run in runs] == [False] * 4 + [True]
    compared = [run.verified["Records"] for run in runs]
    assert sum(compared) >= MANY
    assert max(compared) < sum(compared)
    for drifted in (1, MANY // 2, MANY, 1_199):
        sliced.put_in_backup((drifted, 1, "other"))
        with pytest.raises(DriftFound, match="1 records of the backup differ"):
            rolled(sliced, service, 6, grow)
        with pytest.raises(DriftFound):  # the same share again, until it is right
            sliced.sync(service=service)
        sliced.sync(service=service, content=True)


def test_a_night_that_finds_drift_fails_and_says_so_in_its_history(filled: Backend) -> None:
    service = filled.service(**settings(verify="all"))
    filled.put_in_backup((9, 1, "other"))
    filled.put((10, 2, "newer"))
    with pytest.raises(DriftFound, match="no sync compares"):
        filled.sync(service=service)
    last = max(filled.history_rows(), key=lambda row: str(row.get("StartedAt", row.get("startedAt"))))
    found = {name.lower(): value for name, value in last.items()}
    assert (bool(found["success"]), found["driftcount"], found["updatedcount"]) == (False, 1, 1)
    assert "no sync compares" in found["errormessage"]


def test_a_share_on_demand_is_the_one_that_comes_next(sliced: Backend) -> None:
    service = sliced.service(**settings())
    runs = [sliced.verify(service, of=3) for _ in range(3)]
    assert [round(run.verified_share, 2) for run in runs] == [0.33, 0.67, 1.0]
    assert sum(run.verified["Records"] for run in runs if run.verified) == MANY


def test_a_share_that_is_right_says_that_others_drifted(sliced: Backend) -> None:
    service = sliced.service(**settings())
    sliced.put_in_backup((MANY // 2, 1, "other"))
    assert sliced.verify(service).drift == 1
    run = sliced.verify(service, of=20)
    assert run.success
    assert (run.drift, run.verified["Left"]) == (0, 1)
    assert "only one of all records can say" in str(run.notice)


# repair


def test_a_repair_mends_every_verdict_by_an_ordinary_run(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="30d"))
    filled.initialize(service=service)
    filled.sync(service=service)
    filled.put_in_backup((1, 1, "other"), (4, 7, "text 4"), (900, 1, "more"))
    filled.remove_from_backup(5)
    run = filled.verify(service, by=repair)
    assert run.success
    assert (run.inserted, run.updated, run.deleted) == (1, 2, 1)
    assert "mended 1 records that drifted" in str(run.notice)
    assert filled.backup_rows() == filled.source_rows()
    assert counts(filled.verify(service)) == {}
    # What was mended was kept like anything that a run replaces.
    assert len(filled.undo_rows()) >= 4


def test_a_repair_of_what_is_right_writes_nothing(filled: Backend) -> None:
    run = filled.verify(filled.service(**settings()), by=repair)
    assert run.success
    assert (run.total_processed, run.run_number) == (0, 0)


def test_the_guard_judges_a_repair_as_any_run(filled: Backend) -> None:
    filled.put_in_backup((1, 1, "other"))
    filled.remove(*range(1, 200))
    before = filled.backup_rows()
    with pytest.raises(DeletesWithheld):
        filled.verify(filled.service(verify_again_seconds=0), by=repair)
    assert len(filled.backup_rows()) == len(before)


# what depends on it


def test_nothing_of_the_history_of_records_is_removed_while_the_last_verify_found_drift(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="1h"))
    filled.initialize(service=service)
    for version in range(2, 5):
        filled.put((1, version, f"v{version}"))
        filled.sync(service=service)
    filled.put_in_backup((9, 1, "other"))
    filled.verify(service)
    entries = len(filled.undo_rows())
    with pytest.MonkeyPatch.context() as patch:
        later = points.utc_now() + timedelta(days=30)
        patch.setattr(points, "utc_now", lambda: later)
        run = filled.sync(service=service)
        assert "found drift" in str(run.notice)
        assert len(filled.undo_rows()) == entries
        filled.sync(service=service, content=True)
        filled.sync(service=service)
        assert len(filled.undo_rows()) < entries


def test_a_held_backup_can_be_verified_and_nothing_of_it_is_remembered(filled: Backend) -> None:
    service = filled.service(**settings())
    source, backup = filled.open(service)
    with closing(source), closing(backup):
        run = filled.verify(service)
        hold.place(backup, "moving", by="anna", until=None, run=run)
        before = (backup.journal.states(), len(filled.history_rows()))
        filled.put_in_backup((1, 1, "other"))
        run = filled.verify(service)
        assert counts(run) == {"drift": 1}
        assert "not remembered" in str(run.notice)
        assert (backup.journal.states(), len(filled.history_rows())) == before


def test_a_backup_that_was_never_made_cannot_be_verified(backend: Backend) -> None:
    backend.put((1, 1, "one"))
    with pytest.raises(ConfigurationError, match="backup_initialize"):
        backend.verify(backend.service(**settings()))


# the seal


def test_a_seal_tells_whether_anybody_but_a_run_changed_the_backup(sliced: Backend) -> None:
    service = sliced.service(**settings(verify="1/2", keep_history="30d"))
    sliced.initialize(service=service)
    rolled(sliced, service, 2)
    run = sliced.check_seal(service)
    assert (run.success, run.verified and run.verified["Sealed"]) == (True, 2)
    sliced.put((1, 2, "newer"), (500, 1, "new"))
    sliced.remove(2)
    sliced.sync(service=replace_verify(sliced, service))
    assert sliced.check_seal(service).success
    sliced.put_in_backup((3, 1, "text 3 "))
    run = sliced.check_seal(service)
    assert not run.success
    assert "sealed ranges" in str(run.error_message)
    # A run that overwrites what somebody changed keeps it, and the seal still knows.
    sliced.put((3, 2, "newer"))
    sliced.sync(service=replace_verify(sliced, service))
    assert not sliced.check_seal(service).success


def replace_verify(backend: Backend, service: Service) -> Service:
    """The same service, whose runs verify nothing and so seal nothing anew."""
    return service.model_copy(update={"verify": None})


def test_drift_is_not_sealed(filled: Backend) -> None:
    service = filled.service(**settings())
    filled.verify(service)
    for spoil in (lambda: filled.put_in_backup((3, 1, "text 3 ")), lambda: filled.remove_from_backup(4)):
        spoil()
        filled.verify(service)
        assert not filled.check_seal(service).success
    filled.verify(service, by=repair)
    assert filled.check_seal(service).success


def test_a_seal_of_a_run_that_goes_on_is_none(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="30d"))
    filled.initialize(service=service)
    filled.sync("again", service)
    filled.verify(service)
    filled.put((1, 2, "newer"))
    filled.sync("again", service)
    run = filled.check_seal(service)
    assert run.success
    assert run.verified is not None
    assert run.verified["Sealed"] == 0
    assert "no seal" in str(run.notice)


def test_what_was_forgotten_voids_the_seal(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="30d"))
    filled.initialize(service=service)
    filled.sync(service=service)
    filled.verify(service)
    filled.put((1, 2, "newer"))
    filled.sync(service=service)
    source, backup = filled.open(service)
    with closing(source), closing(backup):
        reader = backup.reader(backup.catalog.describe())
        key = next(reader.key_of(record) for page in reader.records(None) for record in page)
        import json

        values = [key[0], *json.loads(str(key[1]))] if filled.name.startswith("cosmos") else list(key)
        points.forget(backup, values, filled.verify(service))
        assert "seal" not in backup.journal.states()


def test_a_run_during_a_verify_leaves_it_unsealed(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="30d"))
    filled.initialize(service=service)
    filled.sync(service=service)

    def run_meanwhile(name: str) -> None:
        if name == "after verify":
            with installed(lambda _: None):
                filled.put((1, 2, "newer"))
                filled.sync(service=service)

    with installed(run_meanwhile):
        run = filled.verify(service)
    assert run.success
    assert filled.check_seal(service).verified["Sealed"] == 0  # type: ignore[index]


def test_a_state_that_can_no_longer_be_rebuilt_is_not_checked(filled: Backend) -> None:
    service = filled.service(**settings(keep_history="30d"))
    filled.initialize(service=service)
    filled.sync(service=service)
    filled.verify(service)
    filled.put((1, 2, "newer"))
    filled.sync(service=service)
    source, backup = filled.open(service)
    with closing(source), closing(backup):
        kept = points.Kept.from_value(backup.journal.states()[KEPT])
        backup.journal.keep_state(KEPT, replace(kept, since=100).to_value())
    run = filled.check_seal(service)
    assert run.success
    assert "no seal that could be checked" in str(run.notice)

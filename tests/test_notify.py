"""People are told by any notifier what a run came to, once, with what to do, and with nothing that is not theirs to know."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from airflow.sdk.bases.notifier import BaseNotifier

from backup_sync.model.notifier import parse
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.operators.notify import tell
from backup_sync.settings import read_settings

HERE = f"{__name__}.Told"


class Told(BaseNotifier):
    """Remembers what it was given; renders it as others do."""

    template_fields = ("to", "text")
    seen: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, text: str, to: str = "everybody") -> None:
        super().__init__()
        self.text, self.to = text, to

    def notify(self, context: Any) -> None:
        self.seen.append((self.to, self.text))


class Broken(Told):
    def notify(self, context: Any) -> None:
        raise RuntimeError("smtp://user:hunter2@mail")


@pytest.fixture(autouse=True)
def nobody() -> None:
    Told.seen.clear()


def result(service: str, error: str | None = None, withheld: int = 0, **more: Any) -> dict[str, Any]:
    run = SyncResult(sync_id("d", "tonight", service), service, run_id="tonight", withheld=withheld, **more)
    if error:
        run.fail(error)
        run.help = "runbook.md#a-run-failed"
    else:
        run.complete()
    return run.to_dict()


def told(*results: dict[str, Any], **options: str) -> list[tuple[str, str]]:
    tell({}, results, "sync", replace(read_settings(), **options))  # type: ignore[arg-type]
    return Told.seen


def test_who_is_named_is_told_what_failed_why_and_what_to_do() -> None:
    ((to, text),) = told(result("order", "order: the disk is full"), result("customer"), on_failure=HERE)
    assert to == "everybody"
    assert "✗ order sync failed: the disk is full" in text
    assert "See docs/runbook.md#a-run-failed" in text
    assert "Run tonight" in text
    assert "customer" not in text


def test_the_arguments_of_a_notifier_go_along() -> None:
    spec = json.dumps({"notifier": HERE, "to": "{subject}", "text": "<pre>{message}</pre>"})
    ((to, text),) = told(result("order", "broken"), on_failure=spec)
    assert to == "backup_sync: sync of order failed"
    assert text.startswith("<pre>✗ order")


def test_withheld_deletes_are_an_affair_of_their_own() -> None:
    withheld = result("order", "order: 50 deletes were withheld", withheld=50)
    ((to, _),) = told(withheld, on_failure=f"{__name__}.Broken", on_withheld=HERE)
    assert to == "everybody", "the other notifier is not asked"
    Told.seen.clear()
    ((_, text),) = told(withheld, on_failure=HERE)
    assert "50 deletes were withheld" in text, "or else nobody would be told"
    Told.seen.clear()
    ((_, text),) = told(withheld, result("customer", "broken"), on_withheld=HERE)
    assert "50 deletes were withheld" in text
    assert "customer" not in text


def test_nobody_is_told_of_what_went_well_or_was_a_dry_run() -> None:
    assert told(result("order"), on_failure=HERE, on_withheld=HERE) == []
    assert told(result("order", "broken", withheld=3, dry_run=True), on_failure=HERE, on_withheld=HERE) == []
    assert told(result("order", "broken")) == []


def test_a_name_that_looks_like_a_template_is_not_rendered() -> None:
    ((_, text),) = told(result("order", "no table {{ 7 * 7 }} {% raw %} {# #}"), on_failure=HERE)
    assert "49" not in text
    assert "{ { 7 * 7 }}" in text


def test_a_notifier_that_fails_is_an_error_in_the_log_that_gives_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "backup_sync"):
        told(result("order", "broken"), on_failure=f"{__name__}.Broken")
        told(result("order", "broken"), on_failure="no.such.Notifier")
    found = [record.getMessage() for record in caplog.records if record.name.startswith("backup_sync")]
    assert found == [
        f"on_failure: the notifier {__name__}.Broken failed with RuntimeError; nobody was told",
        "on_failure: the notifier no.such.Notifier failed with ModuleNotFoundError; nobody was told",
    ]


@pytest.mark.parametrize("text", ["Notifier", "{", "{}", '{"notifier": 7}', '{"notifier": "a b.c"}', "a.b; c.d"])
def test_what_names_no_notifier_is_a_mistake_in_the_settings(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError):
        parse(text)
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_FAILURE", text)
    settings = read_settings()
    assert settings.on_failure == ""
    assert "[backup_sync] on_failure has to be the import path of a notifier" in settings.problems["on_failure"]


def test_a_run_that_is_late_is_told_of_as_airflow_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.operators.notify import late

    spec = {"notifier": HERE, "to": "{subject}", "text": "{message}"}
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__ON_STALE", json.dumps(spec))
    monkeypatch.setenv("AIRFLOW__BACKUP_SYNC__DEADLINE", "3600")
    late({"dag_run": {"dag_id": "backup_sync_hourly", "dag_run_id": "scheduled__x"}, "deadline": {"id": "7"}})
    ((subject, text),) = Told.seen
    assert subject == "backup_sync: a run of backup_sync_hourly is late"
    assert text == "backup_sync_hourly: the run scheduled__x has not ended within 1:00:00"


def test_many_stale_backups_make_no_endless_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.operators.notify import tell_stale

    monkeypatch.setenv(
        "AIRFLOW__BACKUP_SYNC__ON_STALE", json.dumps({"notifier": HERE, "to": "{subject}", "text": "{message}"})
    )
    names = [f"service{number}" for number in range(60)]
    tell_stale({}, names, [f"{name}: has never been backed up" for name in names], read_settings())  # type: ignore[arg-type]
    ((subject, text),) = Told.seen
    assert subject == "backup_sync: service0, service1, service2, service3, service4 and 55 more are stale"
    assert len(text.splitlines()) == 61

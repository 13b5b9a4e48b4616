"""Keep every run of a service from writing, and let them write again."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.moments import parse
from backup_sync.operators.base import ServiceOperator, flag, started_by

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class HoldOperator(ServiceOperator):
    """Hold the backup of a service, or release it. Once this has succeeded, no run writes to it.

    :param reason: why; those whose run is skipped read it.
    :param until: when the hold ends unreleased, as ISO text (UTC unless it says otherwise), or None.
    :param release: end the hold instead.
    :return: ``{"ServiceName": …, "Hold": the hold in words, or None}``
    """

    verb = "hold"
    about = "Keeps every run from writing to this backup, or lets them write again."
    template_fields = ("only", "reason", "until", "release")

    def __init__(
        self, *, reason: str = "", until: str | None = None, release: bool | str = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.reason = reason
        self.until = until
        self.release = release

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk import hold

        result = self.new_result(context)
        with self.reporting(context, result):
            self.check_asked_for(context)
            self.check_conf(context)
            with self.stores() as (_, _source, backup):
                if flag(self.release):
                    before = hold.release(backup)
                    log.info("%s: released; it was %s", self.service, before.words() if before else "not held")
                    return {"ServiceName": self.service, "Hold": None}
                reason = str(self.reason).strip()
                if not reason:
                    raise ConfigurationError("say in the parameter 'reason' why the backup is held")
                found = hold.place(backup, reason, by=person(context), until=moment(self.until), run=result)
        log.info("%s: %s", self.service, found.words())
        return {"ServiceName": self.service, "Hold": found.words()}


def person(context: Context) -> str:
    """Who started the run, or what where Airflow knows of nobody."""
    return getattr(context["dag_run"], "triggering_user_name", None) or f"a {started_by(context)} run"


def moment(text: Any) -> datetime | None:
    """A moment from ISO text, aware. Raises ConfigurationError."""
    if text is None or str(text).strip() in ("", "None"):
        return None
    try:
        return parse(str(text))
    except ValueError:
        raise ConfigurationError(
            "the parameter 'until' has to be a moment such as 2026-12-01T06:00:00Z, or null"
        ) from None

"""Tell people of backups that are stale: no run need fail for that, for there may have been none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from backup_sync.model.fresh import span, stale_since
from backup_sync.model.moments import iso, parse, utc_now
from backup_sync.operators.assets import alias
from backup_sync.operators.notify import tell_stale
from backup_sync.settings import read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

TOLD = "told"
"""XCom key: service → when its last success was (empty: never) and when people were told."""

AGAIN = timedelta(days=1)
"""How long after they were told people are told again, if nothing has changed."""


class WatchOperator(BaseOperator):
    """Look at the last success of each service, as its asset events have it; fail while one is older than it may become.

    People are told when a backup becomes stale, and once a day as long as it is.

    :param promises: service → how old its last success may become, in seconds.
    """

    def __init__(self, *, promises: Mapping[str, float], **kwargs: Any) -> None:
        super().__init__(inlets=[alias(service) for service in promises], **kwargs)
        self.promises = dict(promises)

    def execute(self, context: Context) -> None:
        now = utc_now()
        told = dict(
            context["ti"].xcom_pull(task_ids=self.task_id, key=TOLD, map_indexes=None, include_prior_dates=True) or {}
        )
        stale: dict[str, str] = {}
        due: dict[str, Any] = {}
        for service, seconds in self.promises.items():
            last, promise = self._last_success(context, service), timedelta(seconds=seconds)
            if last is not None and now <= stale_since(last, promise):
                told.pop(service, None)
                continue
            stale[service] = sentence(service, last, promise, now)
            seen = told.get(service)
            success = iso(last) if last else ""
            if seen is None or seen["success"] != success or now - parse(seen["at"]) >= AGAIN:
                due[service] = {"success": success, "at": iso(now)}
        for line in stale.values():
            log.error(line)
        # Whoever could not be told is told in an hour.
        if due and tell_stale(context, list(due), [stale[service] for service in due], read_settings()):
            told |= due
        # PostgreSQL takes a run without a logical date, as one by hand is, for the newest of all: later runs would see no other.
        if context["dag_run"].logical_date is not None:
            context["ti"].xcom_push(key=TOLD, value={service: told[service] for service in stale if service in told})
        if stale:
            raise AirflowFailException(f"{len(stale)} of {len(self.promises)} backups are stale: {', '.join(stale)}")
        log.info("%d backups are as fresh as they have promised", len(self.promises))

    @staticmethod
    def _last_success(context: Context, service: str) -> datetime | None:
        newest = list(context["inlet_events"][alias(service)].ascending(False).limit(1))
        if not newest:
            return None
        ended = (newest[0].extra or {}).get("CompletedAt")
        return parse(ended) if isinstance(ended, str) else newest[0].timestamp


def sentence(service: str, last: datetime | None, promise: timedelta, now: datetime) -> str:
    if last is None:
        return f"{service}: has never been backed up; run backup_sync, or see why its runs fail"
    return f"{service}: the last success is {span(now - last)} old, and {span(promise)} is promised; see whether its runs fail or its DAG is paused"

"""The state of all services as metrics, for Prometheus to fetch.

State is asked for and not sent: a gauge of a task that ended vanishes, or stays for ever. Names follow
https://prometheus.io/docs/practices/naming/, the text is that of the client library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from backup_sync.console.board import SUCCEEDED, Known
from backup_sync.model.moments import parse
from backup_sync.model.verdicts import VERDICTS

OPERATIONS = ("inserted", "updated", "deleted", "skipped")
ODD = ("withheld", "ahead", "rejected")


def text(known: Iterable[Known], now: datetime, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type. ``accept``: which text formats the caller reads, as in the header."""
    registry = CollectorRegistry()
    registry.register(_Services(list(known), now))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Services(Collector):
    def __init__(self, known: list[Known], now: datetime) -> None:
        self.known, self.now = known, now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._each(
            "last_success_timestamp_seconds",
            "When the last success ended",
            lambda one: _time(one.success and one.success.ended),
        )
        yield self._each(
            "last_attempt_timestamp_seconds",
            "When the last run began",
            lambda one: _time(one.attempt and one.attempt.started),
        )
        yield self._each(
            "last_attempt_success",
            "Whether the last run succeeded",
            lambda one: one.attempt and one.attempt.state == SUCCEEDED,
        )
        yield self._each(
            "last_duration_seconds", "How long the last run took", lambda one: one.attempt and one.attempt.seconds
        )
        yield self._each(
            "fresh_within_seconds", "How old the last success may become", lambda one: one.promise.total_seconds()
        )
        yield self._each("fresh", "Whether the last success is newer than that", lambda one: not one.stale(self.now))
        yield self._each("behind_seconds", "What the source did for so long may be missing in the backup", self._behind)
        yield self._each("running", "Whether a run is at work", lambda one: one.running is not None)
        yield self._each("paused", "Whether the DAG of the service is paused", lambda one: one.paused)
        yield self._by(
            "records", "Records of the last run", "operation", OPERATIONS, lambda one, name: _count(one, name)
        )
        for name in ODD:
            yield self._each(
                f"{name}_records", f"Records of the last run that were {name}", lambda one, name=name: _count(one, name)
            )
        yield self._each(
            "verified_share", "How much of the records was compared whole, 0 to 1", lambda one: one.verified_share
        )
        yield self._by(
            "differences",
            "Records that differed in the last comparison of whole records",
            "verdict",
            VERDICTS,
            _difference,
        )
        yield self._each(
            "oldest_restore_point_timestamp_seconds",
            "The oldest state that can be restored",
            lambda one: _time(one.restorable_since),
        )
        yield self._each("undo_entries", "Entries in the history of records", lambda one: one.told("UndoEntries"))
        yield self._each(
            "request_charge_units", "Request units of the last run", lambda one: one.told("RequestCharge") or None
        )
        yield self._each(
            "last_drill_timestamp_seconds",
            "When the last drill ended",
            lambda one: _time(one.drill and one.drill.ended),
        )
        yield self._each(
            "last_drill_duration_seconds", "How long it took", lambda one: one.drill and one.drill.extra.get("Seconds")
        )

    def _each(self, name: str, about: str, value: Any) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"backup_sync_{name}", about, labels=["service"])
        for one in self.known:
            if (found := value(one)) is not None:
                family.add_metric([one.service], float(found))
        return family

    def _by(self, name: str, about: str, label: str, values: Iterable[str], value: Any) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"backup_sync_{name}", about, labels=["service", label])
        for one in self.known:
            for which in values:
                if (found := value(one, which)) is not None:
                    family.add_metric([one.service, which], float(found))
        return family

    def _behind(self, one: Known) -> float | None:
        behind = one.behind(self.now)
        return behind.total_seconds() if behind is not None else None


def _count(one: Known, name: str) -> int | None:
    return one.attempt.count(name.capitalize()) if one.attempt and one.attempt.result else None


def _difference(one: Known, verdict: str) -> int | None:
    return one.verdicts[verdict] if one.verdicts is not None else None


def _time(moment: Any) -> float | None:
    if isinstance(moment, str):
        moment = parse(moment)
    return moment.timestamp() if moment else None

"""The chain of a service: ``initialize → sync → record_history``. A :class:`SyncResult` is handed along it as a dict."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from backup_sync.links import ConsoleLink
from backup_sync.model.moments import parse
from backup_sync.model.result import HELD, PAIRING_REFUSED, SyncResult
from backup_sync.model.schedules import moments_between
from backup_sync.model.summary import good_lines
from backup_sync.model.traces import FAILURE
from backup_sync.operators.assets import alias, tell
from backup_sync.operators.base import ServiceOperator, flag, number, pull_result, task_states
from backup_sync.operators.lineage import Lineage, place

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.stores.base import Store
    from backup_sync.walk.sync import Options

log = logging.getLogger(__name__)


class InitializeBackupOperator(ServiceOperator):
    """Create what the backup of a service lacks: database, schema, table or container, history.

    Also the place where a run is checked before it does anything: unknown keys in its conf fail it, and a service
    that was not asked for is skipped with its whole chain.

    A table that is there follows its source's columns; what was altered, or kept though the source has it no more, is
    in the list as well.

    :param dry_run: say what would be created or altered.
    :param accept_source: pair the backup with what is behind the connections now.
    :return: ``{"ServiceName": …, "Created": ["table customer.Customers", …]}``
    """

    verb = "initialize"
    about = (
        "Creates what the backup lacks (database, schema, table or container, history), lets a table follow "
        "its source's new columns, and checks that the backup is this source's. Safe at any time. If it "
        "fails, see the runbook: its message says what to change."
    )
    template_fields = ("only", "dry", "accept_source")

    def __init__(self, *, dry_run: bool | str = False, accept_source: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dry = dry_run
        self.accept_source = accept_source

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk.initialize import initialize

        result = self.new_result(context)
        with self.reporting(context, result):
            self.check_asked_for(context)
            with self.stores() as (_, source, backup):
                self.check_conf(context)
                created = initialize(
                    source,
                    backup,
                    dry_run=flag(self.dry),
                    accept_source=flag(self.accept_source),
                    run_id=result.run_id,
                    stop=self.stop,
                )
        log.info("%s: %s", self.service, made(created, dry_run=flag(self.dry)) or "everything is in place")
        return {"ServiceName": self.service, "Created": created}


class SyncOperator(ServiceOperator):
    """Bring the backup of a service in step with its source.

    :param force: rewrite every record, changed or not.
    :param dry_run: count what would be done, and write nothing.
    :param allow_deletes: let so many deletes through, and no more, though they look like an accident.
    :param schedule: cron text of the DAG, or None: a scheduled run says so if earlier ones did not happen.
    :return: the result (:meth:`SyncResult.to_dict`).
    """

    verb = "sync"
    operator_extra_links = (ConsoleLink(),)
    about = (
        "Compares source and backup, and writes what differs: inserts and updates first, deletes last. "
        "Deletes that look like an accident are withheld, and the task fails. A retry carries on where the "
        "attempt before it stopped, and counts nothing twice."
    )
    # fresh_within renders to itself: what is in this list Airflow keeps with the DAG, where the console reads it.
    template_fields = ("only", "force", "dry", "allow_deletes", "fresh_within")

    def __init__(
        self,
        *,
        force: bool | str = False,
        dry_run: bool | str = False,
        allow_deletes: int | str | None = None,
        schedule: str | None = None,
        fresh_within: float = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", [alias(kwargs["service"])])
        super().__init__(**kwargs)
        self.force = force
        self.dry = dry_run
        self.allow_deletes = allow_deletes
        self.schedule = schedule
        self.fresh_within = fresh_within

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk.sync import sync

        result = self.new_result(context)
        with self.reporting(context, result):
            self.check_asked_for(context)
            self.check_conf(context)
            options = self.options(context)
            with self.stores() as (service, source, backup):
                if result.started_by == "scheduled" and self.schedule and result.attempt == 1:
                    self._tell_of_pause(backup, context["dag_run"].run_after)
                self.lineage = Lineage(result, place(source), target=place(backup))
                sync(service, source, backup, result, options, stop=self.stop, heard=self.heard(context))
                tell(context, alias(self.service), backup, result)
        for line in good_lines(result.to_dict()):
            log.info(line)
        return result.to_dict()

    def options(self, context: Context) -> Options:
        from backup_sync.walk.sync import Options

        allowed = number("allow_deletes", self.allow_deletes)
        return Options(force=flag(self.force), dry_run=flag(self.dry), allow_deletes=allowed)

    def _tell_of_pause(self, backup: Store, now: datetime) -> None:
        """Unpausing a DAG starts a run at once, and much may have changed meanwhile."""
        found = backup.journal.newest() if backup.catalog.exists() else []
        runs = [run for run in found if not str(run["Mode"]).startswith(("verified", "drilled"))]
        if not runs or not self.schedule:
            return
        last = parse(runs[0]["StartedAt"])
        missed = moments_between(self.schedule, last, now)
        if missed and now - last > timedelta(days=1):
            log.warning(
                "%s: this is the first scheduled run after a pause: the last one of any kind began at %s, and scheduled ones "
                "did not happen %s since then; it copies, and deletes, what has changed meanwhile",
                self.service,
                runs[0]["StartedAt"],
                "once" if missed == 1 else f"{missed} times",
            )


class RecordHistoryOperator(ServiceOperator):
    """Write the run's record into the backup's history, also (and above all) when the sync failed.

    Runs after everything but a service that was not asked for. A dry run leaves no record, nor does a run whose backup
    turned out to belong to something else: it is not its history.

    A recorded failure fails this task too: "clear only what failed" would otherwise leave it out, and with it the
    record of the run that was repaired.

    :param after: the task ids of the chain before it, nearest first.
    :return: the result that was recorded.
    """

    verb = "record"
    about = (
        "Writes the run's record into the backup's history, above all when the sync failed; a recorded "
        "failure fails this task as well, so that clearing what failed includes it."
    )
    template_fields = ("dry",)

    def __init__(self, *, after: list[str], dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after
        self.dry = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        states = task_states(context)
        # Where nothing had to be approved, the tasks for that are skipped behind a sync that was not.
        state = next((one for task in self.after if (one := states.get(task)) != "skipped"), "skipped")
        reported = pull_result(context, self.after)
        if state == "skipped" and reported is None:
            raise AirflowSkipException("the sync was skipped, so there is nothing to record")
        from backup_sync.walk.record import record_history

        result = SyncResult.from_dict(reported) if reported else self.new_result(context)
        if reported is None:
            result.fail(f"the task {self.after[0]} ended as {state} without reporting a result; see its log")
        if not result.dry_run and result.pairing != PAIRING_REFUSED:
            with self.reporting(context, result), self.stores() as (_, source, backup):
                record_history(backup, result, source=source, stop=self.stop)
        if not result.success and result.status != HELD:
            context["ti"].xcom_push(key=FAILURE, value=result.to_dict())
            if result.pairing == PAIRING_REFUSED:
                raise AirflowFailException(f"not recorded, since the backup is another one: {result.error_message}")
            raise AirflowFailException(f"recorded: {result.error_message}")
        return result.to_dict()


def made(created: list[str], *, dry_run: bool) -> str:
    """What ``initialize`` made (or would make) and kept, in words; empty if nothing."""
    verb = "would make" if dry_run else "made"
    kept = [what for what in created if what.startswith("kept ")]
    new = [what for what in created if what not in kept]
    return ", ".join([f"{verb} {', '.join(new)}"] * bool(new) + kept)

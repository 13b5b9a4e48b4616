"""The operators: an Airflow context in, one engine call, an XCom out.

A chain ``initialize → sync → record_history`` for each service hands a :class:`SyncResult` along as a dict; the
summary collects what the chains reported. How an error maps onto Airflow: ConfigurationError and FatalError fail
the task at once, RetriableError fails the attempt and Airflow retries with back-off.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from backup_sync.config import load_service
from backup_sync.core.errors import BackupSyncError, ConfigurationError, FatalError, PairingRefused, RetriableError
from backup_sync.core.result import PAIRING_REFUSED, SyncResult, sync_id
from backup_sync.core.summary import build_summary, render_summary, result_line

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.service import Service
    from backup_sync.stores.base import Store

log = logging.getLogger(__name__)

FAILURE = "failure"
"""XCom key under which a task that failed leaves its result for record_history and summary."""


class ServiceOperator(BaseOperator):
    """What the operators of a chain share.

    :param service: name of a declared service.
    :param config: path of the file that declares it.
    """

    _stop: threading.Event | None = None

    def __init__(self, *, service: str, config: str | Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service = service
        self.config = str(config)
        self.dry: bool | str = False

    def on_kill(self) -> None:
        """Airflow wants the task to end (marked, cleared, stopped): it writes nothing more, and gives its lock back."""
        self.stop.set()

    @property
    def stop(self) -> threading.Event:
        """Set once the task has to end, which may be before it begins."""
        # Not made in the constructor: operators are copied, and an event cannot be.
        self._stop = self._stop or threading.Event()
        return self._stop

    def load(self) -> Service:
        return load_service(Path(self.config), self.service)

    def new_result(self, context: Context) -> SyncResult:
        dag_run, ti = context["dag_run"], context["ti"]
        return SyncResult(
            sync_id=sync_id(ti.dag_id, dag_run.run_id, self.service),
            service_name=self.service,
            attempt=ti.try_number,
            run_id=dag_run.run_id,
            dry_run=flag(self.dry),
        )

    @contextmanager
    def reporting(self, context: Context, result: SyncResult) -> Iterator[None]:
        """Leave a failed ``result`` for the tasks behind, and raise what Airflow should do about the error."""
        try:
            yield
        except AirflowException:
            raise
        except Exception as error:
            known = error if isinstance(error, BackupSyncError) else _unexpected(error)
            if isinstance(known, PairingRefused):
                result.pairing = PAIRING_REFUSED
            # What went wrong first is what matters; that it could not be recorded either comes behind it.
            earlier = f"{result.error_message}; and its history could not be written: " if result.error_message else ""
            result.fail(earlier + str(known))
            context["ti"].xcom_push(key=FAILURE, value=result.to_dict())
            raise _for_airflow(known) from None


class InitializeBackupOperator(ServiceOperator):
    """Create what the backup of a service lacks: database, schema, table or container, history.

    Also the place where a run is checked before it does anything: unknown keys in its conf fail it, and a service
    that was not asked for is skipped with its whole chain.

    :param only: the service asked for, or ``all``.
    A table that is there follows its source's columns; what was altered, or kept though the source has it no more, is
    in the list as well.

    :param dry_run: say what would be created or altered.
    :param accept_source: pair the backup anew with what is behind the connections now.
    :return: ``{"ServiceName": …, "Created": ["table customer.Customers", …]}``
    """

    template_fields = ("only", "dry", "accept_source")

    def __init__(
        self,
        *,
        only: str = "all",
        dry_run: bool | str = False,
        accept_source: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.only = only
        self.dry = dry_run
        self.accept_source = accept_source

    def execute(self, context: Context) -> dict[str, Any]:
        if self.only not in ("all", self.service):
            raise AirflowSkipException(f"this run is for {self.only} only")
        from backup_sync.core.engine import initialize

        result = self.new_result(context)
        with self.reporting(context, result), _stores(self) as (_, source, backup):
            check_conf(context)
            created = initialize(
                source,
                backup,
                dry_run=flag(self.dry),
                accept_source=flag(self.accept_source),
                run_id=result.run_id,
                stop=self.stop,
            )
        verb = "would make" if flag(self.dry) else "made"
        kept = [what for what in created if what.startswith("kept ")]
        made = [what for what in created if what not in kept]
        told = ", ".join([f"{verb} {', '.join(made)}"] * bool(made) + kept)
        log.info("%s: %s", self.service, told or "everything is in place")
        return {"ServiceName": self.service, "Created": created}


class SyncOperator(ServiceOperator):
    """Bring the backup of a service in step with its source.

    :param force: rewrite every record, changed or not.
    :param dry_run: count what would be done, and write nothing.
    :param allow_deletes: let so many deletes through, and no more, though they look like an accident.
    :return: the result (:meth:`SyncResult.to_dict`).
    """

    template_fields = ("force", "dry", "allow_deletes")

    def __init__(
        self,
        *,
        force: bool | str = False,
        dry_run: bool | str = False,
        allow_deletes: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.force = force
        self.dry = dry_run
        self.allow_deletes = allow_deletes

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.core.engine import Options, sync

        result = self.new_result(context)
        with self.reporting(context, result), _stores(self) as (service, source, backup):
            options = Options(flag(self.force), flag(self.dry), number("allow_deletes", self.allow_deletes))
            sync(service, source, backup, result, options, stop=self.stop)
        log.info(result_line(result.to_dict()))
        return result.to_dict()


class RecordHistoryOperator(ServiceOperator):
    """Write the run's record into the backup's history, also (and above all) when the sync failed.

    Runs after everything but a skipped sync. A dry run leaves no record, nor does a run whose backup turned out to belong
    to something else: it is not its history.

    A recorded failure fails this task too: "clear only what failed" would otherwise leave it out, and with it the
    record of the run that was repaired.

    :param after: the task ids of the chain before it, nearest first.
    :return: the result that was recorded.
    """

    template_fields = ("dry",)

    def __init__(self, *, after: list[str], dry_run: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after
        self.dry = dry_run

    def execute(self, context: Context) -> dict[str, Any]:
        state = task_states(context).get(self.after[0])
        if state == "skipped":
            raise AirflowSkipException("the sync was skipped, so there is nothing to record")
        from backup_sync.core.engine import record_history

        reported = pull_result(context, self.after)
        result = SyncResult.from_dict(reported) if reported else self.new_result(context)
        if reported is None:
            result.fail(f"the task {self.after[0]} ended as {state} without reporting a result; see its log")
        if not result.dry_run and result.pairing != PAIRING_REFUSED:
            with self.reporting(context, result), _stores(self) as (_, source, backup):
                record_history(backup, result, source=source, stop=self.stop)
        if not result.success:
            context["ti"].xcom_push(key=FAILURE, value=result.to_dict())
            if result.pairing == PAIRING_REFUSED:
                raise AirflowFailException(f"not recorded, since the backup is another one: {result.error_message}")
            raise AirflowFailException(f"recorded: {result.error_message}")
        return result.to_dict()


class SummaryOperator(BaseOperator):
    """Log the summary of a run and return it as data; fail if any service failed.

    :param chains: service → the task ids of its chain, last first.
    :param schedule: cron text of the DAG, or None.
    :return: ``{"Success": bool, "Message": str, "Results": [result, …], "Timestamp": str}``
    """

    def __init__(self, *, chains: dict[str, list[str]], schedule: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chains = chains
        self.schedule = schedule

    def execute(self, context: Context) -> dict[str, Any]:
        states = task_states(context)
        results: list[dict[str, Any]] = []
        for service, tasks in self.chains.items():
            if all(states.get(task) == "skipped" for task in tasks):
                continue
            reported = pull_result(context, tasks)
            result = SyncResult.from_dict(reported) if reported else SyncResult(sync_id("", "", service), service)
            broken = [task for task in tasks if states.get(task) in ("failed", "upstream_failed", None)]
            if not reported or (broken and result.success):
                # A failed record_history behind a good sync is a failure too: that run would be missing in history.
                result.fail(
                    result.error_message or f"the task {broken[-1] if broken else tasks[0]} failed; see its log"
                )
            results.append(result.to_dict())
        dag_run = context["dag_run"]
        started = dag_run.run_after
        summary = build_summary(results)
        kind = str(getattr(dag_run.run_type, "value", dag_run.run_type))
        for line in render_summary(summary, kind, started, next_run(self.schedule, started)):
            log.info(line)
        if not summary["Success"]:
            context["ti"].xcom_push(key="return_value", value=summary)
            raise AirflowFailException(summary["Message"])
        return summary


def check_conf(context: Context) -> None:
    """Airflow accepts any key in a run's conf; one that no parameter has is most likely a misspelt one.

    Raises FatalError that lists the known ones.
    """
    # Not context["params"], into which the conf was merged already.
    known = sorted(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - set(known))
    if unknown:
        raise FatalError(f"unknown parameter {', '.join(unknown)} in the run's conf; known are: {', '.join(known)}")


def flag(value: bool | str) -> bool:
    """A parameter after templating: a bool where the DAG renders native objects, its text otherwise."""
    return value if isinstance(value, bool) else str(value).strip().lower() == "true"


def number(name: str, value: int | str | None) -> int | None:
    """A whole number, or None, after templating. Raises ConfigurationError for anything else."""
    text = str(value).strip()
    if text in ("None", ""):
        return None
    if isinstance(value, bool) or not text.isdecimal():
        raise ConfigurationError(f"the parameter {name} has to be a whole number, or null")
    return int(text)


def task_states(context: Context) -> dict[str, str | None]:
    """State by task id of this run."""
    dag_run, ti = context["dag_run"], context["ti"]
    states: dict[str, Any] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[dag_run.run_id])
    return states.get(dag_run.run_id, {})


def pull_result(context: Context, task_ids: list[str]) -> dict[str, Any] | None:
    """The first result that these tasks reported, successful or failed, in their order."""
    ti = context["ti"]
    for task_id in task_ids:
        for key in ("return_value", FAILURE):
            found = ti.xcom_pull(task_ids=task_id, key=key)
            if found and "SyncId" in found:
                return dict(found)
    return None


def next_run(schedule: str | None, after: datetime) -> datetime | None:
    """The next moment of a cron schedule after ``after`` (aware), or None if there is no schedule."""
    if not schedule:
        return None
    from croniter import croniter  # Airflow's own cron reader

    return croniter(schedule, after).get_next(datetime)


@contextmanager
def _stores(operator: ServiceOperator) -> Iterator[tuple[Service, Store, Store]]:
    from backup_sync.hooks import open_stores

    service = operator.load()
    source, backup = open_stores(service)
    with closing(source), closing(backup):
        yield service, source, backup


def _unexpected(error: Exception) -> FatalError:
    """An error that nobody foresaw. Its text may quote a row, so the log gets the place it came from instead."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s; it came from here:\n%s", type(error).__name__, frames)
    return FatalError(f"unexpected {type(error).__name__}; the log shows where it came from, please report it")


def _for_airflow(error: BackupSyncError) -> AirflowException:
    if isinstance(error, RetriableError):
        return AirflowException(str(error))
    return AirflowFailException(str(error))

"""What the operators share: a service, a context in, one call of a job, a result for the tasks behind.

How an error maps onto Airflow: ConfigurationError and FatalError fail the task at once, RetriableError fails the attempt
and Airflow retries with back-off, Held skips it.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from backup_sync.model.config import load_service
from backup_sync.model.errors import (
    BackupSyncError,
    ConfigurationError,
    FatalError,
    Held,
    PairingRefused,
    RetriableError,
)
from backup_sync.model.result import PAIRING_REFUSED, SyncResult, sync_id
from backup_sync.model.traces import FAILURE, PROGRESS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.model.service import Service
    from backup_sync.operators.lineage import Lineage
    from backup_sync.stores.base import Store

log = logging.getLogger(__name__)


class ServiceOperator(BaseOperator):
    """A task about one service.

    :param service: name of a declared service.
    :param config: path of the file that declares it.
    :param only: the service that the run is for, or ``all``; another one's tasks are skipped.
    :param sync_dag: the DAG whose runs sync the service.
    """

    template_fields: Sequence[str] = ("only",)

    verb = ""
    """What the task does, for its name in the UI; empty: it is called by its id."""
    about = ""
    """What the UI says of the task, in Markdown."""

    _stop: threading.Event | None = None
    lineage: Lineage | None = None
    """What the task reads and writes, once it knows: for OpenLineage."""

    def __init__(
        self, *, service: str, config: str | Path, only: str = "all", sync_dag: str = "backup_sync", **kwargs: Any
    ) -> None:
        if self.verb:
            kwargs.setdefault("task_display_name", f"{self.verb} {service}")
        kwargs.setdefault("doc_md", self.about or None)
        super().__init__(**kwargs)
        self.service = service
        self.config = str(config)
        self.only = only
        self.sync_dag = sync_dag
        self.dry: bool | str = False

    def on_kill(self) -> None:
        """Airflow wants the task to end (marked, cleared, stopped): it writes nothing more, and gives its lock back."""
        self.stop.set()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Called by Airflow's provider of OpenLineage when the task has ended, well or not."""
        from backup_sync.operators.lineage import told

        return told(self.lineage)

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
            # Also where Airflow does not pass it on: such a run leaves no trace in the backup either.
            dry_run=flag(self.dry) or flag((dag_run.conf or {}).get("dry_run", False)),
            started_by=started_by(context),
            sync_dag=self.sync_dag,
        )

    def check_asked_for(self, context: Context) -> None:
        """Skip the task of a service that the run is not for. Raises FatalError where that cannot be known."""
        self._check_given(context, ["only"])
        if self.only not in ("all", self.service):
            raise AirflowSkipException(f"this run is for {self.only} only")

    def check_conf(self, context: Context) -> None:
        """Check that the run is the one that was asked for. Raises FatalError.

        Airflow accepts any key in a run's conf; one that no parameter has is most likely a misspelt one. And it may be
        set up to hand no value of the conf to any parameter, or the DAG to hand none to this task.
        """
        # Not context["params"], into which the conf was merged already.
        known = sorted(context["dag"].params)
        unknown = sorted(set(context["dag_run"].conf or {}) - set(known))
        if unknown:
            raise FatalError(f"unknown parameter {', '.join(unknown)} in the run's conf; known are: {', '.join(known)}")
        self._check_given(context, self.template_fields)

    def _check_given(self, context: Context, fields: Sequence[str]) -> None:
        conf = context["dag_run"].conf or {}
        for field in fields:
            name = PARAM_OF.get(field, field)
            read = READ.get(name, str)
            if name in conf and read(conf[name]) != read(getattr(self, field)):
                raise FatalError(
                    f"the run's conf has another {name} than the task was given; let the conf set parameters "
                    "([core] dag_run_conf_overrides_params = True), and pass each parameter on in the DAG"
                )

    @contextmanager
    def reporting(self, context: Context, result: SyncResult) -> Iterator[None]:
        """Leave a ``result`` that is no success for the tasks behind, and raise what Airflow should do about the error."""
        try:
            yield
        except AirflowException:
            raise
        except Exception as error:
            known = error if isinstance(error, BackupSyncError) else _unexpected(error)
            if isinstance(known, Held):
                result.hold(str(known))
            else:
                _failed(result, known)
            context["ti"].xcom_push(key=FAILURE, value=result.to_dict())
            raise _for_airflow(known) from None

    def heard(self, context: Context) -> Callable[[Mapping[str, Any]], None]:
        """Takes how far the task is, and leaves it where the console finds it."""
        ti = context["ti"]
        away = False

        def push(progress: Mapping[str, Any]) -> None:
            nonlocal away
            if away:
                return
            try:
                ti.xcom_push(key=PROGRESS, value=dict(progress))
            except Exception as error:
                # That Airflow is away is no reason to end the work, nor to wait for it again and again while the run holds its lock.
                away = True
                log.info("how far the task is cannot be told any more (%s)", type(error).__name__)

        return push

    @contextmanager
    def stores(self) -> Iterator[tuple[Service, Store, Store]]:
        """The declared service and its two ends, (service, source, backup)."""
        from backup_sync.hooks import open_stores

        service = self.load()
        source, backup = open_stores(service)
        with closing(source), closing(backup):
            yield service, source, backup


def flag(value: Any) -> bool:
    """A parameter after templating: a bool where the DAG renders native objects, its text otherwise."""
    return value if isinstance(value, bool) else str(value).strip().lower() == "true"


def number(name: str, value: Any) -> int | None:
    """A whole number, or None, after templating. Raises ConfigurationError for anything else."""
    text = str(value).strip()
    if text in ("None", ""):
        return None
    if isinstance(value, bool) or not text.isdecimal():
        raise ConfigurationError(f"the parameter {name} has to be a whole number, or null")
    return int(text)


PARAM_OF = {"only": "service", "dry": "dry_run", "name": "table", "only_these": "only"}
"""Which parameter of a run a field is given, where the two have different names."""

READ: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("force", "dry_run", "accept_source", "release", "repair", "delete", "accept_obstacles"), flag),
    "allow_deletes": partial(number, "allow_deletes"),
}
"""How the value of a parameter is read; any other one is text."""


def started_by(context: Context) -> str:
    """What started the run: ``scheduled``, ``manual by anna``, ``backfill by anna`` …"""
    dag_run = context["dag_run"]
    run_type = getattr(dag_run, "run_type", "")
    user = getattr(dag_run, "triggering_user_name", None)
    return str(getattr(run_type, "value", run_type)) + (f" by {user}" if user else "")


def task_states(context: Context) -> dict[str, str | None]:
    """State by task id of this run."""
    dag_run, ti = context["dag_run"], context["ti"]
    states: dict[str, Any] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[dag_run.run_id])
    return states.get(dag_run.run_id, {})


def pull_result(context: Context, task_ids: list[str]) -> dict[str, Any] | None:
    """The first result that these tasks reported, successful or not, in their order."""
    ti = context["ti"]
    for task_id in task_ids:
        for key in ("return_value", FAILURE):
            found = ti.xcom_pull(task_ids=task_id, key=key)
            if found and "SyncId" in found:
                return dict(found)
    return None


def _failed(result: SyncResult, error: BackupSyncError) -> None:
    if isinstance(error, PairingRefused):
        result.pairing = PAIRING_REFUSED
    earlier, now = result.error_message, str(error)
    if earlier and earlier != now:
        # What went wrong first is what matters; that it could not be recorded either comes behind it.
        result.fail(f"{earlier}; and its history could not be written: {now}")
        return
    result.fail(now)
    result.help = error.page


def _unexpected(error: Exception) -> FatalError:
    """An error that nobody foresaw. Its text may quote a row, so the log gets the place it came from instead."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s; it came from here:\n%s", type(error).__name__, frames)
    return FatalError(f"unexpected {type(error).__name__}; the log shows where it came from, please report it")


def _for_airflow(error: BackupSyncError) -> AirflowException:
    if isinstance(error, Held):
        return AirflowSkipException(str(error))
    if isinstance(error, RetriableError):
        return AirflowException(str(error))
    return AirflowFailException(str(error))

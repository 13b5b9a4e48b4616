"""What closes a run: its summary, and the services that could not even begin."""

from __future__ import annotations

import logging
import re
from itertools import count as numbers
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from backup_sync.model.config import LONGEST_NAME, Declared
from backup_sync.model.errors import ConfigurationError
from backup_sync.model.result import FAILED, SyncResult, sync_id
from backup_sync.model.schedules import next_run
from backup_sync.model.summary import build_summary, render_summary
from backup_sync.model.traces import FAILURE
from backup_sync.operators.base import pull_result, started_by, task_states
from backup_sync.operators.counters import count
from backup_sync.operators.notify import tell
from backup_sync.settings import Settings, read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class RefuseOperator(BaseOperator):
    """Fail with the sentence that says what is wrong with a service's declaration, or with the settings.

    Its DAG is there all the same: a DAG that is missing runs nothing, so nobody would notice.

    :param service: what is wrong is called so in the summary.
    :param reason: the sentence.
    :param only: the service that the run is for, or ``all``.
    """

    template_fields = ("only",)

    def __init__(self, *, service: str, reason: str, only: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.service = service
        self.reason = reason
        self.only = only

    def execute(self, context: Context) -> None:
        if self.only not in ("all", self.service):
            raise AirflowSkipException(f"this run is for {self.only} only")
        ti, run_id = context["ti"], context["dag_run"].run_id
        result = SyncResult(sync_id(ti.dag_id, run_id, self.service), self.service, run_id=run_id)
        result.fail(self.reason)
        result.help = ConfigurationError.page
        ti.xcom_push(key=FAILURE, value=result.to_dict())
        raise AirflowFailException(self.reason)


def refuse_mistakes(declared: Declared, settings: Settings | None = None) -> dict[str, list[str]]:
    """Add a task to the current DAG for each mistake in the services file and the settings.

    Returns what is wrong → the ids of its tasks, as :class:`SummaryOperator` takes them.
    """
    found = {**declared.problems, **(settings.problems if settings else {})}
    chains: dict[str, list[str]] = {}
    for name, problem in found.items():
        # No service has a task that is called so; Airflow allows few characters.
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]
        taken = [task_id for (task_id,) in chains.values()]
        task_id = next(one for n in numbers() if (one := f"{stem}.refused{n or ''}") not in taken)
        RefuseOperator(task_id=task_id, service=name, reason=problem, only="{{ params.service }}", retries=0)
        chains[name] = [task_id]
    return chains


class SummaryOperator(BaseOperator):
    """Log the summary of a run and return it as data; fail if any service failed.

    Skipped where every service that was asked for is held: nothing was backed up, and nothing went wrong.

    :param chains: service → the task ids of its chain, last first.
    :param schedule: cron text of the DAG, or None.
    :param job: what the run was to do: ``sync`` or ``verify``.
    :return: ``{"Success": bool, "Message": str, "Results": [result, …], "Timestamp": str}``
    """

    def __init__(
        self, *, chains: dict[str, list[str]], schedule: str | None = None, job: str = "sync", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.chains = chains
        self.job = job
        self.schedule = schedule

    def execute(self, context: Context) -> dict[str, Any]:
        states = task_states(context)
        results: list[dict[str, Any]] = []
        for service, tasks in self.chains.items():
            reported = pull_result(context, tasks)
            states_of = [states.get(task) for task in tasks]
            if reported is None and states_of[0] == "skipped" and {*states_of} <= {"skipped", "success"}:
                continue
            result = SyncResult.from_dict(reported) if reported else SyncResult(sync_id("", "", service), service)
            # A sync that withheld deletes has failed; once these were approved and done, that is dealt with.
            last = list(takewhile(lambda task: not (task.endswith(".delete") and states.get(task) == "success"), tasks))
            broken = [task for task in last if states.get(task) in ("failed", "upstream_failed", None)]
            if not reported or (broken and result.status != FAILED):
                # A failed record_history behind a good sync is a failure too: that run would be missing in history.
                result.fail(
                    result.error_message or f"the task {broken[-1] if broken else tasks[0]} failed; see its log"
                )
            results.append(result.to_dict())
        started = context["dag_run"].run_after
        summary = build_summary(results)
        following = next_run(self.schedule, started)
        settings = read_settings()
        for level, line in render_summary(
            summary, started_by(context), started, following, settings.docs, job=self.job
        ):
            log.log(level, line)
        tell(context, results, self.job, settings)
        count(results, self.job)
        if not summary["Success"]:
            context["ti"].xcom_push(key="return_value", value=summary)
            if any(result["Status"] == FAILED for result in results):
                raise AirflowFailException(summary["Message"])
            raise AirflowSkipException(summary["Message"])
        return summary

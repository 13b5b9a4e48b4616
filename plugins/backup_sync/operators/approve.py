"""Ask a person whether withheld deletes may go through, and let them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from backup_sync.links import required_action
from backup_sync.model.errors import FatalError
from backup_sync.model.traces import FAILURE
from backup_sync.operators.base import flag
from backup_sync.operators.notify import tell
from backup_sync.operators.sync import SyncOperator
from backup_sync.settings import read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.walk.sync import Options

log = logging.getLogger(__name__)

ASKED = "asked"
"""XCom key of what was asked for. The answer is to that, and not to what a sync that was cleared meanwhile found."""


class ApproveDeletesOperator(ApprovalOperator):
    """Ask whether the deletes that a sync withheld may go through; skipped where there are none that an allowance would decide.

    No worker is held meanwhile, and no other run waits: a later one makes the answer void.

    :param asked: the task id of that sync.
    :param approvers: names of the users who may answer; none: whoever Airflow lets answer.
    """

    template_fields = ()

    def __init__(self, *, service: str, asked: str, approvers: tuple[str, ...] = (), **kwargs: Any) -> None:
        kwargs.setdefault("task_display_name", f"approve deletes of {service}")
        kwargs.setdefault(
            "doc_md",
            "Waits for a person where `sync` withheld deletes. *Approve* lets through as many as it says and no more; "
            "*Reject*, or no answer in time, leaves them withheld and the run failed.",
        )
        users: Any = [{"id": name, "name": name} for name in approvers] or None
        super().__init__(subject=f"Delete these records from the backup of {service}?", assigned_users=users, **kwargs)
        self.asked = asked

    def execute(self, context: Context) -> Any:
        ti = context["ti"]
        found = ti.xcom_pull(task_ids=self.asked, key=FAILURE) or {}
        question = found.get("Question")
        if not question or flag(found.get("DryRun")):
            raise AirflowSkipException("there is nothing to approve: the sync withheld no deletes that may be allowed")
        self.body = told(found["ErrorMessage"], question)
        ti.xcom_push(key=ASKED, value={"Deletes": question["Deletes"], "Deleted": found["DeletedCount"]})
        tell(context, [found], "sync", read_settings(), [f"Approve or reject: {required_action(ti)}"])
        return super().execute(context)


class DeleteApprovedOperator(SyncOperator):
    """Sync once more, and let through as many deletes as were approved, found anew; none if another run has begun meanwhile.

    :param asked: the task id of the sync that withheld them.
    :param approve: the task id of the answer.
    """

    verb = "delete approved of"
    about = (
        "Compares once more and lets the approved deletes through, that many at most. If another run has begun since they were "
        "withheld, the approval is void and nothing is deleted."
    )

    def __init__(self, *, asked: str, approve: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked, self.approve = asked, approve

    def options(self, context: Context) -> Options:
        ti = context["ti"]
        if not (ti.xcom_pull(task_ids=self.asked, key=FAILURE) or {}).get("Question"):
            raise AirflowSkipException("there is nothing left to delete: the sync ran again and withheld nothing")
        answer = ti.xcom_pull(task_ids=self.approve) or {}
        asked = ti.xcom_pull(task_ids=self.approve, key=ASKED)
        if not asked or not answer.get("chosen_options"):
            raise FatalError(
                f"{self.service}: {self.approve} has no answer of a person, so nothing was deleted; clear that task to ask again"
            )
        by = answer.get("responded_by_user") or {}
        name = str(by.get("name") or by.get("id") or "somebody")
        log.info("%s: %d deletes were approved by %s", self.service, asked["Deletes"], name)
        # An allowance is that of the whole run, with what it had deleted before it asked.
        allowed = int(asked["Deletes"]) + int(asked["Deleted"])
        return replace(super().options(context), allow_deletes=allowed, approved_by=name)


def told(message: str, question: dict[str, Any]) -> str:
    """The question as a person reads it, in Markdown."""
    deletes, of = question["Deletes"], question["Of"]
    # In one line each, and as code: a key may hold anything.
    keys = [" ".join(" ".join(map(str, key)).split()).replace("`", "'") for key in question["Keys"]]
    more = " …" if deletes > len(keys) else ""
    share = f"{deletes / of:.0%}" if of else "all"
    return "\n".join(
        [
            f"**{deletes:,} of {of:,} records of the backup ({share}) are gone from the source.**",
            "",
            message.replace("`", "'"),
            "",
            f"Some of their keys: {', '.join(f'`{key}`' for key in keys)}{more}",
            "",
            f"*Approve* deletes {deletes:,} at most, found anew. A newer run makes the answer void.",
        ]
    )

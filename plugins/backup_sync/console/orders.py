"""What can be ordered from the pages: which DAG does it, and with which parameters. Knows neither Airflow nor HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT, CHECK, NUMBER, CHOICE, JSON = "text", "check", "number", "choice", "json"


@dataclass(frozen=True)
class Field:
    """A parameter of the DAG that a form asks for. ``choices``: value and label of each."""

    name: str
    label: str
    kind: str = TEXT
    help: str = ""
    choices: tuple[tuple[str, str], ...] = ()

    def read(self, text: str | None) -> Any:
        """The parameter's value; None: it is left out. Raises ValueError with a sentence."""
        if self.kind == CHECK:
            return True if text else None
        text = (text or "").strip()
        if not text:
            return None
        if self.kind == NUMBER:
            if not text.isdecimal():
                raise ValueError(f"{self.label} has to be a whole number; leave it empty for none")
            return int(text)
        if self.kind == JSON:
            try:
                return json.loads(text)
            except ValueError:
                raise ValueError(f"{self.label} has to be JSON; {self.help[0].lower()}{self.help[1:]}") from None
        if self.kind == CHOICE and text not in {value for value, _ in self.choices}:
            raise ValueError(f"{self.label} has to be one of the choices")
        return text


@dataclass(frozen=True)
class Order:
    """``dag_id``: what does it; empty: the DAG that syncs the service. ``fixed``: parameters that make it this order. ``danger``: it is
    rarely what is wanted."""

    verb: str
    label: str
    about: str
    dag_id: str = ""
    fixed: tuple[tuple[str, Any], ...] = ()
    fields: tuple[Field, ...] = ()
    danger: bool = False

    def dag(self, sync_dag: str) -> str:
        return self.dag_id or sync_dag

    def conf(self, service: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The parameters of the run. Raises ValueError with a sentence where the form holds what cannot be one."""
        given = {field.name: field.read(form.get(field.name)) for field in self.fields}
        return {
            "service": service,
            **dict(self.fixed),
            **{name: value for name, value in given.items() if value is not None},
        }


_ALLOW = Field(
    "allow_deletes",
    "Allow deletes",
    NUMBER,
    "Let so many deletes through, and no more: the number that the run named that withheld them.",
)
_ACCEPT = Field(
    "accept_source",
    "Accept source",
    CHECK,
    "Accept what is behind the connections now for the backup, for this run only.",
)

ORDERS = (
    Order("plan", "Dry run", "Say what a sync would do; it can write nothing, and works while the DAG is paused.", "backup_plan"),
    Order("sync", "Sync", "Bring the backup in step with its source now.", fields=(_ALLOW, _ACCEPT)),
    Order(
        "force",
        "Force",
        "Rewrite every record of the backup, changed or not.",
        fixed=(("force", True),),
        fields=(_ALLOW, _ACCEPT),
        danger=True,
    ),
    Order("initialize", "Initialize", "Create what the backup lacks. Safe at any time.", "backup_initialize", fields=(_ACCEPT,)),
    Order(
        "verify",
        "Verify",
        "Compare the whole content of the backup with its source, or with its seal.",
        "backup_verify",
        fields=(
            Field("share", "Share", help="All, or a part such as 1/7. Empty: all."),
            Field("against", "Against", CHOICE, choices=(("source", "the source"), ("seal", "its seal; the source is not asked"))),
            Field("repair", "Repair", CHECK, "Mend what differs."),
        ),
    ),
    Order(
        "restore",
        "Plan restore",
        "Say what a restore would write. Nothing is written until somebody approves that plan in Airflow.",
        "backup_restore",
        fields=(
            Field("as_of", "As of", help="A moment, the SyncId of a run, or before:<SyncId>. Empty: the backup as it is now."),
            Field("undo", "Undo", help="The SyncId of a restore that is to be undone, instead."),
            Field("target", "Target", help="The connection to restore to. Empty: the source."),
            Field("table", "Table or container", help="Where to there. Empty: as in the source."),
            Field("keys", "Keys", JSON, 'Only these records: [7, 8], or [["order-7", "customer-3"]] for keys of several parts.'),
            Field("where", "Where", JSON, 'Only records with these values: {"City": "Kiruna"}.'),
            Field("columns", "Columns", JSON, 'Only these columns, of records that the target has: ["Email"].'),
            Field(
                "only",
                "Only",
                CHOICE,
                choices=(("", "all that differs"), ("missing", "what is missing"), ("changed", "what changed"), ("extra", "what is extra")),
            ),
            Field("delete", "Delete", CHECK, "Remove records that the target has and that state has not."),
            Field("accept_obstacles", "Accept obstacles", CHECK, "Write although triggers or foreign keys may change more than the plan says."),
        ),
    ),
)  # fmt: skip


def order(verb: str) -> Order | None:
    return next((one for one in ORDERS if one.verb == verb), None)

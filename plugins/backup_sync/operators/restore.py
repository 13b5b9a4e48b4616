"""Plan a restore, have it approved, do it. Started by hand only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from backup_sync.model.config import read_services
from backup_sync.model.errors import BackupSyncError, ConfigurationError, RetriableError
from backup_sync.model.result import SyncResult
from backup_sync.model.summary import good_lines
from backup_sync.operators.assets import RESTORED, tell
from backup_sync.operators.base import ServiceOperator, flag
from backup_sync.operators.lineage import Lineage, place

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.model.wish import Planned, Wish
    from backup_sync.stores.base import Store

log = logging.getLogger(__name__)

PLAN = "plan"
"""The task that plans."""

PARAMS = ("as_of", "undo", "target", "name", "keys", "where", "columns", "only_these", "delete", "accept_obstacles")


class RestoreOperator(ServiceOperator):
    """What the tasks of a restore share: the parameters of the run, and the three places.

    :param service: name of a declared service; empty: none.
    :param as_of: a moment, a SyncId, or ``before:<SyncId>``; empty: the backup as it is.
    :param undo: the SyncId of a restore that is to be undone, in place of that.
    :param target: the connection to restore to; empty: the service's source.
    :param name: the table or container there; empty: the service's.
    :param keys: a list of keys, each a value or a list of values.
    :param where: field → value; only such records.
    :param columns: only these columns of records that are there.
    :param only_these: ``missing``, ``changed`` or ``extra``.
    :param delete: remove what the target has beyond that state.
    :param accept_obstacles: write though triggers or foreign keys of the target may do more.
    """

    template_fields: Sequence[str] = ("service", *PARAMS)

    def __init__(self, *, service: str, **kwargs: Any) -> None:
        given = {name: kwargs.pop(name, None) for name in PARAMS}
        super().__init__(service=service, **kwargs)
        self.as_of, self.undo, self.target, self.name = (given[name] for name in ("as_of", "undo", "target", "name"))
        self.keys, self.where, self.columns = given["keys"], given["where"], given["columns"]
        self.only_these, self.delete = given["only_these"], given["delete"]
        self.accept_obstacles = given["accept_obstacles"]

    @contextmanager
    def places(self) -> Iterator[tuple[Store, Store, Store]]:
        """(source, backup, target); the target may be the source itself."""
        from backup_sync.hooks import open_target

        with self.stores() as (service, source, backup):
            if _text(self.target) in ("", service.source) and not _text(self.name):
                yield source, backup, source
                return
            with closing(open_target(service, _text(self.target) or service.source, _text(self.name))) as target:
                yield source, backup, target

    def wish(self, backup: Store) -> Wish:
        """What is asked for. Raises ConfigurationError where a parameter is not what it has to be."""
        from backup_sync.model.wish import KINDS, Wish
        from backup_sync.walk import points

        only = _text(self.only_these)
        if only and only not in KINDS:
            raise ConfigurationError(f"the parameter only has to be one of {', '.join(KINDS)}, or null")
        undo = _text(self.undo)
        if undo and _text(self.as_of):
            raise ConfigurationError("as_of and undo ask for two states; leave one of them out")
        keys = _listed("keys", self.keys)
        return Wish(
            number=None if undo else points.point_of(backup, _text(self.as_of)),
            undo=points.number_of(backup, undo) if undo else None,
            keys=None if keys is None else [key if isinstance(key, list) else [key] for key in keys],
            where=_mapped("where", self.where),
            columns=tuple(map(str, _listed("columns", self.columns) or ())),
            only=only or None,
            delete=flag(self.delete),
            accept_obstacles=flag(self.accept_obstacles),
        )


class PlanRestoreOperator(RestoreOperator):
    """Say what a restore would write; write nothing. Without a service: list the restore points of every service.

    :return: what is planned (:meth:`backup_sync.model.wish.Planned.to_value`) with ``"Text"`` for people; or
        ``{"Points": {service: [restore point, …]}}``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk.restore import plan

        self.service = _text(self.service)
        result = self.new_result(context)
        result.mode = "restored"
        with self.reporting(context, result):
            self.check_conf(context)
            if not self.service:
                return self._list()
            with self.places() as (_, backup, target):
                planned = plan(backup, target, result, self.wish(backup), stop=self.stop)
        text = told(self.service, planned, target)
        for line in text.splitlines():
            log.info(line)
        return {"ServiceName": self.service, **planned.to_value(), "Text": text}

    def _list(self) -> dict[str, Any]:
        from backup_sync.hooks import open_store
        from backup_sync.model.config import load_service
        from backup_sync.walk import points

        found: dict[str, Any] = {}
        for name in read_services(Path(self.config)).services:
            try:
                service = load_service(Path(self.config), name)
                with closing(open_store(service, service.backup, copy=True)) as backup:
                    listed = points.listed(backup)
            except BackupSyncError as error:
                log.error("%s: %s", name, error)
                found[name] = str(error)
                continue
            found[name] = [vars(point) for point in listed]
            log.info("%s: %d restore points", name, len(listed))
            for point in listed:
                state = f"{'whole' if point.whole else 'partial'}{f', held: {point.held}' if point.held else ''}"
                log.info(
                    "  %d  %s  SyncId %s  inserted %d, updated %d, deleted %d  (%s)",
                    *(point.number, point.at, point.sync_id, point.inserted, point.updated, point.deleted, state),
                )
        return {"Points": found}


class ApproveRestoreOperator(ApprovalOperator):
    """Ask a person whether the plan is to be carried out; not where the run brings its id along, or there is nothing to do.

    :param confirm: the id of a plan that was seen before.
    """

    template_fields = (*ApprovalOperator.template_fields, "confirm")

    def __init__(self, *, confirm: str | None = None, **kwargs: Any) -> None:
        body = "{{ (ti.xcom_pull(task_ids='" + PLAN + "') or {}).get('Text', '') }}"
        super().__init__(subject="Restore these records?", body=body, **kwargs)
        self.confirm = confirm

    def execute(self, context: Context) -> Any:
        found = context["ti"].xcom_pull(task_ids=PLAN)
        if not found or "Plan" not in found:
            raise AirflowSkipException("there is nothing to approve: the restore points were listed")
        if not any(found[kind]["Count"] for kind in ("Missing", "Changed", "Extra")):
            raise AirflowSkipException("there is nothing to approve: the target holds all of it already")
        if _text(self.confirm):
            if _text(self.confirm) == found["Plan"]:
                log.info("the run brings the approval of plan %s along", found["Plan"])
                return None
            log.warning("the run confirms plan %s, and this is plan %s: asking", self.confirm, found["Plan"])
        return super().execute(context)


class CarryOutRestoreOperator(RestoreOperator):
    """Do what was approved: log, write, check, settle, record.

    :return: the result (:meth:`SyncResult.to_dict`).
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [RESTORED])
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk.restore import restore

        self.service = _text(self.service)
        result = self.new_result(context)
        found = context["ti"].xcom_pull(task_ids=PLAN) or {}
        with self.reporting(context, result):
            self.check_conf(context)
            with self.places() as (source, backup, target), recorded(backup, result):
                self.lineage = Lineage(result, place(backup), target=place(target))
                restore(source, backup, target, result, self.wish(backup), str(found.get("Plan", "")), stop=self.stop)
                tell(context, RESTORED, target, result)
        for line in good_lines(result.to_dict()):
            log.info(line)
        return result.to_dict()


@contextmanager
def recorded(backup: Store, result: SyncResult) -> Iterator[None]:
    """A restore that fails for good has a record that says why; one that a retry may finish stays in progress."""
    try:
        yield
    except RetriableError:
        raise
    except BackupSyncError as error:
        if result.run_number:
            result.fail(str(error))
            backup.journal.save(result)
        raise


def told(service: str, planned: Planned, target: Store) -> str:
    """A plan as a person reads it, in Markdown."""
    place = f"{target.label} ({target.service.table or target.service.container})"
    when = f"as of run {planned.number}" if planned.number is not None else "as the backup is now"
    lines = [f"**{service}, {when}, into {place}** (plan {planned.id})", ""]
    for kind, verb in (("missing", "insert"), ("changed", "overwrite"), ("extra", "delete")):
        count, keys = planned.counts[kind], planned.keys.get(kind, [])
        if not count:
            continue
        shown = ", ".join(" ".join(map(str, key)) for key in keys)
        lines.append(f"- {verb} {count} {kind} records{f': {shown}' if keys else ''}{' …' * (count > len(keys))}")
    if not planned.counts.total():
        lines.append("- nothing: the target holds all of it already")
    if planned.staying:
        lines.append(f"- {planned.staying} records of the target are not in that state and stay")
    if planned.fields:
        lines.append(
            f"- columns that differ: {', '.join(f'{name} ({n})' for name, n in planned.fields.most_common(20))}"
        )
    return "\n".join([*lines, *(f"- {note}" for note in planned.notes)])


def _text(value: Any) -> str:
    """A parameter after templating as text; empty where it was left out."""
    text = str(value).strip() if value is not None else ""
    return "" if text == "None" else text


def _listed(name: str, value: Any) -> list[Any] | None:
    if value is None or _text(value) == "":
        return None
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"the parameter {name} has to be a list, or null")
    return list(value)


def _mapped(name: str, value: Any) -> dict[str, Any]:
    if value is None or _text(value) == "":
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"the parameter {name} has to be an object of field and value, or null")
    return dict(value)

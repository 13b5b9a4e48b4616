"""Tell people what a run came to, by any of Airflow's notifiers (mail, Slack, Teams …).

Which one, and what it is given, stands in the section [backup_sync]: the notifier's import path, or a JSON object with that path as
``notifier`` and the notifier's own arguments, in which ``{subject}`` and ``{message}`` stand for what is said.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backup_sync.model import notifier
from backup_sync.model.result import FAILED
from backup_sync.model.summary import failure_lines, good_lines
from backup_sync.settings import Settings, read_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

NAMED = 5
"""Services that a subject names."""

STALE_PAGE = "runbook.md#a-backup-is-stale"

MESSAGE = ("message", "text", "html_content", "body")
"""Arguments of notifiers that hold what is said, where nobody named one."""


def tell(
    context: Context, results: Sequence[Mapping[str, Any]], job: str, settings: Settings, more: Sequence[str] = ()
) -> None:
    """Use the notifiers that are due for these results (:meth:`SyncResult.to_dict`) of a run. Raises nothing: what a run came to is
    not changed by whether anybody could be told. ``more``: lines that follow."""
    real = [result for result in results if not result["DryRun"]]
    withheld = [result for result in real if result["WithheldCount"]]
    apart = withheld if settings.on_withheld else []
    failed = [result for result in real if result["Status"] == FAILED and result not in apart]
    for option, found, what in (
        ("on_failure", failed, "failed"),
        ("on_withheld", withheld, "withheld deletes"),
    ):
        spec = getattr(settings, option)
        if not spec or not found:
            continue
        subject = f"backup_sync: {job} of {', '.join(result['ServiceName'] for result in found)} {what}"
        lines = [line for result in found for line in _lines(dict(result), settings.docs)]
        _send(context, option, spec, subject, [*lines, *more, f"Run {found[0]['RunId']}"])


def tell_stale(context: Context, services: Sequence[str], lines: Sequence[str], settings: Settings) -> bool:
    """Use the notifier for backups that are stale; whether people were told. ``lines``: a sentence on each."""
    more = f" and {len(services) - NAMED} more" if len(services) > NAMED else ""
    subject = f"backup_sync: {', '.join(services[:NAMED])}{more} {'is' if len(services) == 1 else 'are'} stale"
    what_to_do = f"What to do: {settings.docs}/{STALE_PAGE}"
    return _send(context, "on_stale", settings.on_stale, subject, [*lines, what_to_do])


def late(context: Any) -> None:
    """Called by Airflow where a run has not ended by its deadline. ``context``: what Airflow passes to such a callback, as a dict."""
    run = context.get("dag_run") or {}
    told = run if isinstance(run, Mapping) else vars(run)
    dag_id, run_id = told.get("dag_id", "backup_sync"), told.get("dag_run_id") or told.get("run_id", "")
    settings = read_settings()
    lines = [f"{dag_id}: the run {run_id} has not ended within {settings.deadline}"]
    _send(context, "on_stale", settings.on_stale, f"backup_sync: a run of {dag_id} is late", lines)


def _send(context: Context, option: str, spec: str, subject: str, lines: Sequence[str]) -> bool:
    try:
        _call(context, spec, subject, "\n".join(lines))
        return True
    except Exception as error:
        # Its text may quote what the notifier was given, a password among it.
        log.error(
            "%s: the notifier %s failed with %s; nobody was told",
            option,
            notifier.path_of(spec),
            type(error).__name__,
        )
        return False


def _lines(result: dict[str, Any], docs: str) -> list[str]:
    return failure_lines(result, docs) if result["Status"] == FAILED else good_lines(result)


def _call(context: Context, spec: str, subject: str, message: str) -> None:
    path, arguments = notifier.parse(spec)
    module, _, name = path.rpartition(".")
    kind = getattr(import_module(module), name)
    if not arguments:
        known = inspect.signature(kind).parameters
        arguments = {next((one for one in MESSAGE if one in known), MESSAGE[0]): "{message}"}
    kind(**_filled(arguments, subject, message))(context)
    log.info("%s was called: %s", path, subject)


def _filled(value: Any, subject: str, message: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, subject, message) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, subject, message) for one in value]
    if isinstance(value, str):
        return value.replace("{subject}", _plain(subject)).replace("{message}", _plain(message))
    return value


def _plain(text: str) -> str:
    """A text in which no template is rendered: notifiers render what they are given, and names of tables may hold anything."""
    return re.sub(r"\{(?=[{%#])", "{ ", text)

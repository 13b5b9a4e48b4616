"""A look at what a sync would do. It can only look."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from backup_sync.model.summary import good_lines
from backup_sync.operators.base import ServiceOperator
from backup_sync.operators.sync import made

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class PlanOperator(ServiceOperator):
    """Say what the next sync of a service would create, alter, insert, update and delete; write nothing.

    Fails where that sync would fail, with the same sentence.

    :return: the result (:meth:`SyncResult.to_dict`) with ``"Created"``: what would be made first, in words.
    """

    verb = "plan"
    about = "Says what a sync would do. Writes nothing."

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.walk.initialize import initialize
        from backup_sync.walk.sync import Options, sync

        result = self.new_result(context)
        result.dry_run = True
        with self.reporting(context, result):
            self.check_asked_for(context)
            self.check_conf(context)
            with self.stores() as (service, source, backup):
                created = initialize(source, backup, dry_run=True, stop=self.stop)
                result.note(made(created, dry_run=True))
                sync(service, source, backup, result, Options(dry_run=True), stop=self.stop)
        for line in good_lines(result.to_dict()):
            log.info(line)
        return {**result.to_dict(), "Created": created}

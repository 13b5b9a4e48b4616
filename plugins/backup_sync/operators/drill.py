"""Practise a restore."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.summary import good_lines
from backup_sync.operators.assets import drilled, extra
from backup_sync.operators.base import ServiceOperator
from backup_sync.operators.lineage import Lineage, place
from backup_sync.operators.verify import recording, share

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class DrillOperator(ServiceOperator):
    """Restore a backup into the scratch database of its service, compare it, and drop it again.

    :param share: ``all``, or the part of the records to restore (``1/10``).
    :return: the result (:meth:`SyncResult.to_dict`), whose notice says how much, and how long it took.
    """

    verb = "drill"
    about = "Restores the backup into a scratch database, compares it, measures how long it took, and drops it."
    template_fields = ("only", "share")

    def __init__(self, *, share: str = "all", **kwargs: Any) -> None:
        kwargs.setdefault("outlets", [drilled(kwargs["service"])])
        super().__init__(**kwargs)
        self.share = share

    def execute(self, context: Context) -> dict[str, Any]:
        from backup_sync.hooks import open_store, open_target
        from backup_sync.walk.drill import drill

        result = self.new_result(context)
        with self.reporting(context, result):
            self.check_asked_for(context)
            self.check_conf(context)
            service = self.load()
            if service.drill is None:
                raise ConfigurationError(f"{service.name}: name the connection of a scratch database in 'drill'")
            # A name that nothing else has, so that nothing else is dropped.
            name = f"{service.table or service.container}_drill_{str(result.sync_id)[:13].replace('-', '')}"
            with (
                closing(open_store(service, service.backup, copy=True)) as backup,
                closing(open_target(service, service.drill, name)) as scratch,
                recording(backup, result),
            ):
                self.lineage = Lineage(result, place(backup), target=place(scratch))
                drill(backup, scratch, result, of=share(self.share), stop=self.stop)
                context["outlet_events"][drilled(self.service)].extra = extra(result)
        for line in good_lines(result.to_dict()):
            log.info(line)
        return result.to_dict()

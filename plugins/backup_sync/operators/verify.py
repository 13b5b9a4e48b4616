"""Compare a backup with its source in its whole content, or with its seal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from backup_sync.model.errors import BackupSyncError, ConfigurationError
from backup_sync.model.result import PAIRING_CHECKED, SyncResult
from backup_sync.model.summary import good_lines
from backup_sync.model.verdicts import parse_share
from backup_sync.operators.base import ServiceOperator, flag
from backup_sync.operators.lineage import Lineage, place

if TYPE_CHECKING:
    from airflow.sdk import Context

    from backup_sync.stores.base import Store

log = logging.getLogger(__name__)

SOURCE, SEAL = "source", "seal"


class VerifyOperator(ServiceOperator):
    """Say whether the backup of a service is what it should be; fail where it is not.

    :param share: ``all``, or the part of the records to compare (``1/7``: the part that comes after the last one).
    :param repair: mend what differs.
    :param against: ``source``, or ``seal``: whether anybody but a run changed the backup; the source is not asked.
    :return: the result (:meth:`SyncResult.to_dict`), whose ``Verified`` says what was found.
    """

    verb = "verify"
    about = (
        "Compares every column and property of each record with the source, byte for byte, and fails on "
        "drift: what no sync would see."
    )
    template_fields = ("only", "share", "repair", "against")

    def __init__(self, *, share: str = "all", repair: bool | str = False, against: str = SOURCE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.repair = repair
        self.against = against

    def execute(self, context: Context) -> dict[str, Any]:
        result = self.new_result(context)
        with self.reporting(context, result):
            self.check_asked_for(context)
            self.check_conf(context)
            if self.against not in (SOURCE, SEAL):
                raise ConfigurationError(f"the parameter against has to be {SOURCE} or {SEAL}")
            if self.against == SEAL and flag(self.repair):
                raise ConfigurationError("a backup can be repaired from its source alone: leave against as it is")
            if self.against == SEAL:
                self._check_seal(result)
            else:
                self._compare(context, result)
        for line in good_lines(result.to_dict()):
            log.info(line)
        return result.to_dict()

    def _compare(self, context: Context, result: SyncResult) -> None:
        from backup_sync.walk.repair import repair
        from backup_sync.walk.verify import verify

        of = share(self.share)
        with self.stores() as (_, source, backup), recording(backup, result):
            self.lineage = Lineage(result, place(source), compared=place(backup))
            (repair if flag(self.repair) else verify)(
                source, backup, result, of=of, stop=self.stop, heard=self.heard(context)
            )

    def _check_seal(self, result: SyncResult) -> None:
        from backup_sync.hooks import open_store
        from backup_sync.walk.verify import verify_seal

        service = self.load()
        with closing(open_store(service, service.backup, copy=True)) as backup, recording(backup, result):
            verify_seal(backup, result, stop=self.stop)


@contextmanager
def recording(backup: Store, result: SyncResult) -> Iterator[None]:
    """Write the run into the backup's history, whether it succeeds or fails; unless it is not its history, or held."""
    from backup_sync.walk.record import record_verify

    try:
        yield
    except BackupSyncError as error:
        if result.pairing == PAIRING_CHECKED:
            result.fail(str(error))
            record_verify(backup, result)
        raise
    record_verify(backup, result)


def share(text: Any) -> int:
    """How many of such shares make up all records. Raises ConfigurationError."""
    try:
        return parse_share(str(text).strip())
    except ValueError as error:
        raise ConfigurationError(f"the parameter share is none: {error}") from None

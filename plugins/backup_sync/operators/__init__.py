"""The custom operators: an Airflow context in, one call of a job, an XCom out."""

from backup_sync.model.traces import FAILURE
from backup_sync.operators.approve import ApproveDeletesOperator, DeleteApprovedOperator
from backup_sync.operators.base import ServiceOperator
from backup_sync.operators.drill import DrillOperator
from backup_sync.operators.hold import HoldOperator
from backup_sync.operators.plan import PlanOperator
from backup_sync.operators.restore import ApproveRestoreOperator, CarryOutRestoreOperator, PlanRestoreOperator
from backup_sync.operators.summary import RefuseOperator, SummaryOperator, refuse_mistakes
from backup_sync.operators.sync import InitializeBackupOperator, RecordHistoryOperator, SyncOperator
from backup_sync.operators.verify import VerifyOperator
from backup_sync.operators.watch import WatchOperator

__all__ = [
    "FAILURE",
    "ApproveDeletesOperator",
    "ApproveRestoreOperator",
    "CarryOutRestoreOperator",
    "DeleteApprovedOperator",
    "DrillOperator",
    "HoldOperator",
    "InitializeBackupOperator",
    "PlanOperator",
    "PlanRestoreOperator",
    "RecordHistoryOperator",
    "RefuseOperator",
    "ServiceOperator",
    "SummaryOperator",
    "SyncOperator",
    "VerifyOperator",
    "WatchOperator",
    "refuse_mistakes",
]

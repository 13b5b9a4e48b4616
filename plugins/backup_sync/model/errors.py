"""Everything that can go wrong, sorted by what should happen next.

    BackupSyncError
    ├── ConfigurationError   a setting, connection or grant is wrong      → fail now; a retry cannot help
    │   └── ConnectionMistake  the connection, its login or its grants are
    ├── FatalError           the data or the schema forbids going on      → fail now; a person must decide
    │   ├── PairingRefused   the backup is the copy of something else
    │   ├── DeletesWithheld  so many deletes that it looks like an accident
    │   ├── SetBackWithheld  so many older records that it looks like a source that was set back
    │   ├── UpdatesWithheld  so many updates that it looks like an accident, where a service wants to be asked
    │   ├── PlanChanged      what was approved is not what would be restored by now
    │   ├── DriftFound       the backup is not what its source is, though no sync would see it
    │   └── TooManyRejected  so many records cannot be copied that the copy is none
    ├── Held                 the backup is held, on purpose           → skip: neither good nor bad
    └── RetriableError       a store is away, busy or locked; disk full   → Airflow retries with back-off
        ├── LockHeld         another run is writing to this backup
        ├── Unaccounted      a store left out records that it was asked for
        └── Stopped          the task was told to end

A single record that cannot be copied is no exception at all: it is counted as *rejected* and the run goes on, as long as
these are few.

Messages are one sentence that names the thing and the fix. They never hold a secret or a row's values; driver
exceptions often do (``The duplicate key value is (…)``), so the stores translate them and drop the original.
"""

from __future__ import annotations


class BackupSyncError(Exception):
    """Base of every error that backup_sync raises on purpose. ``page``: of the docs, the one that says what to do."""

    page = "runbook.md#a-run-failed"


class ConfigurationError(BackupSyncError):
    """A declared service, an Airflow connection or a database grant is not as it has to be."""

    page = "configure.md"


class ConnectionMistake(ConfigurationError):
    """It is the Airflow connection, or what its login may do."""

    page = "connections.md"


class FatalError(BackupSyncError):
    """The stores were reached and understood, and what they hold forbids going on."""


class PairingRefused(FatalError):
    """The backup belongs to another source or service, or is none of ours: nothing may be written to it."""

    page = "runbook.md#the-backup-belongs-to-something-else"


class DeletesWithheld(FatalError):
    """The guard stopped the deletes of a run, and what else its message says."""

    page = "runbook.md#deletes-were-withheld"


class SetBackWithheld(FatalError):
    """The guard did not let older records of the source replace newer ones of the backup, nor delete any."""

    page = "runbook.md#the-source-was-set-back"


class UpdatesWithheld(FatalError):
    """The guard stopped a run that would have changed most of the backup; nothing was written."""


class DriftFound(FatalError):
    """Records of the backup differ from the source in a way that no sync mends, or the backup was changed by somebody."""

    page = "recover.md#the-backup-differs-from-its-source"


class PlanChanged(FatalError):
    """What was approved is not what would be restored by now; nothing was written."""

    page = "recover.md#plan-approve-restore"


class TooManyRejected(FatalError):
    """So many records cannot be copied that the run must not count as a success; nothing was deleted."""


class Held(BackupSyncError):
    """Somebody holds the backup: no run writes to it until that is over. Not an error, and not a success either."""


class RetriableError(BackupSyncError):
    """The same call may well succeed later."""


class LockHeld(RetriableError):
    """Another run holds the lock on the backup."""

    page = "runbook.md#the-lock-is-held"


class Stopped(RetriableError):
    """The task was told to end (marked, cleared, timed out); what had been written until then stays and is counted."""


class Unaccounted(RetriableError):
    """Records that a store was asked for were neither read nor rejected, and are not gone."""

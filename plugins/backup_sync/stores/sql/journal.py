"""What a SQL backup remembers: the run history, one row for each (service, run), and the states of its copies.

States are JSON values by table and name. Their table has one name whatever a service calls its history, because those who
share a copy, perhaps from two Airflows, have to find the same pairing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from backup_sync.model.errors import BackupSyncError, RetriableError
from backup_sync.model.keep import Point
from backup_sync.model.moments import parse, utc_now
from backup_sync.model.names import without_case
from backup_sync.model.result import SyncResult
from backup_sync.stores.base import Applied, Points
from backup_sync.stores.history import as_result, resume
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import SqlSession
from backup_sync.stores.sql.table import Table

# name, kind (each dialect knows the type), nullable. The first seven are a contract with those who query the table.
HISTORY_COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("SyncId", "uuid", False),
    ("SyncedAt", "moment", False),
    ("InsertedCount", "count", False),
    ("UpdatedCount", "count", False),
    ("DeletedCount", "count", False),
    ("Success", "flag", False),
    ("ErrorMessage", "text", True),
    ("SkippedCount", "count", False),
    ("WithheldCount", "count", False),
    ("RejectedCount", "count", False),
    ("AheadCount", "count", False),
    ("StartedAt", "moment", False),
    ("CompletedAt", "moment", True),
    ("Attempt", "count", False),
    ("RunId", "text", False),
    ("ServiceName", "text", False),
    ("Notice", "text", True),
    ("Mode", "text", True),
    ("StartedBy", "text", True),
    ("RunNumber", "count", True),
    ("DriftCount", "count", True),
    ("VerifiedShare", "real", True),
    ("VerifiedSince", "moment", True),
)


def to_row(run: SyncResult) -> list[Any]:
    """The values of HISTORY_COLUMNS; moments as ISO text in UTC. A run that has not ended is no success."""
    return [
        str(run.sync_id),
        _moment(run.completed_at or utc_now()),
        run.inserted,
        run.updated,
        run.deleted,
        int(run.success),
        run.error_message,
        run.skipped,
        run.withheld,
        run.rejected,
        run.ahead,
        _moment(run.started_at),
        _moment(run.completed_at),
        run.attempt,
        run.run_id,
        run.service_name,
        run.notice,
        run.mode,
        run.started_by,
        run.run_number or None,
        run.drift,
        run.verified_share,
        _moment(run.verified_since),
    ]


def from_row(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of HISTORY_COLUMNS in the names of :meth:`SyncResult.to_dict`."""
    found = dict(zip((name for name, _, _ in HISTORY_COLUMNS), row, strict=True))
    found["SyncId"] = str(UUID(str(found["SyncId"])))
    return as_result(found)


def _moment(value: datetime | None) -> str | None:
    """ISO text that SQL Server's DATETIME2 and SQLite read alike: no zone letter, UTC by contract."""
    return None if value is None else value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")


class SqlJournal:
    """See :class:`backup_sync.stores.base.Journal`.

    :param copy: how the states call the copy; by default its schema and table.
    """

    def __init__(self, session: SqlSession, dialect: Dialect, table: Table, *, copy: str | None = None) -> None:
        self.session, self.dialect, self.service = session, dialect, table.service
        self.history_name, self.state_name, self.copy = table.history, table.states, copy or table.full_name
        self.run: SyncResult | None = None

    # the history

    def create_history_sql(self) -> str:
        columns = [
            f"{self.dialect.quote(name)} {self.dialect.kinds[kind]} {'NULL' if null else 'NOT NULL'}"
            for name, kind, null in HISTORY_COLUMNS
        ]
        columns[0] += " PRIMARY KEY"
        return f"CREATE TABLE {self.history_name} ({', '.join(columns)})"

    def missing_history_columns(self, there: Iterable[str]) -> list[tuple[str, str]]:
        """(name, kind) of the columns that a history made by an earlier version lacks; they can all be NULL."""
        known = {without_case(name) for name in there}  # a table of our own
        return [(name, kind) for name, kind, null in HISTORY_COLUMNS if null and without_case(name) not in known]

    def has_success(self) -> bool:
        """Whether a run of this service has succeeded here."""
        sql = f"SELECT SyncId FROM {self.history_name} WHERE ServiceName = {self.dialect.slot('text')} AND Success = 1"
        return (
            next(self.dialect.rows_if_there(self.session, self.history_name, sql, [self.service.name]), None)
            is not None
        )

    def begin(self, run: SyncResult) -> bool:
        with self.session.transaction():
            earlier = self._earlier(run)
            resumed = resume(run, earlier)
            self._save(run, new=earlier is None)
        self.run = run
        return resumed

    def resume(self, run: SyncResult) -> bool:
        return resume(run, self._earlier(run))

    def _earlier(self, run: SyncResult) -> dict[str, Any] | None:
        found = self._history("", f"WHERE SyncId = {self.dialect.slot('uuid')}", [str(run.sync_id)])
        return found[0] if found else None

    def save(self, run: SyncResult) -> None:
        with self.session.transaction():
            self._save(run)

    def _save(self, run: SyncResult, *, new: bool = False) -> None:
        """``new``: there is no record of this run yet, as the holder of the lock knows."""
        row = to_row(run)
        names = [self.dialect.quote(name) for name, _, _ in HISTORY_COLUMNS]
        slots = [self.dialect.slot(kind) for _, kind, _ in HISTORY_COLUMNS]
        settings = ", ".join(f"{name} = {slot}" for name, slot in zip(names[1:], slots[1:], strict=True))
        where = f"WHERE SyncId = {slots[0]}"
        if new or not self.session.run(f"UPDATE {self.history_name} SET {settings} {where}", [*row[1:], row[0]]):
            self.session.run(f"INSERT INTO {self.history_name} ({', '.join(names)}) VALUES ({', '.join(slots)})", row)

    def count(self, applied: Applied) -> None:
        """Add what was just written to the run's counts; belongs into the transaction that wrote it.

        Raises RetriableError, so that the transaction is rolled back, where the record says that this attempt is over: an
        old attempt that is still alive while its retry goes on, or after its end was recorded, writes nothing.
        """
        assert self.run is not None
        count = self.dialect.slot("count")
        found = self.session.run(
            f"UPDATE {self.history_name} SET InsertedCount = InsertedCount + {count}, UpdatedCount = UpdatedCount + {count}, "
            f"DeletedCount = DeletedCount + {count} WHERE SyncId = {self.dialect.slot('uuid')} AND Attempt = {count} "
            "AND CompletedAt IS NULL",
            [applied.inserted, applied.updated, applied.deleted, str(self.run.sync_id), self.run.attempt],
        )
        if not found:
            raise RetriableError(
                f"{self.session.label}: this attempt of run {self.run.run_id} is over for the backup's history (it was recorded as ended, "
                "or another attempt has begun), so it writes nothing more"
            )

    def fence(self, applied: Applied) -> None:
        """As :meth:`count`, and adds nothing: the attempt has to be the one that may write."""
        self.count(Applied())

    def points(self) -> Points:
        wrote = "InsertedCount + UpdatedCount + DeletedCount > 0"
        sql = (
            f"SELECT RunNumber, StartedAt, CompletedAt FROM {self.history_name} "
            f"WHERE ServiceName = {self.dialect.slot('text')} "
            f"AND (RunNumber IS NOT NULL AND Success = 1 OR RunNumber IS NULL AND {wrote})"
        )
        found = list(self.session.query(sql, [self.service.name]))
        return Points(
            [Point(int(number), parse(ended)) for number, _, ended in found if number],
            max((parse(began) for number, began, _ in found if not number), default=None),
        )

    def newest(self, limit: int = 20) -> list[dict[str, Any]]:
        top, end = self.dialect.newest_first(limit)
        return self._history(
            top, f"WHERE ServiceName = {self.dialect.slot('text')} ORDER BY StartedAt DESC {end}", [self.service.name]
        )

    def holder(self) -> str:
        """Who is writing, as far as the history knows: the newest run that has not ended."""
        top, end = self.dialect.newest_first(1)
        where = f"WHERE ServiceName = {self.dialect.slot('text')} AND CompletedAt IS NULL ORDER BY StartedAt DESC {end}"
        found = self._history(top, where, [self.service.name])
        return f"run {found[0]['RunId']} since {found[0]['StartedAt']}" if found else "another run"

    def _history(self, top: str, rest: str, params: list[Any]) -> list[dict[str, Any]]:
        columns = ", ".join(self.dialect.quote(name) for name, _, _ in HISTORY_COLUMNS)
        return [
            from_row(row)
            for row in self.session.query(f"SELECT {top} {columns} FROM {self.history_name} {rest}", params)
        ]

    # states

    def create_state_sql(self, table_type: str, name_type: str, value_type: str) -> str:
        """``table_type``: a text that can be a key and is compared as the engine compares the names of tables."""
        return (
            f"CREATE TABLE {self.state_name} (TableName {table_type} NOT NULL, Name {name_type} NOT NULL, "
            f"Value {value_type} NOT NULL, PRIMARY KEY (TableName, Name))"
        )

    def states(self) -> dict[str, Any]:
        sql = f"SELECT Name, Value FROM {self.state_name} WHERE TableName = {self.dialect.slot('text')}"
        return {
            name: json.loads(value)
            for name, value in self.dialect.rows_if_there(self.session, self.state_name, sql, [self.copy])
        }

    def keep_state(self, name: str, value: Mapping[str, Any] | None, *, new: bool = False) -> bool:
        text = self.dialect.slot("text")
        which, key = f"WHERE TableName = {text} AND Name = {text}", [self.copy, name]
        if value is None:
            return bool(self.session.run(f"DELETE FROM {self.state_name} {which}", key))
        written = json.dumps(value)
        if not new and self.session.run(f"UPDATE {self.state_name} SET Value = {text} {which}", [written, *key]):
            return True
        try:
            self.session.run(
                f"INSERT INTO {self.state_name} (TableName, Name, Value) VALUES ({text}, {text}, {text})",
                [*key, written],
            )
            return True
        except BackupSyncError:
            if name not in self.states():
                raise
            return False

"""What a SQL backup remembers of its copies beside their history: JSON values by table and name.

The table has one name whatever a service calls its history, because those who share a copy, perhaps from two Airflows,
have to find the same pairing.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backup_sync.model.errors import BackupSyncError
from backup_sync.stores.sql.session import SqlSession


class SqlState:
    """The state half of a SQL store; the other half provides the few words in which the dialects differ."""

    session: SqlSession
    state_name: str

    @property
    @abstractmethod
    def state_key(self) -> str:
        """The copy's table, as the engine knows it."""

    @abstractmethod
    def slot(self, kind: str) -> str: ...

    @abstractmethod
    def rows_if_there(self, table: str, sql: str, params: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT; none where ``table`` (a quoted name) is not there."""

    def create_state_sql(self, table_type: str, name_type: str, value_type: str) -> str:
        """``table_type``: a text that can be a key and is compared as the engine compares the names of tables."""
        return (
            f"CREATE TABLE {self.state_name} (TableName {table_type} NOT NULL, Name {name_type} NOT NULL, "
            f"Value {value_type} NOT NULL, PRIMARY KEY (TableName, Name))"
        )

    def states(self) -> dict[str, Any]:
        sql = f"SELECT Name, Value FROM {self.state_name} WHERE TableName = {self.slot('text')}"
        return {name: json.loads(value) for name, value in self.rows_if_there(self.state_name, sql, [self.state_key])}

    def keep_state(self, name: str, value: Mapping[str, Any] | None, *, new: bool = False) -> bool:
        text = self.slot("text")
        which, key = f"WHERE TableName = {text} AND Name = {text}", [self.state_key, name]
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

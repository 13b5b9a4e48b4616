"""The restore log of a copy in a SQLite file."""

from __future__ import annotations

from backup_sync.stores.sql.log import SqlLog
from backup_sync.stores.sql.shape import Column
from backup_sync.stores.sqlite.beside import SqliteBeside
from backup_sync.stores.sqlite.dialect import quote


class SqliteLog(SqliteBeside, SqlLog):
    """See :class:`backup_sync.stores.base.RestoreLog`."""

    def selected(self, column: Column) -> str:
        return quote(column.name)

    def images_name(self, number: int) -> str:
        return f"({self.images_sql(str(int(number)))})"

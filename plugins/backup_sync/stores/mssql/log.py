"""The restore log of a copy on SQL Server."""

from __future__ import annotations

from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.beside import MssqlBeside
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.sql.log import SqlLog
from backup_sync.stores.sql.shape import Column

BEFORE = "_BeforeRestore"


class MssqlLog(MssqlBeside, SqlLog):
    """See :class:`backup_sync.stores.base.RestoreLog`. ``<Table>_BeforeRestore(number)`` gives the rows that a restore replaced."""

    def create(self, *, dry_run: bool = False) -> list[str]:
        made = super().create(dry_run=dry_run)
        if made and not dry_run:
            name = self.named(BEFORE)
            images = self.images_sql("@number")
            self.renew("FUNCTION", name, f"CREATE FUNCTION {name} (@number BIGINT) RETURNS TABLE AS RETURN ({images})")
        return made

    def selected(self, column: Column) -> str:
        return types.outgoing(quote(column.name), column.type)

    def images_name(self, number: int) -> str:
        return f"{self.named(BEFORE)}({int(number)})"

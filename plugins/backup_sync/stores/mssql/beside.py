"""A table beside a copy on SQL Server that has its columns, and three of our own."""

from __future__ import annotations

from backup_sync.stores.mssql.catalog import MssqlCatalog
from backup_sync.stores.mssql.dialect import escaped, quote
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.beside import OP, SEQ, SYNC_ID, SqlBeside
from backup_sync.stores.sql.shape import TableShape


class MssqlBeside(SqlBeside):
    """See :class:`SqlBeside`."""

    session: MssqlSession
    copy: MssqlCatalog

    def create_sql(self, own: TableShape) -> str:
        lines = [
            f"{quote(SEQ)} BIGINT NOT NULL",
            f"{quote(OP)} CHAR(1) NOT NULL",
            f"{quote(SYNC_ID)} UNIQUEIDENTIFIER NOT NULL",
        ]
        key = {own.column(name).name for name in own.key}
        for column in own.columns:
            collate = f" COLLATE {column.collation}" if column.collation else ""
            null = "NOT NULL" if column.name in key else "NULL"
            lines.append(f"{quote(column.name)} {column.type}{collate} {null}")
        # NONCLUSTERED: such a key may be as long as the copy's and a number more.
        names = ", ".join([quote(SEQ), *map(quote, own.key)])
        return f"CREATE TABLE {self.name} ({', '.join(lines)}, PRIMARY KEY NONCLUSTERED ({names}))"

    def make(self, statement: str) -> None:
        self.copy.make(statement, f"OBJECT_ID(N'{escaped(self.name)}')")

    def named(self, ending: str) -> str:
        """Something else that is called after the copy's table."""
        return self.table.quoted(self.table.schema, self.table.table + ending)

    def renew(self, kind: str, name: str, statement: str) -> None:
        """Make a function or a view, in place of the one that may be there."""
        with self.session.transaction():
            self.session.run(f"IF OBJECT_ID(N'{escaped(name)}') IS NOT NULL DROP {kind} {name}")
            self.session.run(statement)  # alone in its batch

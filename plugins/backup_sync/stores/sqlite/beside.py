"""A table beside a copy in a SQLite file that has its columns, and three of our own."""

from __future__ import annotations

from backup_sync.stores.sql.beside import OP, SEQ, SYNC_ID, SqlBeside
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sqlite.dialect import quote, written
from backup_sync.stores.sqlite.session import SqliteSession


class SqliteBeside(SqlBeside):
    """See :class:`SqlBeside`."""

    session: SqliteSession

    @property
    def shown(self) -> str:
        return self.beside.table.table  # SQLite knows no schemas

    def create_sql(self, own: TableShape) -> str:
        lines = [f"{quote(SEQ)} INTEGER NOT NULL", f"{quote(OP)} TEXT NOT NULL", f"{quote(SYNC_ID)} TEXT NOT NULL"]
        lines += [f"{quote(column.name)} {written(column.type)}" for column in own.columns]
        names = ", ".join([quote(SEQ), *map(quote, own.key)])
        return f"CREATE TABLE {self.name} ({', '.join(lines)}, PRIMARY KEY ({names}))"

    def make(self, statement: str) -> None:
        self.session.run(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))

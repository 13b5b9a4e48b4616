"""What SQL Server's catalog says of a table, and the making and altering of a backup's one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, RetriableError
from backup_sync.model.names import as_written, without_case
from backup_sync.model.service import STATE
from backup_sync.model.where import Value
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.ddl import alter_sql, create_table_sql
from backup_sync.stores.mssql.dialect import DIALECT, MSSQL_TYPES, escaped, quote
from backup_sync.stores.mssql.literals import comparable, literal
from backup_sync.stores.mssql.masking import HIDING
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.catalog import SqlCatalog
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.shape import Column, Difference, TableShape
from backup_sync.stores.sql.table import Table

CATALOG_COLUMNS = (
    "COLUMN_NAME",
    "DATA_TYPE",
    "IS_NULLABLE",
    "CHARACTER_MAXIMUM_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "COLLATION_NAME",
)
CATALOG = (
    f"SELECT {', '.join(CATALOG_COLUMNS)} FROM INFORMATION_SCHEMA.COLUMNS "
    "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION; "
    "SELECT u.COLUMN_NAME FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS p "
    "JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE u ON u.CONSTRAINT_NAME = p.CONSTRAINT_NAME "
    "AND u.TABLE_SCHEMA = p.TABLE_SCHEMA AND u.TABLE_NAME = p.TABLE_NAME "
    "WHERE p.CONSTRAINT_TYPE = 'PRIMARY KEY' AND p.TABLE_SCHEMA = %s AND p.TABLE_NAME = %s ORDER BY u.ORDINAL_POSITION"
)
"""A table's columns, and its primary key: one batch, since it is read at the start of every run by both sides."""

NAMES = "SELECT COUNT(*) FROM sys.schemas WHERE name = N'DBO' AND N'i' = N'I'"
"""Whether the database takes names for one that differ in the case of A to Z: asked of a name that every database has, and of
the one letter that Turkish tells apart (https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support)."""

HIDDEN = (
    "IF OBJECT_ID(N'sys.masked_columns') IS NULL SELECT N'' WHERE 1 = 0 ELSE "
    "SELECT c.name FROM sys.masked_columns c WHERE c.object_id = OBJECT_ID(%s) AND c.is_masked = 1 "
    "AND COALESCE(HAS_PERMS_BY_NAME(QUOTENAME(DB_NAME()), 'DATABASE', 'UNMASK'), 0) = 0 "
    "AND COALESCE(HAS_PERMS_BY_NAME(%s, 'OBJECT', 'UNMASK', QUOTENAME(c.name), 'COLUMN'), 0) = 0; "
    "IF OBJECT_ID(N'sys.security_policies') IS NULL SELECT N'' WHERE 1 = 0 ELSE "
    "SELECT p.name FROM sys.security_policies p JOIN sys.security_predicates f ON f.object_id = p.object_id "
    "WHERE f.target_object_id = OBJECT_ID(%s) AND p.is_enabled = 1 AND f.predicate_type_desc = 'FILTER'"
)
"""The columns that this login sees masked, and the security policies that may keep rows from it. What is behind ELSE is bound
only when it runs. Since SQL Server 2022 UNMASK can be granted on a column, too; before, HAS_PERMS_BY_NAME says NULL to that.
https://learn.microsoft.com/sql/relational-databases/security/dynamic-data-masking
https://learn.microsoft.com/sql/relational-databases/security/row-level-security"""

IDENTITY_COLUMNS = ("server", "database", "group", "broker", "created")
IDENTITY = (
    "SELECT CONVERT(NVARCHAR(128), SERVERPROPERTY('ServerName')), DB_NAME(), d.availability, d.broker, d.created "
    "FROM (SELECT NULL AS group_database_id, NULL AS service_broker_guid, NULL AS create_date) missing "
    "OUTER APPLY (SELECT CONVERT(NVARCHAR(40), group_database_id) AS availability, "
    "CONVERT(NVARCHAR(40), service_broker_guid) AS broker, CONVERT(NVARCHAR(40), create_date, 126) AS created "
    "FROM sys.databases WHERE name = DB_NAME()) d"
)
"""Who the database is by the server's own word, sent in one batch with CATALOG. A login may always see the row of the
database that it is in (found by name: Azure SQL Database may number it otherwise there). A column that a server's
sys.databases lacks is found in ``missing``, and so NULL.
https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-databases-transact-sql"""

IDENTITY_AT_LEAST = "SELECT CONVERT(NVARCHAR(128), SERVERPROPERTY('ServerName')), DB_NAME(), NULL, NULL, NULL"
NO_BROKER = "00000000-0000-0000-0000-000000000000"

MADE_MEANWHILE = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Pauses, in seconds, before a database that another run is making is tried again."""

OBSTACLES = (
    "SELECT name FROM sys.triggers WHERE parent_id = OBJECT_ID(%s) AND is_disabled = 0; "
    "SELECT name FROM sys.foreign_keys WHERE OBJECT_ID(%s) IN (parent_object_id, referenced_object_id) AND is_disabled = 0"
)


class MssqlCatalog(SqlCatalog):
    """See :class:`backup_sync.stores.base.Catalog`. ``database``: the one of the connection, which may not be there yet."""

    dialect = DIALECT
    hiding = HIDING
    session: MssqlSession

    def __init__(self, session: MssqlSession, table: Table, journal: SqlJournal, database: str, *, copy: bool) -> None:
        super().__init__(session, table, journal, copy=copy)
        self.database = database
        self._identity: dict[str, str | None] | None = None

    def literal(self, column: Column, value: Value) -> str:
        return literal(column, value)

    def compared(self, column: Column) -> str:
        return comparable(super().compared(column), column.type)

    def tables(self) -> list[tuple[str, str]]:
        sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE' ORDER BY 1, 2"
        return [(str(schema), str(table)) for schema, table in self.session.query(sql)]

    def read_shape(self) -> TableShape | None:
        found, key, masked, policies, folds = self._read_catalog()
        fold = without_case if folds[0][0] else as_written
        excluded = self.excluded(fold)
        self._refuse_hidden([row[0] for row in masked if fold(row[0]) not in excluded], [row[0] for row in policies])
        self.left_out = [row[0] for row in found if fold(row[0]) in excluded]
        columns = []
        for values in found:
            row = dict(zip(CATALOG_COLUMNS, values, strict=True))
            if row["COLUMN_NAME"] in self.left_out:
                continue
            self._refuse_unknown(row)
            columns.append(
                Column(
                    name=row["COLUMN_NAME"],
                    type=types.declared(row),
                    nullable=row["IS_NULLABLE"] == "YES",
                    collation=row["COLLATION_NAME"],
                )
            )
        return TableShape(tuple(columns), tuple(row[0] for row in key), fold) if columns else None

    def _read_catalog(self) -> list[list[tuple[Any, ...]]]:
        """The rows of CATALOG's two statements, of HIDDEN's two, and of NAMES; who the database is comes with them and is
        kept. One batch."""
        sql, params = (
            f"{CATALOG}; {HIDDEN}; {NAMES}",
            ((self.table.schema, self.table.table) * 2 + (self.table.name,) * 3),
        )
        try:
            *found, known = self.session.results(f"{sql}; {IDENTITY}", params)
        except ConfigurationError:
            # A server that keeps sys.databases from its logins: the table is what matters.
            *found, known = self.session.results(f"{sql}; {IDENTITY_AT_LEAST}", params)
        self._identity = dict(zip(IDENTITY_COLUMNS, known[0], strict=True))
        if self._identity["broker"] == NO_BROKER:
            self._identity["broker"] = None
        return found

    def _refuse_hidden(self, masked: Sequence[str], policies: Sequence[str]) -> None:
        """Raise ConnectionMistake where this login reads something else than what is there."""
        if masked:
            raise ConnectionMistake(
                f"{self.label}: column {', '.join(masked)} of {self.service.table} is masked for this login, so its values would "
                "not be the true ones; GRANT UNMASK to the login, or back up a table without it"
            )
        if policies:
            raise ConnectionMistake(
                f"{self.label}: {self.service.table} is under the security policy {', '.join(sorted(policies))}, which keeps rows "
                "from logins, and what is not seen counts as deleted; take the table's FILTER predicate out of the policy, or "
                "back up a table without one"
            )

    # which database this is

    def identity(self) -> dict[str, str | None]:
        """Who the database is by the server's own word; empty where it does not exist.

        ``server`` (the instance), ``database`` (its name), ``group`` (its id within an availability group), ``broker``
        (its Service Broker id), ``created`` (its creation on this instance, in the instance's own time): each None
        where the server does not say. Asked for once; raises what opening the connection and reading raise.
        """
        if self._identity is None:
            if not self._database_exists():
                return {}
            self._read_catalog()
        return dict(self._identity or {})

    @staticmethod
    def same(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
        """Whether two identities are of one database, however its server is addressed and whichever replica serves it.

        The broker id travels with a database: a restored copy has it, and so has each replica of an availability
        group. The moment of creation belongs to the instance that holds it. So a failover within a group leads to the
        same database (the group's id for it says so), and a copy that was restored on another server is another one.
        Two copies on one server differ by name.
        """

        def known(name: str) -> bool:
            return bool(one.get(name) and other.get(name))

        def equal(name: str) -> bool:
            return known(name) and str(one[name]).casefold() == str(other[name]).casefold()

        if not equal("database"):
            return False
        if equal("group"):
            return True
        travels = equal("broker") if known("broker") else equal("created") if known("created") else True
        return travels and (equal("server") or equal("created"))

    def is_at(self, other: MssqlCatalog) -> bool:
        """Whether both stores lead to one database."""
        return self.same(self.identity(), other.identity())

    def _refuse_unknown(self, row: dict[str, Any]) -> None:
        name = str(row["DATA_TYPE"]).lower()
        if name not in types.KNOWN:
            reason = types.REFUSED.get(name, "this type is not known here")
            raise ConfigurationError(
                f"{self.label}: column {row['COLUMN_NAME']} of {self.service.table} is of type {name}: {reason}. "
                "Back up a view or table without it"
            )

    def empty(self) -> bool:
        return self.session.scalar(f"SELECT TOP (1) 1 FROM {self.table.name}") is None

    def unique(self, key: tuple[str, ...]) -> bool:
        sql = (
            "SELECT i.index_id, c.name FROM sys.indexes i "
            "JOIN sys.index_columns ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id "
            "JOIN sys.columns c ON c.object_id = ic.object_id AND c.column_id = ic.column_id "
            "WHERE i.object_id = OBJECT_ID(%s) AND i.is_unique = 1 AND i.has_filter = 0 AND ic.is_included_column = 0"
        )
        own = self.own_shape()
        fold = own.fold if own else as_written
        indexes: dict[int, set[str]] = {}
        for index, column in self.session.query(sql, (self.table.name,)):
            indexes.setdefault(index, set()).add(fold(column))
        wanted = {fold(name) for name in key}
        if any(columns <= wanted for columns in indexes.values()):
            return True
        columns = ", ".join(quote(name) for name in key)
        return (
            self.session.scalar(f"SELECT TOP (1) 1 FROM {self.table.name} GROUP BY {columns} HAVING COUNT(*) > 1")
            is None
        )

    def computed(self) -> set[str]:
        return self._columns("is_computed = 1 OR TYPE_NAME(system_type_id) = N'timestamp'")

    def numbered(self) -> set[str]:
        """Identity columns."""
        return self._columns("is_identity = 1")

    def _columns(self, condition: str) -> set[str]:
        sql = f"SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(%s) AND ({condition})"
        return {row[0] for row in self.session.query(sql, (self.table.name,))}

    def create(self, shape: TableShape, *, dry_run: bool = False) -> list[str]:
        if not self.copy and self.exists():
            return []
        tables = [
            self.table.full_name,
            f"{self.table.schema}.{self.table.history_table}",
            f"{self.table.schema}.{STATE}",
        ]
        made = []
        if not self._database_exists():
            made.append(f"database {self.database}")
            if dry_run:
                return [
                    *made,
                    f"schema {self.table.schema}",
                    *(f"table {name}" for name in tables[: None if self.copy else 1]),
                ]
            self._create_database()
            self._identity = None
        if self.session.scalar("SELECT SCHEMA_ID(%s)", (self.table.schema,)) is None:
            made.append(f"schema {self.table.schema}")
            if not dry_run:
                # CREATE SCHEMA has to be alone in its batch.
                self.make(f"CREATE SCHEMA {quote(self.table.schema)}", f"SCHEMA_ID(N'{escaped(self.table.schema)}')")
        wanted = []
        if (own := self.own_shape()) is not None:
            made += self.evolve(shape, own, dry_run=dry_run)
        else:
            wanted.append((self.table.name, create_table_sql(self.table.name, shape, copy=self.copy)))
        if self.copy:
            wanted += self._own_tables()
        words = dict(zip((self.table.name, self.journal.history_name, self.journal.state_name), tables, strict=True))
        for name, statement in wanted:
            if self.session.scalar("SELECT OBJECT_ID(%s)", (name,)) is None:
                made.append(f"table {words[name]}")
                if not dry_run:
                    self.make(statement, f"OBJECT_ID(N'{escaped(name)}')")
            elif name == self.journal.history_name:
                made += self._upgrade_history(dry_run=dry_run)
        if own is None and not dry_run:
            self._own = None
        return made

    def _own_tables(self) -> list[tuple[str, str]]:
        """(name, statement) of the history and of the states."""
        states = self.journal.create_state_sql("NVARCHAR(300)", "NVARCHAR(100)", "NVARCHAR(MAX)")
        return [
            (self.journal.history_name, self.journal.create_history_sql()),
            (self.journal.state_name, states),
        ]

    def _upgrade_history(self, *, dry_run: bool) -> list[str]:
        """Add the columns that a history made by an earlier version lacks; returns which, in words."""
        there = self.session.query(
            "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID(%s)", (self.journal.history_name,)
        )
        made = []
        for name, kind in self.journal.missing_history_columns([row[0] for row in there]):
            made.append(f"column {name} of {self.table.schema}.{self.table.history_table}")
            if not dry_run:
                self.make(
                    f"ALTER TABLE {self.journal.history_name} ADD {quote(name)} {MSSQL_TYPES[kind]} NULL",
                    f"COL_LENGTH(N'{escaped(self.journal.history_name)}', N'{escaped(name)}')",
                )
        return made

    def _database_exists(self) -> bool:
        for pause in (*MADE_MEANWHILE, None):
            try:
                _ = self.session.connection
                return True
            except (ConfigurationError, RetriableError) as error:
                refused = error
            # 4060 or 911 says "no such database" and also "not for you", and the driver names the 18456 that follows
            # them: a wrong password. master knows which.
            try:
                admin = self.session.open("master")
            except BackupSyncError:
                raise refused from None
            with closing(admin):
                ((found,),) = admin.results("SELECT DB_ID(%s)", (self.database,))[0]
            if found is None:
                return False
            # master lets the same login in, and has the database now: another run may just have made it.
            if pause is not None:
                time.sleep(pause)
        raise refused

    def make(self, statement: str, found: str) -> None:
        """Create something. Chains run side by side, so another one may have made it first: then all is well."""
        try:
            self.session.run(statement)
        except BackupSyncError:
            if self.session.scalar(f"SELECT {found}") is None:
                raise

    def _create_database(self) -> None:
        with closing(self.session.open("master")) as admin:
            for pause in (*MADE_MEANWHILE, None):
                try:
                    admin.run(f"CREATE DATABASE {quote(self.database)}")
                    return
                except BackupSyncError as error:
                    if self._database_exists():
                        return
                    # Databases are made one after the other: each is a copy of the server's model.
                    if pause is None or not isinstance(error, RetriableError):
                        raise
                    time.sleep(pause)

    def describe(self) -> TableShape:
        shape = super().describe()
        for name, rule in self.service.changed.items():
            if rule == "higher" and types.base(shape.column(name).type) == "datetimeoffset":
                raise ConfigurationError(
                    f"{self.label}: column {name} of {self.service.table} is DATETIMEOFFSET, whose text has no order across "
                    f"offsets; use the rule newer in place of higher"
                )
        return shape

    def exists(self) -> bool:
        return self._database_exists() and super().exists()

    # following the source's columns

    def obstacles(self) -> list[str]:
        triggers, keys = (
            [row[0] for row in rows] for rows in self.session.results(OBSTACLES, (self.table.name, self.table.name))
        )
        return [
            f"{what} {', '.join(sorted(names))}"
            for what, names in (("triggers", triggers), ("foreign keys", keys))
            if names
        ]

    def alter(self, own: TableShape, found: Difference) -> None:
        default = None
        if any(column.collation for column in (*found.widened, *found.loosened)):
            default = self.session.scalar("SELECT CONVERT(NVARCHAR(128), DATABASEPROPERTYEX(DB_NAME(), 'Collation'))")
        for statement in alter_sql(self.table.name, found, default):
            self.session.run(statement)

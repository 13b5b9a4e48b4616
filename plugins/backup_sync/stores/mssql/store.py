"""SQL Server. Needs SQL Server 2017 (STRING_AGG) or newer, and a database at compatibility level 130 (OPENJSON) or higher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from backup_sync.model.limits import Limits
from backup_sync.model.mask import print_of
from backup_sync.model.names import as_written
from backup_sync.model.service import LOG, UNDO, Service
from backup_sync.stores.base import Filtered, Keep, Record, Store
from backup_sync.stores.mssql.catalog import MssqlCatalog
from backup_sync.stores.mssql.content import content_of
from backup_sync.stores.mssql.dialect import DIALECT, quote
from backup_sync.stores.mssql.lock import MssqlLock
from backup_sync.stores.mssql.log import MssqlLog
from backup_sync.stores.mssql.masking import INTRODUCTION
from backup_sync.stores.mssql.reader import MssqlReader
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.mssql.undo import MssqlEntries, MssqlUndo
from backup_sync.stores.mssql.writer import MssqlWriter
from backup_sync.stores.sql.catalog import holding
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sql.table import Table


def mssql_store(
    service: Service,
    connect: Callable[[str | None], Any],
    label: str,
    database: str,
    address: str = "",
    *,
    copy: bool,
    mask_key: str | None = None,
    joined: bool = True,
    limits: Limits | None = None,
) -> Store:
    """A table in SQL Server.

    ``connect``, ``address``: see :class:`MssqlSession`. ``label``: how messages call this end, the connection id.
    ``copy``: it is the backup, where this package keeps more than the source's columns. ``joined``: read rows with their
    columns joined (``rows.py``). ``mask_key``: of the hashes of masked columns, for a source that has some.
    """
    limits = limits or Limits()
    introduction = (INTRODUCTION, (mask_key,)) if mask_key else None
    session = MssqlSession(label, connect, address, limits, introduction)
    table = Table.of(service, label, lambda schema, name: f"{quote(schema)}.{quote(name)}")
    journal = SqlJournal(session, DIALECT, table)
    catalog = MssqlCatalog(session, table, journal, database, copy=copy)

    def open_reader(
        table: Table,
        shape: TableShape,
        *,
        content: bool = False,
        stamps: bool = True,
        filtered: Filtered = "all",
        **options: Sequence[str],
    ) -> MssqlReader:
        # A copy may hold NULL in what is not filled in yet, whatever the source's column is.
        columns = [replace(one, nullable=one.nullable or copy) for one in shape.columns]
        whole = content_of(columns) if content else ""
        view = catalog.view(table, shape, filtered, keyed=mask_key is not None, content=whole, stamps=stamps, **options)
        return MssqlReader(session, view, limits, joined=joined)

    def writer(shape: TableShape, keep: Keep | None = None, *, told: bool = True) -> MssqlWriter:
        own = catalog.own_shape()
        fold = own.fold if own else as_written
        entries = MssqlEntries(undo, keep, shape) if keep else None
        count = (journal.count if told else journal.fence) if copy else None
        numbered = set[str]() if copy else catalog.numbered()
        return MssqlWriter(session, table, shape, limits, count, fold, entries, numbered)

    def beside(ending: str) -> MssqlCatalog:
        return MssqlCatalog(session, table.beside(ending), journal, database, copy=False)

    def write_log(shape: TableShape, rows: Sequence[Record]) -> None:
        MssqlWriter(session, table.beside(LOG), shape, limits, None, shape.fold).write_inserts(rows)

    undo = MssqlUndo(session, catalog, beside(UNDO), open_reader, limits)

    return Store(
        kind="mssql",
        service=service,
        label=label,
        limits=limits,
        catalog=catalog,
        journal=journal,
        lock=MssqlLock(session, table, journal.holder),
        reader=partial(open_reader, table),
        writer=writer,
        close=session.close,
        unfilled=catalog.unfilled if copy else None,
        holding=partial(holding, (catalog, beside(UNDO), beside(LOG))) if copy else None,
        mask_print=print_of(mask_key) if mask_key else "",
        check_fields=None if copy or not service.where else catalog.check_fields,
        undo=undo if copy else None,
        log=MssqlLog(session, catalog, beside(LOG), open_reader, write_log) if copy else None,
    )

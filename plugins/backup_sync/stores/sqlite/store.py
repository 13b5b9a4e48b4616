"""SQLite: the store of the embedded default, and a real one for data that is kept in it.

SQLite has no schemas: of ``customer.Customers`` it knows ``Customers``. Values are copied in their own storage
class, so nothing is ever converted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from backup_sync.model.limits import Limits
from backup_sync.model.mask import print_of
from backup_sync.model.service import LOG, UNDO, Service
from backup_sync.stores.base import Filtered, Keep, Record, Store
from backup_sync.stores.sql.catalog import holding
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.view import View
from backup_sync.stores.sqlite.catalog import SqliteCatalog
from backup_sync.stores.sqlite.content import content_of
from backup_sync.stores.sqlite.dialect import DIALECT, in_main
from backup_sync.stores.sqlite.lock import SqliteLock
from backup_sync.stores.sqlite.log import SqliteLog
from backup_sync.stores.sqlite.masking import hider
from backup_sync.stores.sqlite.reader import SqliteReader
from backup_sync.stores.sqlite.session import SqliteSession
from backup_sync.stores.sqlite.undo import SqliteEntries, SqliteUndo
from backup_sync.stores.sqlite.writer import SqliteWriter


def sqlite_store(
    service: Service,
    connect: Callable[[str | None], sqlite3.Connection],
    label: str,
    *,
    copy: bool,
    mask_key: str | None = None,
    limits: Limits | None = None,
) -> Store:
    """A table in a SQLite file.

    ``connect``: see :class:`SqliteSession`. ``label``: how messages call this end, the connection id. ``copy``: it is the
    backup, where this package keeps more than the source's columns. ``mask_key``: of the hashes of masked columns, for a source
    that has some.
    """
    limits = limits or Limits()
    session = SqliteSession(label, connect, limits, hider(mask_key) if mask_key else None)
    # With the database's own name: a bare one would be that of a temporary table first.
    table = Table.of(service, label, lambda _, name: in_main(name))
    journal = SqlJournal(session, DIALECT, table, copy=table.table)
    catalog = SqliteCatalog(session, table, journal, copy=copy)

    def open_reader(
        table: Table,
        shape: TableShape,
        *,
        content: bool = False,
        stamps: bool = True,
        filtered: Filtered = "all",
        **options: Sequence[str],
    ) -> SqliteReader:
        whole = content_of(session, shape.columns) if content else ""
        view = catalog.view(table, shape, filtered, keyed=mask_key is not None, content=whole, stamps=stamps, **options)
        return SqliteReader(session, view, limits)

    def writer(shape: TableShape, keep: Keep | None = None, *, told: bool = True) -> SqliteWriter:
        entries = SqliteEntries(undo, keep, shape) if keep else None
        view = View.of(DIALECT, table, shape, stamps=False)
        return SqliteWriter(
            session, view, limits, (journal.count if told else journal.fence) if copy else None, entries
        )

    def beside(ending: str) -> SqliteCatalog:
        return SqliteCatalog(session, table.beside(ending), journal, copy=False)

    def write_log(shape: TableShape, rows: Sequence[Record]) -> None:
        view = View.of(DIALECT, table.beside(LOG), shape, stamps=False)
        SqliteWriter(session, view, limits, None).write_inserts(rows)

    undo = SqliteUndo(session, catalog, beside(UNDO), open_reader, limits)

    return Store(
        kind="sqlite",
        service=service,
        label=label,
        limits=limits,
        catalog=catalog,
        journal=journal,
        lock=SqliteLock(session, table),
        reader=partial(open_reader, table),
        writer=writer,
        close=session.close,
        unfilled=catalog.unfilled if copy else None,
        holding=partial(holding, (catalog, beside(UNDO), beside(LOG))) if copy else None,
        mask_print=print_of(mask_key) if mask_key else "",
        check_fields=None if copy or not service.where else catalog.check_fields,
        undo=undo if copy else None,
        log=SqliteLog(session, catalog, beside(LOG), open_reader, write_log) if copy else None,
    )

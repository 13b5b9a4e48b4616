"""Cosmos DB, API for NoSQL."""

from __future__ import annotations

from backup_sync.model.limits import Limits
from backup_sync.model.service import Service
from backup_sync.stores.base import Filtered, Keep, Store
from backup_sync.stores.cosmos.account import Account, Connection
from backup_sync.stores.cosmos.as_of import CosmosAsOf
from backup_sync.stores.cosmos.catalog import CosmosCatalog
from backup_sync.stores.cosmos.entries import CosmosEntries
from backup_sync.stores.cosmos.journal import CosmosJournal
from backup_sync.stores.cosmos.lease import Lease
from backup_sync.stores.cosmos.log import CosmosLog
from backup_sync.stores.cosmos.making import ContainerShape
from backup_sync.stores.cosmos.reader import CosmosReader
from backup_sync.stores.cosmos.undo import CosmosUndo
from backup_sync.stores.cosmos.writer import CosmosWriter

HISTORY = "sync-history"


def cosmos_store(service: Service, account: Account, label: str, *, copy: bool, limits: Limits | None = None) -> Store:
    """A Cosmos DB container.

    ``label``: how messages call this end, the connection id. ``copy``: it is the backup, with a history beside it.
    """
    limits = limits or Limits()
    history = service.history or HISTORY
    connection = Connection(account, label, service.concurrency, service.retry_seconds)
    undo = CosmosUndo(connection, service, limits, account.container, CosmosAsOf)
    later = [undo.name] if copy and service.keep else []
    catalog = CosmosCatalog(connection, service, history, copy=copy, later=later)
    journal = CosmosJournal(connection, service.name, history=history, copy=account.container)

    def reader(
        shape: ContainerShape, *, content: bool = False, stamps: bool = True, filtered: Filtered = "all", **_: object
    ) -> CosmosReader:
        found = catalog.found()
        documents = found.documents if found else None
        return CosmosReader(
            connection, service, shape, limits, documents, content=content, stamps=stamps, filtered=filtered
        )

    def writer(shape: ContainerShape, keep: Keep | None = None, *, told: bool = True) -> CosmosWriter:
        entries = CosmosEntries(undo, keep, reader(shape)) if keep else None
        return CosmosWriter(
            connection, shape, limits, (journal.count if told else journal.fence) if copy else None, entries
        )

    return Store(
        kind="azure_cosmos",
        service=service,
        label=label,
        limits=limits,
        catalog=catalog,
        journal=journal,
        lock=Lease(connection, history, account.container, service.name, limits.lease_seconds),
        reader=reader,
        writer=writer,
        close=connection.close,
        undo=undo if copy else None,
        log=CosmosLog(connection, service, limits, account.container, reader) if copy else None,
        check_fields=catalog.check_fields,
        usage=lambda: connection.usage,
    )

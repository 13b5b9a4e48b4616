"""From an Airflow connection to a store: the only place that knows both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException

from backup_sync.model import extras, mask
from backup_sync.model.declaring import Declarable
from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, RetriableError
from backup_sync.model.names import parse_table
from backup_sync.model.service import HISTORY, LOG, STATE, UNDO, UNFILLED, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Connection

    from backup_sync.stores.base import Store

try:
    from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied
except ImportError:  # before Airflow 3.3 no backend said so

    class AirflowSecretsBackendAccessDenied(Exception):  # type: ignore[no-redef]
        pass


COSMOS_OPTIONS: dict[str, extras.Reader] = {
    "connection_verify": extras.verify,
    "enable_endpoint_discovery": extras.flag,
    "preferred_locations": extras.texts,
    "connection_timeout": extras.seconds,
    "read_timeout": extras.seconds,
    "retry_throttle_backoff_max": extras.whole_seconds,
}
"""Settings of the SDK's client that may stand in the extra of an ``azure_cosmos`` connection."""

COSMOS_EXTRA: dict[str, extras.Reader] = {
    "database_name": extras.text,
    "collection_name": extras.text,
    "managed_identity_client_id": extras.text,
    "workload_identity_tenant_id": extras.text,
    **COSMOS_OPTIONS,
    # Of Airflow's own form, for its hook and not for us:
    **dict.fromkeys(("partition_key", "subscription_id", "resource_group_name"), str),
}

MSSQL_EXTRA: dict[str, extras.Reader] = {
    "encryption": extras.one_of("require", "request", "off", "default"),
    "login_timeout": extras.whole_seconds,
    "timeout": extras.whole_seconds,
    "appname": extras.text,
    "read_only": extras.flag,
    "tds_version": lambda value: extras.one_of("7.4", "7.3")(str(value)),
    "charset": extras.one_of("UTF-8"),
    "joined_rows": extras.flag,  # for us: whether rows are read with their columns joined
    "sqlalchemy_scheme": extras.text,  # for others; the hook leaves it out
}
"""What may stand in the extra of an ``mssql`` connection. Whatever else ``pymssql.connect`` takes changes what it returns."""

MSSQL_DEFAULTS = {"login_timeout": 15, "timeout": 3_600, "tds_version": "7.4"}
"""What the extra of an ``mssql`` connection may change; both times are whole seconds.

The driver's own are a minute for the login, to wait for ever for an answer, and to try one protocol after the other,
each for the time of a login and five seconds more: a server that accepts and never answers held a task for two minutes.
``timeout`` is how long the server may be silent; a digest of a large table is one long silence. (The driver keeps it
once for the whole process: the connection opened last decides.) SQL Server speaks TDS 7.4 since 2012."""


def open_stores(service: Service) -> tuple[Store, Store]:
    """The two ends of a service, (source, backup). Nothing is connected to yet.

    Raises ConfigurationError for a connection that is missing, of another type, or incomplete.
    """
    return open_store(service, service.source), open_store(service, service.backup, copy=True)


def tables_of(conn_id: str, pattern: str) -> Iterator[Declarable]:
    """The tables behind a connection whose ``schema.table`` is like a pattern (``*`` and ``?``), but for those that this package made.

    Raises what :func:`open_stores` raises, and ConfigurationError for a connection to containers.
    """
    some = Service(name="declare", source=conn_id, backup=f"{conn_id} backup", table="a.b", changed={"x": "different"})
    if _connection(some, conn_id).conn_type == "azure_cosmos":
        raise ConfigurationError(
            f"connection {conn_id} leads to containers, which have no catalog to make entries from"
        )
    with closing(open_store(some, conn_id)) as store:
        names = store.catalog.tables()
    ours = {HISTORY, HISTORY + UNFILLED, STATE} | {f"{table}{end}" for _, table in names for end in (UNDO, LOG)}
    for schema, table in names:
        if table in ours or not fnmatchcase(f"{schema}.{table}".lower(), pattern.lower()):
            continue
        one = some.model_copy(update={"table": f"[{schema.replace(']', ']]')}].[{table.replace(']', ']]')}]"})
        try:
            with closing(open_store(one, conn_id)) as store:
                yield store.catalog.declarable()
        except BackupSyncError as error:
            yield Declarable(schema, table, {}, (), problem=str(error))


def open_target(service: Service, conn_id: str, name: str = "") -> Store:
    """A place to restore to: the service's table or container, or the one of this name, behind any connection.

    Raises what :func:`open_stores` raises, and ConfigurationError for a name that is none.
    """
    # What is restored has no masked columns, so that no other server than the source's needs their key.
    service = service.model_copy(update={"mask_key": None})
    if not name:
        return open_store(service, conn_id)
    if service.container is not None:
        return open_store(service.model_copy(update={"container": name}), conn_id, container=name)
    try:
        parse_table(name)
    except ValueError as error:
        raise ConfigurationError(f"the table {name} to restore to: {error}") from None
    return open_store(service.model_copy(update={"table": name}), conn_id)


def open_store(service: Service, conn_id: str, *, copy: bool = False, container: str = "") -> Store:
    """One end of a service; the connection's type picks the store. ``copy``: it is the backup. ``container``: goes before the
    one that the connection names."""
    connection = _connection(service, conn_id)
    openers: dict[str, Callable[[Service, str, Connection, bool], Store]] = {
        "mssql": _mssql,
        "sqlite": _sqlite,
        "azure_cosmos": partial(_cosmos, container=container),
    }
    if connection.conn_type not in openers:
        raise ConnectionMistake(
            f"connection {conn_id} is of type {connection.conn_type!r}; service {service.name} needs one of "
            f"{', '.join(openers)}"
        )
    is_container = connection.conn_type == "azure_cosmos"
    if is_container != (service.container is not None):
        needs = "'container'" if is_container else "'table'"
        raise ConfigurationError(
            f"connection {conn_id} is of type {connection.conn_type}, so service {service.name} has to name a {needs}"
        )
    store = openers[connection.conn_type](service, conn_id, connection, copy)
    store.uri = _uri(connection, service, container)
    return store


def _uri(connection: Connection, service: Service, container: str) -> str:
    """The address of a table or container as an asset has it (``mssql://host:1433/database/schema/table``). ASCII, no login."""

    def parts(*names: str) -> str:
        return "/".join(quote(name, safe="") for name in names)

    if connection.conn_type == "azure_cosmos":
        extra, host = connection.extra_dejson, urlsplit(connection.login or "").netloc
        name = container or extra.get("collection_name") or service.container or ""
        return f"cosmos://{host}/{parts(extra['database_name'], name)}"
    table = parse_table(service.table or "")
    if connection.conn_type == "sqlite":
        return f"sqlite:{quote(str(Path(connection.host or '').absolute()))}/{parts(*table)}"
    return f"mssql://{quote(connection.host or '')}:{connection.port}/{parts(connection.schema or '', *table)}"


def _connection(service: Service, conn_id: str) -> Connection:
    """The connection as Airflow has it.

    Raises ConnectionMistake where it is not defined, cannot be read or may not be used, and RetriableError where
    its secrets backend may be away. No exception's text is passed on: it may quote the connection, and with it the
    password.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowException:
        # Airflow says the same of a connection that nobody defined and of a secrets backend that failed: it tries the
        # next place, and there is no connection (airflow.sdk.execution_time.context._get_connection).
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if _secrets_backend():
            raise RetriableError(
                f"connection {conn_id} of service {service.name} is not defined, or the secrets backend did not answer; "
                f"create it there, in Airflow (Admin → Connections) or as {variable}, or wait until the backend is back"
            ) from None
        raise ConnectionMistake(
            f"connection {conn_id} of service {service.name} does not exist; create it in Airflow (Admin → Connections) "
            f"or set {variable}"
        ) from None
    except AirflowSecretsBackendAccessDenied:
        raise ConnectionMistake(
            f"connection {conn_id} of service {service.name} may not be used by this task; let its team use it in Airflow"
        ) from None
    except ValueError:
        raise ConnectionMistake(f"connection {conn_id} cannot be read; check AIRFLOW_CONN_{conn_id.upper()}") from None
    except Exception as error:
        raise RetriableError(
            f"connection {conn_id} of service {service.name} cannot be had at the moment ({type(error).__name__}): the "
            "secrets backend or Airflow's API server did not answer; the task's log in Airflow may say more"
        ) from None


def _mask_key(service: Service, copy: bool) -> str | None:
    """The key of the hashes of masked columns: for a source alone, so that the backup's server never hears of it."""
    if copy or not service.needs_key or service.mask_key is None:
        return None
    try:
        return mask.key_of(_connection(service, service.mask_key).password or "")
    except ValueError as error:
        raise ConnectionMistake(
            f"the password of connection {service.mask_key}, which 'mask_key' of service {service.name} names, has to have {error}"
        ) from None


def _secrets_backend() -> bool:
    """Whether connections may come from somewhere else than Airflow itself and the environment."""
    return any(
        conf.get(section, name, fallback=None)
        for section, name in (("workers", "secrets_backend"), ("secrets", "backend"))
    )


def _mssql(service: Service, conn_id: str, connection: Connection, copy: bool) -> Store:
    from airflow.providers.microsoft.mssql.hooks.mssql import MsSqlHook

    from backup_sync.stores.mssql.store import mssql_store

    if not connection.schema:
        raise ConnectionMistake(f"connection {conn_id} names no database; set its 'schema'")
    if not connection.host or not connection.port:
        raise ConnectionMistake(f"connection {conn_id} lacks host or port; set both (SQL Server's own port is 1433)")

    extra = extras.read(conn_id, connection.extra, MSSQL_EXTRA)
    joined = extra.pop("joined_rows", True)
    connection.extra = json.dumps(MSSQL_DEFAULTS | extra)

    def connect(database: str | None) -> Any:
        # The connection is handed over: it is asked of Airflow in the task's own thread, and not in the session's.
        return MsSqlHook(mssql_conn_id=conn_id, schema=database, connection=connection).get_conn()

    address = f"{connection.host}:{connection.port}"
    return mssql_store(
        service,
        connect,
        conn_id,
        connection.schema,
        address,
        copy=copy,
        joined=joined,
        mask_key=_mask_key(service, copy),
    )


def _sqlite(service: Service, conn_id: str, connection: Connection, copy: bool) -> Store:
    from backup_sync.stores.sqlite.store import sqlite_store

    if not connection.host:
        raise ConnectionMistake(f"connection {conn_id} names no file; set its 'host' to the path of the database")
    extras.read(conn_id, connection.extra, {})
    path = Path(connection.host)

    def connect(purpose: str | None) -> sqlite3.Connection:
        # A backup file is made by initialize; at any other time a missing file is a mistake in the path.
        mode = "rwc" if purpose == "create" else "rw"
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, check_same_thread=False)

    return sqlite_store(service, connect, conn_id, copy=copy, mask_key=_mask_key(service, copy))


def _cosmos(service: Service, conn_id: str, connection: Connection, copy: bool, container: str = "") -> Store:
    from backup_sync.stores.cosmos.account import Account
    from backup_sync.stores.cosmos.identity import Identity
    from backup_sync.stores.cosmos.store import cosmos_store

    extra = extras.read(conn_id, connection.extra, COSMOS_EXTRA)
    missing = [
        what
        for what, value in (
            ("login (the account's endpoint)", connection.login),
            ("database_name in extra", extra.get("database_name")),
        )
        if not value
    ]
    if missing:
        raise ConnectionMistake(f"connection {conn_id} lacks {' and '.join(missing)}")
    if not connection.password and urlsplit(connection.login or "").scheme != "https":
        raise ConnectionMistake(
            f"connection {conn_id} has no password, and a token of Microsoft Entra ID may only go to an endpoint that begins "
            "with https://; correct its login, or set its password to the account's key"
        )
    identity = Identity(extra.get("managed_identity_client_id"), extra.get("workload_identity_tenant_id"))
    account = Account(
        endpoint=connection.login or "",
        key=connection.password or identity,
        database=extra["database_name"],
        container=container or extra.get("collection_name") or service.container or "",
        options={name: extra[name] for name in COSMOS_OPTIONS if name in extra},
    )
    return cosmos_store(service, account, conn_id, copy=copy)

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymssql
import pytest
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSecretsBackendAccessDenied
from airflow.secrets import BaseSecretsBackend

from backup_sync.hooks import open_store, open_stores, open_target
from backup_sync.model.errors import ConfigurationError, ConnectionMistake, RetriableError
from backup_sync.model.service import Service, parse_service
from backup_sync.stores.base import Store
from backup_sync.stores.cosmos.account import Account
from backup_sync.stores.cosmos.catalog import CosmosCatalog
from backup_sync.stores.cosmos.identity import Identity
from backup_sync.stores.sql.shape import Column, TableShape
from tests.reliability.proxy import Fault, Proxy

TABLE = {"source": "src", "backup": "bak", "table": "app.Things", "changed": {"Version": "higher"}}
CONTAINER = {"source": "src", "backup": "bak", "container": "things", "changed": {"v": "newer"}}
KEY = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="


def service(entry: dict[str, Any] = TABLE) -> Service:
    return parse_service("thing", entry, where="test")


def connect(monkeypatch: pytest.MonkeyPatch, name: str, value: dict[str, Any] | str) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", value if isinstance(value, str) else json.dumps(value))


def account_of(store: Store) -> Account:
    assert isinstance(store.catalog, CosmosCatalog)
    return store.catalog.account


def cosmos(**changes: Any) -> dict[str, Any]:
    extra = {"database_name": "db", "collection_name": "coll"}
    return {"conn_type": "azure_cosmos", "login": "http://localhost:1/", "password": KEY, "extra": extra, **changes}


def test_the_type_of_the_connection_picks_the_store(monkeypatch, tmp_path):
    connect(monkeypatch, "src", {"conn_type": "sqlite", "host": str(tmp_path / "a.sqlite")})
    connect(
        monkeypatch,
        "bak",
        {"conn_type": "mssql", "host": "h", "port": 1433, "login": "u", "password": "p", "schema": "Db"},
    )
    source, backup = open_stores(service())
    assert (source.kind, backup.kind) == ("sqlite", "mssql")
    connect(monkeypatch, "src", cosmos())
    assert open_store(service(CONTAINER), "src").kind == "azure_cosmos"


def test_the_container_is_the_connections_own_or_else_the_services(monkeypatch):
    connect(monkeypatch, "src", cosmos())
    assert account_of(open_store(service(CONTAINER), "src")).container == "coll"
    connect(monkeypatch, "src", cosmos(extra={"database_name": "db"}))
    assert account_of(open_store(service(CONTAINER), "src")).container == "things"


def test_client_settings_in_the_extra_reach_the_client_and_those_of_airflows_form_do_not(monkeypatch):
    extra = {"database_name": "db", "connection_verify": False, "partition_key": "/x", "subscription_id": ""}
    connect(monkeypatch, "src", cosmos(extra=extra))
    assert account_of(open_store(service(CONTAINER), "src")).options == {"connection_verify": False}


@pytest.mark.parametrize(
    "entry, connection, message",
    [
        (
            TABLE,
            None,
            r"connection src of service thing does not exist; create it in Airflow .* or set AIRFLOW_CONN_SRC",
        ),
        (TABLE, {"conn_type": "postgres"}, r"connection src is of type 'postgres'; service thing needs one of mssql"),
        (TABLE, cosmos(), r"of type azure_cosmos, so service thing has to name a 'container'"),
        (CONTAINER, {"conn_type": "sqlite", "host": "x"}, r"of type sqlite, so service thing has to name a 'table'"),
        (TABLE, {"conn_type": "sqlite"}, r"connection src names no file; set its 'host'"),
        (TABLE, {"conn_type": "mssql", "host": "h", "port": 1}, r"connection src names no database; set its 'schema'"),
        (TABLE, {"conn_type": "mssql", "host": "h", "schema": "d"}, r"connection src lacks host or port"),
        (CONTAINER, cosmos(login="", extra={}), r"lacks login \(the account's endpoint\) and database_name in extra"),
    ],
)
def test_what_a_connection_lacks_is_named(monkeypatch, entry, connection, message):
    if connection is not None:
        connect(monkeypatch, "src", connection)
    with pytest.raises(ConfigurationError, match=message):
        open_store(service(entry), "src")


def test_the_key_of_a_mask_is_for_the_source_alone(monkeypatch, tmp_path):
    for name in "src", "bak", "other":
        connect(monkeypatch, name, {"conn_type": "sqlite", "host": str(tmp_path / f"{name}.sqlite")})
    masked = service({**TABLE, "mask": {"Email": "hash"}, "mask_key": "hidden"})
    with pytest.raises(ConnectionMistake, match="connection hidden of service thing does not exist"):
        open_stores(masked)
    connect(monkeypatch, "hidden", {"conn_type": "generic", "password": "hunter2"})
    with pytest.raises(ConnectionMistake, match=r"password of connection hidden, .* has to have at least 16") as caught:
        open_stores(masked)
    assert "hunter2" not in str(caught.value)
    connect(monkeypatch, "hidden", {"conn_type": "generic", "password": "hunter2 and many more"})
    source, backup = open_stores(masked)
    assert source.mask_print
    assert not backup.mask_print
    assert not open_target(masked, "other").mask_print
    assert not open_target(masked, "src", "app.Things_drill").mask_print
    connect(monkeypatch, "hidden", {"conn_type": "generic", "password": "hunter3 and many more"})
    assert open_stores(masked)[0].mask_print != source.mask_print


def test_what_masks_with_null_needs_no_key(monkeypatch, tmp_path):
    for name in "src", "bak":
        connect(monkeypatch, name, {"conn_type": "sqlite", "host": str(tmp_path / f"{name}.sqlite")})
    assert not open_stores(service({**TABLE, "mask": {"Email": "null"}}))[0].mask_print


def test_a_connection_that_cannot_be_read_is_named_and_not_quoted(monkeypatch):
    connect(monkeypatch, "src", '{"conn_type": "sqlite", "password": "hunter2", "host')
    with pytest.raises(ConfigurationError) as caught:
        open_store(service(), "src")
    assert "src" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "setting", ["AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"], ids=["all", "workers"]
)
def test_a_connection_that_a_secrets_backend_may_hold_is_waited_for_and_both_causes_are_named(monkeypatch, setting):
    """Airflow tries the next place when a backend fails, and then says that the connection is not defined."""
    monkeypatch.setenv(setting, f"{__name__}.BackendThatIsAway")
    with pytest.raises(RetriableError) as caught:
        open_store(service(), "src")
    assert "connection src of service thing is not defined, or the secrets backend did not answer" in str(caught.value)
    assert "AIRFLOW_CONN_SRC" in str(caught.value)
    assert "hunter2" not in str(caught.value)


class BackendThatIsAway(BaseSecretsBackend):
    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        raise ConnectionError("https://hunter2@vault.example.com is away")


@pytest.mark.parametrize(
    "error, kind",
    [
        (ConnectionError("hunter2"), RetriableError),
        (TimeoutError("hunter2"), RetriableError),
        (RuntimeError("hunter2"), RetriableError),
        (KeyError("hunter2"), RetriableError),
        (AirflowNotFoundException("hunter2"), ConnectionMistake),
        (AirflowSecretsBackendAccessDenied("hunter2"), ConnectionMistake),
        (PermissionError("hunter2"), RetriableError),
        (ValueError("hunter2"), ConnectionMistake),
    ],
)
def test_whatever_keeps_airflow_from_giving_a_connection_is_one_sentence_that_quotes_nothing(monkeypatch, error, kind):
    def refuse(conn_id: str) -> None:
        raise error

    monkeypatch.setattr("backup_sync.hooks.BaseHook.get_connection", refuse)
    with pytest.raises(kind) as caught:
        open_store(service(), "src")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("connection src ")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_sql_servers_connection_is_asked_of_airflow_when_the_store_is_made_and_not_again(monkeypatch):
    """The session connects in a thread of its own, which must not wait for Airflow while the task goes on."""
    connect(monkeypatch, "src", sql_server())
    with closing(open_store(service(), "src")) as store:
        monkeypatch.setattr("backup_sync.hooks.BaseHook.get_connection", lambda conn_id: pytest.fail("asked again"))
        monkeypatch.setattr("pymssql.connect", lambda **_: (_ for _ in ()).throw(pymssql.OperationalError(18456, b"")))
        with pytest.raises(ConfigurationError, match="refused the login"):
            store.catalog.describe()


def test_a_missing_source_file_is_an_error_and_is_not_created(monkeypatch, tmp_path: Path):
    path = tmp_path / "nothing.sqlite"
    connect(monkeypatch, "src", {"conn_type": "sqlite", "host": str(path)})
    with closing(open_store(service(), "src")) as store, pytest.raises(ConfigurationError, match="SQLITE_CANTOPEN"):
        store.catalog.describe()
    assert not path.exists()


def test_a_backup_file_is_created_when_it_is_missing(monkeypatch, tmp_path: Path):
    source, backup = tmp_path / "a.sqlite", tmp_path / "b.sqlite"
    with closing(sqlite3.connect(source)) as db:
        db.execute("CREATE TABLE Things (Id INTEGER PRIMARY KEY, Version INTEGER NOT NULL)")
    connect(monkeypatch, "src", {"conn_type": "sqlite", "host": str(source)})
    connect(monkeypatch, "bak", {"conn_type": "sqlite", "host": str(backup)})
    first, second = open_stores(service())
    with closing(first), closing(second):
        second.catalog.create(first.catalog.describe())
    assert backup.exists()


def test_a_secret_does_not_show_when_a_store_is_printed(monkeypatch):
    connect(monkeypatch, "src", cosmos())
    store = open_store(service(CONTAINER), "src")
    assert KEY not in repr(store)
    assert KEY not in repr(account_of(store))


def test_a_malformed_endpoint_or_key_is_a_configuration_error_without_the_key(monkeypatch):
    connect(monkeypatch, "src", cosmos(password="not base64 at all!"))
    with closing(open_store(service(CONTAINER), "src")) as store, pytest.raises(ConfigurationError) as caught:
        store.catalog.describe()
    assert "not base64" not in str(caught.value)


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"managed_identity_client_id": "a client"},
        {"workload_identity_tenant_id": "a tenant"},
        {
            "managed_identity_client_id": "a client",
            "workload_identity_tenant_id": "a tenant",
            "resource_group_name": "g",
        },
    ],
)
def test_a_cosmos_connection_without_a_password_asks_for_tokens_as_the_identity_that_it_names(monkeypatch, named):
    extra = {"database_name": "db", **named}
    connect(monkeypatch, "src", cosmos(login="https://a.example.com:443/", password=None, extra=extra))
    account = account_of(open_store(service(CONTAINER), "src"))
    assert account.key == Identity(named.get("managed_identity_client_id"), named.get("workload_identity_tenant_id"))


def test_a_password_goes_before_an_identity_as_it_does_with_airflows_own_hook(monkeypatch):
    connect(monkeypatch, "src", cosmos(extra={"database_name": "db", "managed_identity_client_id": "a client"}))
    assert account_of(open_store(service(CONTAINER), "src")).key == KEY


@pytest.mark.parametrize("login", ["http://localhost:1/", "orders.documents.azure.com"])
def test_no_token_goes_to_an_endpoint_that_anybody_can_listen_to(monkeypatch, login):
    connect(monkeypatch, "src", cosmos(login=login, password=""))
    with pytest.raises(ConnectionMistake, match=r"connection src has no password, and .* begins with https://"):
        open_store(service(CONTAINER), "src")


def test_an_environment_that_azure_identity_cannot_take_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "hunter2")
    connect(monkeypatch, "src", cosmos(login="https://a.example.com/", password=""))
    with closing(open_store(service(CONTAINER), "src")) as store, pytest.raises(ConnectionMistake) as caught:
        store.catalog.describe()
    assert "src: azure-identity cannot take this worker's environment; correct AZURE_TOKEN_CREDENTIALS" in str(
        caught.value
    )
    assert "hunter2" not in str(caught.value)


def sql_server(**changes: Any) -> dict[str, Any]:
    return {
        "conn_type": "mssql",
        "host": "127.0.0.1",
        "port": 1433,
        "schema": "Db",
        "login": "u",
        "password": KEY,
        **changes,
    }


@pytest.mark.parametrize("extra", [{"login_timeout": 1}, {"login_timeout": 1, "tds_version": "7.3"}])
def test_a_sql_server_that_accepts_and_never_answers_is_given_up_when_the_extra_says_so(monkeypatch, extra):
    with Proxy("127.0.0.1", 1) as proxy:
        proxy.faults = [Fault(silent=True)] * 10
        connect(monkeypatch, "src", sql_server(port=proxy.port, extra=extra))
        begun = time.monotonic()
        with closing(open_store(service(), "src")) as store, pytest.raises(RetriableError) as caught:
            store.catalog.describe()
        assert time.monotonic() - begun < 3
        assert proxy.struck == 1
    assert str(caught.value).startswith(f"src: SQL Server at 127.0.0.1:{proxy.port} did not answer in time")
    assert "'login_timeout'" in str(caught.value)


@pytest.mark.parametrize(
    "extra, expected",
    [
        ({}, {"login_timeout": 15, "timeout": 3_600, "tds_version": "7.4"}),
        ({"encryption": "require", "timeout": 9}, {"encryption": "require", "timeout": 9, "login_timeout": 15}),
        ({"timeout": 0}, {"timeout": 0, "login_timeout": 15}),
        ({"login_timeout": 40, "tds_version": "7.3"}, {"login_timeout": 40, "tds_version": "7.3"}),
    ],
)
def test_the_driver_is_given_the_extra_and_a_bounded_wait(monkeypatch, extra, expected):
    """So TLS is asked for where the connection asks for it, also when master is asked for a missing database."""
    given: list[dict[str, Any]] = []

    def refuse(**arguments: Any) -> None:
        given.append(arguments)
        raise pymssql.OperationalError(4060, b"")

    monkeypatch.setattr("pymssql.connect", refuse)
    connect(monkeypatch, "src", sql_server(extra=extra))
    with closing(open_store(service(), "src")) as store, pytest.raises(ConfigurationError):
        store.catalog.exists()
    assert [arguments["database"] for arguments in given] == ["Db", "master"]
    for arguments in given:
        assert expected.items() <= arguments.items()


@pytest.mark.parametrize("verify", [True, False, None])
def test_the_certificate_of_a_cosmos_account_is_checked_unless_the_extra_says_no(monkeypatch, verify):
    endpoint = "https://account.example.com:443/"
    extra = {"database_name": "db"} | ({} if verify is None else {"connection_verify": verify})
    connect(monkeypatch, "src", cosmos(login=endpoint, extra=extra))
    with closing(open_store(service(CONTAINER), "src")) as store:
        client = store.catalog.connection.client()
        assert client.client_connection.connection_policy.DisableSSLVerification == (verify is False)


@pytest.mark.parametrize(
    "conn_type, name, value, needs",
    [
        ("mssql", "timeout", "hunter2", "a whole number of seconds"),
        ("mssql", "timeout", 1.5, "a whole number of seconds"),
        ("mssql", "login_timeout", True, "a whole number of seconds"),
        ("mssql", "login_timeout", -1, "a whole number of seconds"),
        ("mssql", "encryption", "hunter2", "one of require, request, off, default"),
        ("mssql", "encryption", True, "one of require, request, off, default"),
        ("mssql", "appname", 5, "text"),
        ("mssql", "tds_version", "7.0", "one of 7.4, 7.3"),
        ("mssql", "charset", "CP1252", "one of UTF-8"),
        ("mssql", "read_only", "hunter2", "true or false"),
        ("azure_cosmos", "connection_verify", "hunter2", "true, false or the path of a file of certificates"),
        ("azure_cosmos", "enable_endpoint_discovery", 0, "true or false"),
        ("azure_cosmos", "preferred_locations", {"hunter2": 1}, "a list of texts"),
        ("azure_cosmos", "read_timeout", "hunter2", "a number of seconds"),
        ("azure_cosmos", "read_timeout", float("inf"), "a number of seconds"),
        ("azure_cosmos", "database_name", 5, "text"),
    ],
)
def test_an_entry_of_the_extra_that_is_not_what_it_has_to_be_is_refused_by_name_without_its_value(
    monkeypatch, conn_type, name, value, needs
):
    made, entry = (sql_server, TABLE) if conn_type == "mssql" else (cosmos, CONTAINER)
    connect(monkeypatch, "src", made(extra={name: value}))
    with pytest.raises(ConfigurationError) as caught:
        open_store(service(entry), "src")
    assert str(caught.value) == f"connection src: '{name}' in its extra has to be {needs}"


@pytest.mark.parametrize(
    "connection, entry, name",
    [
        ("mssql", TABLE, "encypt"),
        ("mssql", TABLE, "as_dict"),
        ("mssql", TABLE, "database"),
        ("mssql", TABLE, "conn_properties"),
        ("azure_cosmos", CONTAINER, "connection_verfy"),
        ("sqlite", TABLE, "timeout"),
    ],
)
def test_an_entry_that_nobody_would_heed_is_refused_by_name(monkeypatch, connection, entry, name):
    made = {
        "mssql": sql_server,
        "azure_cosmos": cosmos,
        "sqlite": lambda **more: {"conn_type": "sqlite", "host": "x", **more},
    }
    connect(monkeypatch, "src", made[connection](extra={name: "hunter2"}))
    with pytest.raises(
        ConfigurationError, match=f"connection src: '{name}' in its extra is nothing that backup_sync knows"
    ) as e:
        open_store(service(entry), "src")
    assert "hunter2" not in str(e.value)


@pytest.mark.parametrize(
    "extra",
    ["encryption=require", '{"encryption": "require",}', '["encryption"]', '"require"', "17", "null", ["encryption"]],
)
@pytest.mark.parametrize("made, entry", [("mssql", TABLE), ("azure_cosmos", CONTAINER), ("sqlite", TABLE)])
def test_an_extra_that_is_no_json_object_is_refused_and_not_taken_for_an_empty_one(monkeypatch, made, entry, extra):
    value = {"mssql": sql_server(), "azure_cosmos": cosmos(), "sqlite": {"conn_type": "sqlite", "host": "x"}}[made]
    connect(monkeypatch, "src", {**value, "extra": extra})
    with pytest.raises(ConfigurationError, match="connection src: its extra is no JSON object"):
        open_store(service(entry), "src")


def test_an_entry_that_stands_twice_in_the_extra_is_refused(monkeypatch):
    connect(monkeypatch, "src", sql_server(extra='{"encryption": "require", "encryption": "off"}'))
    with pytest.raises(ConfigurationError, match="'encryption' stands twice in its extra"):
        open_store(service(), "src")


def test_a_connection_written_as_a_uri_means_what_it_says(monkeypatch):
    given: list[dict[str, Any]] = []

    def refuse(**arguments: Any) -> None:
        given.append(arguments)
        raise pymssql.OperationalError(4060, b"")

    monkeypatch.setattr("pymssql.connect", refuse)
    query = "encryption=Require&timeout=30&login_timeout=5&read_only=false&tds_version=7.3&appname=we"
    monkeypatch.setenv("AIRFLOW_CONN_SRC", f"mssql://u:p@127.0.0.1:1433/Db?{query}")
    with closing(open_store(service(), "src")) as store, pytest.raises(ConfigurationError):
        store.catalog.exists()
    expected = {"encryption": "require", "timeout": 30, "login_timeout": 5, "read_only": False, "appname": "we"}
    assert (expected | {"tds_version": "7.3"}).items() <= given[0].items()


def test_a_connection_can_switch_off_that_rows_are_read_with_their_columns_joined(monkeypatch):
    shape = TableShape((Column("Id", "int", False), Column("Version", "int"), Column("Name", "nvarchar(20)")), ("Id",))
    for query, joined in (("", True), ("?joined_rows=true", True), ("?joined_rows=false", False)):
        monkeypatch.setenv("AIRFLOW_CONN_SRC", f"mssql://u:p@127.0.0.1:1433/Db{query}")
        reader = open_store(service(), "src").reader(shape)
        assert ("+ N'" in reader._rows._wire.selected()) == joined


def test_a_cosmos_connection_as_a_uri_has_its_settings(monkeypatch):
    query = (
        "database_name=db&connection_verify=false&enable_endpoint_discovery=False&read_timeout=2.5&connection_timeout=7"
        "&preferred_locations=North%20Europe,West%20Europe&retry_throttle_backoff_max=3"
    )
    uri = f"azure-cosmos://{quote('http://localhost:1/', safe='')}:{quote(KEY, safe='')}@?{query}"
    monkeypatch.setenv("AIRFLOW_CONN_SRC", uri)
    account = account_of(open_store(service(CONTAINER), "src"))
    assert (account.endpoint, account.key, account.database) == ("http://localhost:1/", KEY, "db")
    assert account.options == {
        "connection_verify": False,
        "enable_endpoint_discovery": False,
        "read_timeout": 2.5,
        "connection_timeout": 7,
        "preferred_locations": ["North Europe", "West Europe"],
        "retry_throttle_backoff_max": 3,
    }

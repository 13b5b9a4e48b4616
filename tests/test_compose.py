"""docker-compose.yml and the files that go with it, checked without Docker.

The file is parsed and its variables are replaced as Compose would do it, with the values of .env.example; what is empty
there is made with the commands that .env.example gives. The resulting environment then goes to the real code: Airflow's
configuration, the hooks, the drivers up to the point where they would connect, and the init script.
"""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from graphlib import TopologicalSorter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.compose import (
    AIRFLOW,
    COMPOSE,
    EMPTY,
    ENV_EXAMPLE,
    EXAMPLE,
    RAW,
    RAW_SERVICES,
    ROOT,
    VARIABLE,
    filled_in,
    interpolate,
)

CONFIG = ROOT / "dags" / "backup_sync.yaml"
CFG_EXAMPLE = (ROOT / "airflow.cfg.example").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

ONE_SHOTS = {"airflow-init", "seed"}

PORTS = {
    8080: ("airflow-apiserver", 8080),
    1473: ("sqlserver", 1433),
    1474: ("sqlserver-backup", 1433),
    8081: ("cosmosdb", 8081),
    1234: ("cosmosdb", 1234),
    8082: ("cosmosdb-backup", 8081),
    10000: ("azurite", 10000),
    10001: ("azurite", 10001),
    10002: ("azurite", 10002),
}


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return filled_in()


@pytest.fixture(scope="module")
def services(values: dict[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = interpolate(RAW, values)["services"]
    return found


@pytest.fixture
def airflow(services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process has the environment of the scheduler's container, except for the metadata database."""

    environment: dict[str, str] = services["airflow-scheduler"]["environment"]
    for name, value in environment.items():
        if name != "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN":
            monkeypatch.setenv(name, value)
    return environment


# The file


def test_every_key_is_one_that_compose_knows() -> None:
    known = {"image", "build", "platform", "command", "environment", "ports", "volumes", "depends_on", "healthcheck"}
    assert {key for key in RAW if not key.startswith("x-")} == {"name", "services", "volumes"}
    for name, service in RAW_SERVICES.items():
        assert set(service) <= known | {"restart", "stop_grace_period"}, name
        assert set(service.get("healthcheck", {})) <= {"test", "interval", "timeout", "retries", "start_period"}, name
        assert all(value is None or isinstance(value, str) for value in service.get("environment", {}).values()), name


def test_all_airflow_services_share_the_image_built_here() -> None:
    assert {name for name in RAW_SERVICES if name.startswith("airflow-")} | {"seed"} == set(AIRFLOW)
    assert {RAW_SERVICES[name]["build"] for name in AIRFLOW} == {"."}
    assert len({RAW_SERVICES[name]["image"] for name in AIRFLOW}) == 1
    own = {"ADMIN_PASSWORD"}
    environments = [{k: v for k, v in RAW_SERVICES[n]["environment"].items() if k not in own} for n in AIRFLOW]
    assert all(environment == environments[0] for environment in environments)


def test_services_that_run_on_are_checked_and_restarted_and_one_shots_are_not() -> None:
    for name, service in RAW_SERVICES.items():
        if name in ONE_SHOTS:
            assert (service["restart"], "healthcheck" in service) == ("no", False), name
        else:
            assert (service["restart"], "healthcheck" in service) == ("unless-stopped", True), name
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_every_condition_can_come_true() -> None:
    for name, service in RAW_SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in RAW_SERVICES, (name, other)
            wanted = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
    graph = {name: set(service.get("depends_on", {})) for name, service in RAW_SERVICES.items()}
    TopologicalSorter(graph).prepare()  # raises for a circle


def test_airflow_waits_for_its_initialization_and_nothing_waits_for_the_seed() -> None:
    for name in set(AIRFLOW) - ONE_SHOTS:
        assert {"postgres", "airflow-init"} <= set(RAW_SERVICES[name]["depends_on"]), name
    assert {"postgres", "azurite"} == set(RAW_SERVICES["airflow-init"]["depends_on"])
    assert {"sqlserver", "cosmosdb"} <= set(RAW_SERVICES["seed"]["depends_on"])
    assert "airflow-apiserver" in RAW_SERVICES["airflow-scheduler"]["depends_on"]
    assert not any("seed" in service.get("depends_on", {}) for service in RAW_SERVICES.values())


def test_every_store_keeps_its_data_on_a_volume_of_its_own() -> None:
    mounts = [(name, *mount.split(":")) for name, s in RAW_SERVICES.items() for mount in s.get("volumes", [])]
    assert {volume for _, volume, _ in mounts} == set(RAW["volumes"])
    where = {name: (volume, path) for name, volume, path in mounts if name not in AIRFLOW}
    assert {name: path for name, (_, path) in where.items()} == {
        "postgres": "/var/lib/postgresql/data",
        "azurite": "/data",
        "sqlserver": "/var/opt/mssql",
        "sqlserver-backup": "/var/opt/mssql",
        "cosmosdb": "/data",
        "cosmosdb-backup": "/data",
    }
    assert len({volume for volume, _ in where.values()}) == len(where)


def test_ports_are_as_promised_and_on_the_loopback_interface_only() -> None:
    found = {}
    for name, service in RAW_SERVICES.items():
        for port in service.get("ports", []):
            address, host, inside = port.split(":")
            assert address == "127.0.0.1", port
            assert int(host) not in found, f"{host} is published twice"
            found[int(host)] = (name, int(inside))
    assert found == PORTS


def test_an_image_that_can_change_says_why() -> None:
    lines = [line for line in COMPOSE.splitlines() if line.strip().startswith("image:")]
    assert len(lines) >= 5
    for line in lines:
        image, _, reason = line.split("image:")[1].partition("#")
        _, _, tag = image.strip().rpartition("/")[2].partition(":")
        fixed = re.search(r"^\d+\.\d+\.\d+$|-CU\d+-|-EN\d{8}$|^local$", tag)
        assert fixed or reason.strip(), f"{image.strip()} moves, and no comment says why"


# Variables and secrets


def test_env_example_has_every_variable_and_no_other() -> None:
    used = {match["name"] for match in VARIABLE.finditer(COMPOSE) if match["name"]}
    assert used == set(EXAMPLE)


def test_the_example_environment_leaves_nothing_uninterpolated(services: dict[str, dict[str, Any]]) -> None:
    assert not [text for text in _strings(services) if "${" in text.replace("${HOSTNAME}", "")]


@pytest.mark.parametrize("name", [*EMPTY, "COSMOS_EMULATOR_KEY", "AZURITE_ACCOUNT_KEY"])
def test_a_secret_has_no_default(name: str, values: dict[str, str]) -> None:
    with pytest.raises(LookupError, match=name):
        interpolate(RAW, values | {name: ""})


def test_the_secrets_are_the_variables_that_are_empty_in_the_example() -> None:
    assert set(EMPTY) == {
        "POSTGRES_PASSWORD",
        "AIRFLOW_FERNET_KEY",
        "AIRFLOW_JWT_SECRET",
        "AIRFLOW_API_SECRET_KEY",
        "AIRFLOW_ADMIN_PASSWORD",
        "CUSTOMER_SOURCE_PASSWORD",
        "CUSTOMER_BACKUP_PASSWORD",
        "BACKUP_SYNC_WATCH_TOKEN",
    }


def test_no_secret_is_written_into_the_compose_file() -> None:
    required = r"\$\{\w+:\?[^}]*\}"
    places = 0
    for name, service in RAW_SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"(PASSWORD|SECRET|_KEY)$", variable):
                assert re.fullmatch(required, value), (name, variable)
                places += 1
            for secret in re.findall(r'"password": "([^"]*)"|AccountKey=([^;]*);|://\w+:([^@]*)@', value):
                assert re.fullmatch(required, "".join(secret)), (name, variable)
                places += 1
    assert places > 50  # five of Airflow's own and five connections in each of six services, and the stores' own
    for text in (COMPOSE, DOCKERFILE, CFG_EXAMPLE):
        assert not re.search(r"[A-Za-z0-9+/]{80,}={0,2}", text)  # the emulators' keys


def test_commands_of_the_example_make_fit_values(values: dict[str, str]) -> None:
    from cryptography.fernet import Fernet

    Fernet(values["AIRFLOW_FERNET_KEY"].encode())
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    for name in ("CUSTOMER_SOURCE_PASSWORD", "CUSTOMER_BACKUP_PASSWORD"):
        kinds = [r"[A-Z]", r"[a-z]", r"\d", r"[^A-Za-z0-9]"]
        assert len(values[name]) >= 8
        assert sum(bool(re.search(kind, values[name])) for kind in kinds) >= 3
    assert len({values[name] for name in EMPTY}) == len(EMPTY)
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]+=*", values[name]) for name in EMPTY)


def test_every_character_that_the_example_allows_reaches_the_other_end(
    values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import BaseHook
    from sqlalchemy.engine import make_url

    assert "letters,\n# digits and - . _ ~ and of nothing else" in ENV_EXAMPLE
    password = "-._~ABCXYZabcxyz0189~_.-"
    passwords = {name: password for name in EMPTY if name.endswith("PASSWORD")}
    environment = interpolate(RAW, values | passwords)["services"]["airflow-scheduler"]["environment"]
    assert make_url(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).password == password
    for conn_id in ("customer_source", "customer_backup"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", environment[f"AIRFLOW_CONN_{conn_id.upper()}"])
        assert BaseHook.get_connection(conn_id).password == password


# The connections


def test_every_declared_service_opens_in_the_stack(airflow: dict[str, str]) -> None:
    from backup_sync.hooks import open_stores
    from backup_sync.model.config import load_service, read_services

    opened = {}
    for name in read_services(CONFIG).services:
        source, backup = open_stores(load_service(CONFIG, name))
        opened[name] = (source.kind, source.label, backup.kind, backup.label)
    assert opened == {
        "customer": ("mssql", "customer_source", "mssql", "customer_backup"),
        "order": ("azure_cosmos", "order_source", "azure_cosmos", "order_backup"),
    }


@pytest.mark.parametrize(
    "end, server, database", [(0, "sqlserver", "CustomerDb"), (1, "sqlserver-backup", "CustomerDb_Backup")]
)
def test_customer_logs_in_to_its_own_sql_server(
    end: int,
    server: str,
    database: str,
    services: dict[str, dict[str, Any]],
    airflow: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pymssql

    from backup_sync.hooks import open_stores
    from backup_sync.model.config import load_service
    from backup_sync.stores.mssql.catalog import MssqlCatalog

    class Reached(Exception):
        pass

    asked: dict[str, Any] = {}

    def connect(**options: Any) -> None:
        asked.update(options)
        raise Reached

    monkeypatch.setattr(pymssql, "connect", connect)
    catalog = open_stores(load_service(CONFIG, "customer"))[end].catalog
    assert isinstance(catalog, MssqlCatalog)
    assert catalog.database == database
    with pytest.raises(Reached):
        _ = catalog.session.connection
    assert (asked["server"], int(asked["port"])) == (server, _inside(server))
    assert (asked["user"], asked["database"]) == ("sa", database)
    assert asked["password"] == services[server]["environment"]["MSSQL_SA_PASSWORD"]
    assert asked["password"] == services[server]["environment"]["SQLCMDPASSWORD"]


@pytest.mark.parametrize(
    "end, server, database", [(0, "cosmosdb", "orderdb"), (1, "cosmosdb-backup", "orderdb-backup")]
)
def test_order_finds_its_own_cosmos_account(
    end: int,
    server: str,
    database: str,
    services: dict[str, dict[str, Any]],
    values: dict[str, str],
    airflow: dict[str, str],
) -> None:
    from backup_sync.hooks import open_stores
    from backup_sync.model.config import load_service
    from backup_sync.stores.cosmos.catalog import CosmosCatalog

    catalog = open_stores(load_service(CONFIG, "order"))[end].catalog
    assert isinstance(catalog, CosmosCatalog)
    account, emulator = catalog.account, services[server]["environment"]
    endpoint = urlsplit(account.endpoint)
    assert (endpoint.scheme, endpoint.hostname) == (emulator["PROTOCOL"], server)
    assert endpoint.port == int(emulator.get("PORT", 8081)) == _inside(server)
    assert emulator["GATEWAY_PUBLIC_ENDPOINT"] == server  # where the emulator sends its clients
    assert (account.database, account.container) == (database, "orders")
    assert account.key == values["COSMOS_EMULATOR_KEY"]


def test_no_backup_is_its_own_source(airflow: dict[str, str]) -> None:
    from airflow.sdk import BaseHook

    from backup_sync.model.config import load_service, read_services

    for name in read_services(CONFIG).services:
        service = load_service(CONFIG, name)
        source, backup = BaseHook.get_connection(service.source), BaseHook.get_connection(service.backup)
        assert (source.host, source.conn_type == "azure_cosmos" and source.login) != (
            backup.host,
            backup.conn_type == "azure_cosmos" and backup.login,
        )


def test_every_connection_has_a_user(airflow: dict[str, str]) -> None:
    from backup_sync.model.config import load_service, read_services

    ends = [load_service(CONFIG, name) for name in read_services(CONFIG).services]
    needed = {conn_id for service in ends for conn_id in (service.source, service.backup)}
    given = {name.removeprefix("AIRFLOW_CONN_").lower() for name in airflow if name.startswith("AIRFLOW_CONN_")}
    assert given == needed | {airflow["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"]}


def test_the_seed_understands_its_command(airflow: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from local import seed

    class Reached(Exception):
        pass

    def reached() -> None:
        raise Reached

    python, option, module, *arguments = RAW_SERVICES["seed"]["command"]
    assert (python, option, module) == ("python", "-m", seed.__name__)
    assert "--unless-seeded" in arguments  # it runs again with each `up`
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setattr(seed, "Customers", reached)
    with pytest.raises(Reached):
        seed.main()


# Airflow's settings


def test_airflow_knows_every_option_that_is_set(airflow: dict[str, str]) -> None:
    options = [name.split("__")[1:] for name in airflow if name.startswith("AIRFLOW__")]
    assert len(options) > 15
    unknown = [".".join(option) for option in options if not _known(*map(str.lower, option))]
    assert unknown == []


def test_airflow_knows_every_command(services: dict[str, dict[str, Any]]) -> None:
    from airflow.cli.cli_parser import get_parser

    commands = [[services[name]["command"]] for name in AIRFLOW if isinstance(services[name]["command"], str)]
    checks = [services[name].get("healthcheck", {}).get("test", [""]) for name in AIRFLOW]
    commands += [shlex.split(check[1])[1:] for check in checks if check[0] == "CMD-SHELL"]
    assert len(commands) == 6
    for command in commands:
        assert callable(get_parser().parse_args(command).func), command


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_of_the_emulators_needs_nothing_but_bash(status: int | None, healthy: bool) -> None:
    asked = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_port
        if status is None:
            server.shutdown()
            server.server_close()
        kind, *command = interpolate(RAW_SERVICES["cosmosdb"]["healthcheck"]["test"], {})
        assert kind == "CMD"
        command[-1] = command[-1].replace("/127.0.0.1/8080", f"/127.0.0.1/{port}")
        found = subprocess.run(
            command, env={"PATH": "/nowhere"}, executable=shutil.which("bash"), timeout=30, check=False
        )
        server.shutdown()
    assert (found.returncode == 0) is healthy
    assert asked == (["/ready"] if status else [])


@pytest.mark.airflow
def test_health_checks_ask_what_airflow_serves() -> None:
    from airflow.api_fastapi.core_api.routes.public.monitor import monitor_router
    from airflow.configuration import conf

    scheduler = urlsplit(RAW_SERVICES["airflow-scheduler"]["healthcheck"]["test"][-1])
    assert RAW_SERVICES["airflow-scheduler"]["environment"]["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "True"
    assert scheduler.port == conf.getint("scheduler", "scheduler_health_check_server_port")
    apiserver = urlsplit(RAW_SERVICES["airflow-apiserver"]["healthcheck"]["test"][-1])
    assert apiserver.port == conf.getint("api", "port")
    assert apiserver.path in {f"/api/v2{route.path}" for route in monitor_router.routes}


def test_tasks_find_the_api_server(airflow: dict[str, str]) -> None:
    url = urlsplit(airflow["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
    assert (url.hostname, url.port, url.path) == ("airflow-apiserver", _inside("airflow-apiserver"), "/execution/")


def test_airflow_logs_in_to_the_postgres_of_the_stack(
    airflow: dict[str, str], services: dict[str, dict[str, Any]]
) -> None:
    url = urlsplit(airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    server = services["postgres"]["environment"]
    assert (url.scheme, url.hostname, url.port) == ("postgresql+psycopg2", "postgres", 5432)
    assert url.username == server["POSTGRES_USER"]
    assert url.password == server["POSTGRES_PASSWORD"]
    assert url.path == f"/{server['POSTGRES_DB']}"


def test_the_schedule_comes_from_env(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.settings import Settings, read_settings

    chosen = {
        "BACKUP_SYNC_ENABLED": "True",
        "BACKUP_SYNC_SCHEDULE": "*/5 * * * *",
        "BACKUP_SYNC_RETRIES": "7",
        "BACKUP_SYNC_RETRY_DELAY": "9",
    }
    for name, value in interpolate(RAW, values | chosen)["services"]["airflow-scheduler"]["environment"].items():
        if name.startswith("AIRFLOW__BACKUP_SYNC__"):
            monkeypatch.setenv(name, value)
    token = values["BACKUP_SYNC_WATCH_TOKEN"]
    assert read_settings() == Settings(True, "*/5 * * * *", 7, 9.0, None, None, "docs", watch_token=token)


def test_without_a_choice_the_stack_has_the_defaults(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_sync.settings import read_settings

    for name in list(os.environ):
        if name.startswith("AIRFLOW__BACKUP_SYNC__"):
            monkeypatch.delenv(name)
    defaults = read_settings()
    secret = "BACKUP_SYNC_WATCH_TOKEN"
    own = {name for name in EXAMPLE if name.startswith("BACKUP_SYNC_")} - {secret}
    without = {name: value for name, value in values.items() if name not in own}
    for some in (values, without):  # .env.example as it stands, and the defaults of the compose file
        for name, value in interpolate(RAW, some)["services"]["airflow-scheduler"]["environment"].items():
            if name.startswith("AIRFLOW__BACKUP_SYNC__"):
                monkeypatch.setenv(name, value)
        assert read_settings() == replace(defaults, watch_token=values[secret])


# Task logs and the initialization


def test_the_log_connection_leads_to_azurite(
    airflow: dict[str, str], services: dict[str, dict[str, Any]], values: dict[str, str]
) -> None:
    from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

    client = WasbHook(airflow["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"]).get_conn()
    account = "devstoreaccount1"
    assert client.primary_endpoint.rstrip("/") == f"http://azurite:{_inside('azurite', 10000)}/{account}"
    assert client.account_name == account
    assert client.credential.account_key == values["AZURITE_ACCOUNT_KEY"]
    assert services["azurite"]["environment"]["AZURITE_ACCOUNTS"] == f"{account}:{values['AZURITE_ACCOUNT_KEY']}"


def test_airflow_picks_the_azure_handler_for_the_log_folder(airflow: dict[str, str]) -> None:
    from airflow.providers.microsoft.azure.log.wasb_task_handler import WasbRemoteLogIO
    from airflow.providers_manager import ProvidersManager

    folder = airflow["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"]
    found = ProvidersManager().remote_logging_handler_by_scheme(urlsplit(folder).scheme)
    assert found is not None
    assert found.classpath == f"{WasbRemoteLogIO.__module__}.{WasbRemoteLogIO.__name__}"
    handler = WasbRemoteLogIO.from_config()
    assert handler.remote_base == "task-logs"
    assert handler.wasb_container == airflow["AIRFLOW__AZURE_REMOTE_LOGGING__REMOTE_WASB_LOG_CONTAINER"]


@pytest.mark.airflow
def test_initialization_makes_the_admins_password_and_the_place_for_logs(
    initialize: Callable[..., None],
    blobs: Blobs,
    airflow: dict[str, str],
    values: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    initialize(ADMIN_PASSWORD="an-old-one")
    initialize()  # `up` again, with another password in .env
    passwords = tmp_path / "passwords.json"
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "airflow.log").read_text() == "db migrate\n" * 2
    assert blobs.containers == {"/devstoreaccount1/airflow-logs"}

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    assert SimpleAuthManager.get_passwords() == {"admin": values["AIRFLOW_ADMIN_PASSWORD"]}
    assert [(user.username, user.role) for user in SimpleAuthManager.get_users()] == [("admin", "admin")]
    before = passwords.read_text()
    SimpleAuthManager().init()  # would make up a password for a user who has none
    assert passwords.read_text() == before


@pytest.mark.slow
def test_initialization_fails_when_there_is_no_place_for_logs(initialize: Callable[[], None], blobs: Blobs) -> None:
    blobs.broken = True
    with pytest.raises(subprocess.CalledProcessError):
        initialize()


def test_a_task_log_arrives_in_the_container_and_needs_it(
    blobs: Blobs, airflow: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.microsoft.azure.log.wasb_task_handler import WasbRemoteLogIO

    monkeypatch.setenv("AIRFLOW_CONN_AZURE_LOGS", blobs.instead_of_azurite(airflow["AIRFLOW_CONN_AZURE_LOGS"]))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    log = tmp_path / "dag_id=backup_sync" / "attempt=1.log"
    log.parent.mkdir()
    log.write_text("12 inserted\n")
    WasbRemoteLogIO.from_config().upload(log)
    assert blobs.blobs == {}  # why airflow-init makes the container
    blobs.containers.add("/devstoreaccount1/airflow-logs")
    WasbRemoteLogIO.from_config().upload(log)
    place = "/devstoreaccount1/airflow-logs/task-logs/dag_id=backup_sync/attempt=1.log"
    assert blobs.blobs == {place: b"12 inserted\n"}


class Blobs:
    """The few requests of blob storage that the two sides need, on the loopback interface."""

    def __init__(self) -> None:
        self.containers: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.broken = False
        handler = type("Handler", (_BlobHandler,), {"store": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def instead_of_azurite(self, connection: str) -> str:
        assert "azurite:10000" in connection
        return connection.replace("azurite:10000", f"127.0.0.1:{self.server.server_port}")


class _BlobHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Blobs

    def answer(self, body: bytes = b"") -> tuple[int, str]:
        url = urlsplit(unquote(self.path))
        store, container = self.store, parse_qs(url.query).get("restype") == ["container"]
        if store.broken:
            return 403, "AuthenticationFailed"
        if container and self.command == "PUT":
            known = url.path in store.containers
            store.containers.add(url.path)
            return (409, "ContainerAlreadyExists") if known else (201, "")
        if container:
            return (200, "") if url.path in store.containers else (404, "ContainerNotFound")
        if "/".join(url.path.split("/")[:3]) not in store.containers:
            return 404, "ContainerNotFound"
        if self.command == "PUT":
            store.blobs[url.path] = body
            return 201, ""
        return (200, "") if url.path in store.blobs else (404, "BlobNotFound")

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, code = self.answer(body)
        self.send_response(status)
        if code:
            self.send_header("x-ms-error-code", code)
        for name, value in {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = respond

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def blobs() -> Iterator[Blobs]:
    found = Blobs()
    found.thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    found.thread.join()


@pytest.fixture
def initialize(services: dict[str, dict[str, Any]], blobs: Blobs, tmp_path: Path) -> Callable[..., None]:
    """airflow-init's command as its container would run it, with a stand-in for the command ``airflow``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "airflow").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/airflow.log\n')
    (programs / "airflow").chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    service = services["airflow-init"]
    environment = {
        **service["environment"],
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",  # the driver is in the image only
        "AIRFLOW_CONN_AZURE_LOGS": blobs.instead_of_azurite(service["environment"]["AIRFLOW_CONN_AZURE_LOGS"]),
    }

    def run(**overrides: str) -> None:
        subprocess.run(service["command"], env=environment | overrides, cwd=tmp_path, check=True, timeout=120)

    return run


def test_the_passwords_file_is_on_the_volume_that_both_sides_mount() -> None:
    path = RAW_SERVICES["airflow-init"]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    mount = f"airflow-auth:{Path(path).parent}"
    assert [name for name in RAW_SERVICES if mount in RAW_SERVICES[name].get("volumes", [])] == [
        "airflow-init",
        "airflow-apiserver",
    ]
    assert f"RUN mkdir --mode=700 {Path(path).parent}\n" in DOCKERFILE  # else the volume belongs to root


# The image


def test_the_image_has_the_airflow_of_the_requirements() -> None:
    pinned = re.search(r"^apache-airflow==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    base = re.search(r"^FROM apache/airflow:([\d.]+)-python([\d.]+)$", DOCKERFILE, re.MULTILINE)
    assert pinned
    assert base
    assert base[1] == pinned[1]
    assert DOCKERFILE.count("FROM ") == 1
    assert base[2] in ("3.11", "3.12", "3.13")  # 3.10 would get the older providers of requirements.txt


def test_the_image_holds_what_the_services_run() -> None:
    copied = dict(re.findall(r"^COPY (\S+) (\S+)$", DOCKERFILE, re.MULTILINE))
    assert copied == {
        "requirements.txt": "/opt/airflow/requirements.txt",
        "local/": "/opt/airflow/local/",  # python -m local.seed, in /opt/airflow
        "plugins/": "/opt/airflow/plugins/",  # Airflow's defaults for the two
        "dags/": "/opt/airflow/dags/",
    }
    assert f"-r {copied['requirements.txt']}" in DOCKERFILE
    assert (ROOT / "local" / "seed.py").is_file()
    assert (ROOT / "plugins" / "backup_sync" / "__init__.py").is_file()
    assert (ROOT / "dags" / "backup_sync.yaml").is_file()


def test_the_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["airflow"]


@pytest.mark.parametrize(
    "path, expected",
    [
        ("requirements.txt", True),
        ("dags/backup_sync.yaml", True),
        ("plugins/backup_sync/stores/mssql/store.py", True),
        ("local/seed.py", True),
        ("local/__pycache__/seed.cpython-311.pyc", False),
        (".env", False),
        (".git/config", False),
        (".local/airflow/airflow.db", False),
        ("tests/test_compose.py", False),
    ],
)
def test_the_build_sees_only_what_it_copies(path: str, expected: bool) -> None:
    seen = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!").rstrip("/")
        if not rule or rule.startswith("#"):
            continue
        parts = path.split("/")
        tails = [parts[i:] for i in range(len(parts))] if rule.startswith("**/") else [parts]
        wanted = rule.removeprefix("**/")
        if any(fnmatch.fnmatchcase(tail[0], wanted) for tail in tails):
            seen = line.startswith("!")
    assert seen is expected


# airflow.cfg.example


@pytest.fixture(scope="module")
def cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(CFG_EXAMPLE)
    return parser


def test_the_example_has_exactly_the_options_that_are_read_with_their_defaults(
    cfg: configparser.ConfigParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backup_sync import settings

    read: dict[str, Any] = {}

    class Recorder:
        def get(self, section: str, option: str, fallback: Any) -> Any:
            assert section == "backup_sync"
            read[option] = fallback
            return fallback

        getboolean = getint = getfloat = get

    monkeypatch.setattr(settings, "conf", Recorder())
    settings.read_settings()
    assert set(cfg["backup_sync"]) == set(read)
    parse: dict[type, Callable[[str], Any]] = {bool: {"True": True, "False": False}.__getitem__}
    shown = {
        option: parse.get(type(default), type(default))(cfg["backup_sync"][option]) for option, default in read.items()
    }
    assert shown == read
    in_compose = {name.lower() for name in RAW_SERVICES["seed"]["environment"] if "__BACKUP_SYNC__" in name}
    assert in_compose == {f"airflow__backup_sync__{option}" for option in read}


def test_every_option_of_the_example_has_a_comment_and_its_variable(cfg: configparser.ConfigParser) -> None:
    for section in cfg.sections():
        for option in cfg[section]:
            variable = f"AIRFLOW__{section}__{option}".upper()
            assert re.search(rf"^# .*[.]\n# {variable}\n{option} =", CFG_EXAMPLE, re.MULTILINE), option


def test_airflow_has_every_option_of_the_example(cfg: configparser.ConfigParser) -> None:
    assert [f"{s}.{option}" for s in cfg.sections() for option in cfg[s] if not _known(s, option)] == []


def test_the_example_names_the_log_store_of_the_stack(cfg: configparser.ConfigParser, airflow: dict[str, str]) -> None:
    same = [("logging", "remote_base_log_folder"), ("logging", "remote_log_conn_id")]
    for section, option in [*same, ("azure_remote_logging", "remote_wasb_log_container"), ("core", "executor")]:
        assert cfg[section][option] == airflow[f"AIRFLOW__{section}__{option}".upper()]


def test_the_schedule_is_in_utc_whatever_the_default_timezone() -> None:
    source = (ROOT / "plugins" / "backup_sync" / "dags" / "sync.py").read_text()
    assert "tzinfo=timezone.utc" in source  # the comments in airflow.cfg.example and .env.example rest on it


def _inside(service: str, host: int | None = None) -> int:
    """The container's port that a service publishes."""
    return next(inside for port, (name, inside) in PORTS.items() if name == service and host in (None, port))


def _known(section: str, option: str) -> bool:
    from airflow.configuration import conf

    described = conf.configuration_description
    return section == "backup_sync" or option in described.get(section, {}).get("options", {})


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _strings(value)
    if isinstance(node, str):
        yield node

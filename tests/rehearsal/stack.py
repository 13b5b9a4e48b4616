"""The compose stack without Docker: the commands and the environment of docker-compose.yml, on this machine.

What differs from the file is said in one place, :meth:`Stack.here`: addresses inside the stack become ports of this
machine, paths of the image become folders of the rehearsal, and the two SQL Servers are those that the tests are given.
PostgreSQL and Azurite are the real ones; the Cosmos DB emulators are stood in for by the embedded server.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from local.airflow_processes import end_sessions, free_port, tail
from local.cosmos import EmbeddedCosmos
from tests.compose import RAW, ROOT, filled_in, interpolate

SQL_SERVERS = {
    "sqlserver": "BACKUP_SYNC_TEST_MSSQL_SOURCE",
    "sqlserver-backup": "BACKUP_SYNC_TEST_MSSQL_BACKUP",
}
SERVICES = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
FIXED_PORTS = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": 8974,
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": 8793,
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": 8794,
}
"""Each container has these to itself; here they may be taken."""


def missing() -> str:
    """What this machine lacks for a rehearsal; empty if it has all."""
    needed = [name for name in ("npm", "node", "bash", "curl") if not shutil.which(name)]
    if not postgres("initdb"):
        needed.append("PostgreSQL (initdb)")
    needed += [variable for variable in SQL_SERVERS.values() if not os.environ.get(variable)]
    return ", ".join(needed)


def postgres(program: str) -> str | None:
    """Where a program of PostgreSQL is; Debian keeps them from the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(program, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))


class Stack:
    """Where everything is, and what runs. ``folder``: for the data of the servers, and the logs of all processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = filled_in()
        self.services: dict[str, dict[str, Any]] = interpolate(RAW, self.values)["services"]
        self.ports = {name: free_port() for name in ("postgres", "azurite", "airflow-apiserver", *FIXED_PORTS)}
        self.cosmos: dict[str, EmbeddedCosmos] = {}
        self.database = f"Rehearsal{os.getpid()}"
        self._running: list[subprocess.Popen[bytes]] = []

    # the file, here

    def environment(self, service: str) -> dict[str, str]:
        """The environment of a service's container: what the file says, and what the image has besides."""
        found = {name: self.here(name, value) for name, value in self.services[service]["environment"].items()}
        image = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__PORT": str(self.ports["airflow-apiserver"]),
            "PYTHONPATH": f"{self.home}{os.pathsep}{self.home / 'plugins'}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "NO_PROXY": "127.0.0.1,localhost",
            "HOSTNAME": socket.gethostname(),
        }
        return image | {name: str(self.ports[name]) for name in FIXED_PORTS} | found

    def here(self, name: str, value: str) -> str:
        """What stands in the file, with this machine's addresses and folders."""
        if name.startswith("AIRFLOW_CONN_CUSTOMER_"):
            return self._sql_server(json.loads(value))
        for host, port in {
            "postgres:5432": self.ports["postgres"],
            "azurite:10000": self.ports["azurite"],
            "airflow-apiserver:8080": self.ports["airflow-apiserver"],
            **{f"{service}:8081": server.port for service, server in self.cosmos.items()},
        }.items():
            value = value.replace(f"@{host}", f"@127.0.0.1:{port}").replace(f"//{host}", f"//127.0.0.1:{port}")
        return value.replace("/opt/airflow", str(self.home))

    def _sql_server(self, connection: dict[str, Any]) -> str:
        given = sql_server_of(os.environ[SQL_SERVERS[connection["host"]]])
        given["schema"] = connection["schema"].replace("CustomerDb", self.database)
        return json.dumps(connection | given)

    def command(self, service: str) -> list[str]:
        """What the container runs: the image's entry point puts ``airflow`` before a command that is its own."""
        command = self.services[service]["command"]
        words = shlex.split(command) if isinstance(command, str) else list(command)
        return words if words[0] in ("bash", "python") else ["airflow", *words]

    @property
    def home(self) -> Path:
        return self.folder / "airflow"

    # running it

    @contextmanager
    def servers(self) -> Iterator[None]:
        """PostgreSQL, Azurite and the two Cosmos DB servers, and the files that the image holds."""
        self.home.mkdir(parents=True)
        (self.home / "auth").mkdir(mode=0o700)
        for part in ("dags", "plugins", "local"):
            (self.home / part).symlink_to(ROOT / part)
        key = self.values["COSMOS_EMULATOR_KEY"]
        with (
            EmbeddedCosmos(self.folder / "cosmosdb.sqlite", key=key) as source,
            EmbeddedCosmos(self.folder / "cosmosdb-backup.sqlite", key=key) as backup,
        ):
            self.cosmos = {"cosmosdb": source, "cosmosdb-backup": backup}
            for server in self.cosmos.values():
                server.like_the_emulator()
            try:
                self._postgres()
                self._azurite()
                yield
            finally:
                self.stop()

    def _postgres(self) -> None:
        data = self.folder / "postgres"
        data.mkdir(mode=0o700)
        password = self.folder / "postgres.password"
        password.write_text(self.values["POSTGRES_PASSWORD"])
        user = None
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = next(found for name in ("postgres", "nobody") if (found := _uid(name)) is not None)
            for place in (data, password):
                os.chown(place, user, -1)
            for folder in (self.folder, *self.folder.parents):
                with suppress(PermissionError):
                    folder.chmod(folder.stat().st_mode | 0o111)
        make = [
            postgres("initdb"),
            "-D",
            data,
            "-U",
            "airflow",
            "--pwfile",
            password,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
        ]
        subprocess.run(make, user=user, check=True, capture_output=True, cwd="/")
        port = self.ports["postgres"]
        serve = [postgres("postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", data]
        self.start("postgres", list(map(str, serve)), dict(os.environ), user=user)
        until_open(port)
        make_database = [postgres("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "airflow", "airflow"]
        environment = {**os.environ, "PGPASSWORD": self.values["POSTGRES_PASSWORD"]}
        _retried(lambda: subprocess.run(make_database, env=environment, check=True, capture_output=True))

    def _azurite(self) -> None:
        """The version of the file, from npm; kept below .local for the next time."""
        service = self.services["azurite"]
        version = service["image"].rpartition(":")[2]
        place = ROOT / ".local" / f"azurite-{version}"
        program = place / "node_modules" / ".bin" / "azurite"
        if not program.exists():
            install = [
                "npm",
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--prefix",
                str(place),
                f"azurite@{version}",
            ]
            subprocess.run(install, check=True, capture_output=True, timeout=300)
        name, *arguments = self.command("azurite")[1:]
        assert name == "azurite"
        words = [
            "127.0.0.1" if word == "0.0.0.0" else word.replace("/data", str(self.folder / "blobs"))
            for word in arguments
        ]
        ports = ["--blobPort", str(self.ports["azurite"]), "--queuePort", "0", "--tablePort", "0"]
        self.start("azurite", [str(program), *words, *ports], {**os.environ, **service["environment"]})
        until_open(self.ports["azurite"])

    def run(self, service: str, seconds: float = 300) -> str:
        """Run a one-shot to its end, which has to be a good one; what it printed."""
        ended = subprocess.run(
            self.command(service), env=self.environment(service), cwd=self.home, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{service}: {ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout

    def start(self, name: str, command: list[str], environment: Mapping[str, str], user: int | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=user,
                )
            )

    def start_airflow(self, seconds: float = 180) -> None:
        """The four services of Airflow; returns when the health checks of the file say that all are well."""
        for service in SERVICES:
            self.start(service, self.command(service), self.environment(service))
        deadline = time.monotonic() + seconds
        for service in SERVICES:
            while not self.healthy(service):
                assert time.monotonic() < deadline, tail(self.folder / f"{service}.log")
                time.sleep(2)

    def healthy(self, service: str) -> bool:
        """What the health check of the file finds."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            command = ["bash", "-c", *command]
        for fixed, port in (
            (8080, self.ports["airflow-apiserver"]),
            *((FIXED_PORTS[n], self.ports[n]) for n in FIXED_PORTS),
        ):
            command = [word.replace(f"localhost:{fixed}", f"127.0.0.1:{port}") for word in command]
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                command, env=self.environment(service), cwd=self.home, capture_output=True, timeout=30, check=False
            ).returncode == 0  # fmt: skip
        return False

    def log(self, service: str) -> str:
        return tail(self.folder / f"{service}.log")

    def stop(self) -> None:
        for process in reversed(self._running):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        end_sessions([process.pid for process in self._running])
        for process in self._running:
            process.wait()
        self._running.clear()


def sql_server_of(uri: str) -> dict[str, Any]:
    """Where a server is and who logs in there, in the words of an Airflow connection."""
    parts = urlsplit(uri)
    return {
        "host": parts.hostname,
        "port": parts.port or 1433,
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }


def until_open(port: int, seconds: float = 60) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, f"nothing listens on port {port}"
        time.sleep(0.2)


def _retried(action: Any, tries: int = 20) -> None:
    for left in range(tries, -1, -1):
        try:
            action()
            return
        except subprocess.CalledProcessError:
            if not left:
                raise
            time.sleep(0.5)


def _uid(name: str) -> int | None:
    with suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None

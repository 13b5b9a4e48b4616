"""Airflow's processes on this machine: starting and ending them, waiting until they are up, and talking to them.

Each process leads its own session. Tasks lead their own process *groups*, so a signal to a group does not
reach everything, but nothing of Airflow leaves its session: that is how the last process is found when all have to
end. A guard does the same if whoever started them dies without a chance to clean up.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import psutil

from local.environment import ROOT, Places

if TYPE_CHECKING:
    from typing_extensions import Self

COMPONENTS = ("api-server", "task-api", "scheduler", "dag-processor")
"""What it takes to run DAGs without deferrable operators."""
# The API for users and the one for tasks are served apart: a user's request may wait for SQLite's write lock on the
# server's event loop, and if a task's request in the same process holds it, neither gets on before one has failed.
# The log servers would listen on fixed ports of all interfaces, and the API server reads the files anyhow.
_ARGUMENTS = {
    "api-server": ["api-server", "--apps", "core"],
    "task-api": ["api-server", "--apps", "execution"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
PATIENCE_SECONDS = 10.0
_PASSWORDS = "passwords.json"


class AirflowDown(Exception):
    """A process of Airflow ended or never got ready; the text holds the end of its log."""


def server_environment(places: Places, port: int, roles: Mapping[str, str]) -> dict[str, str]:
    """What the processes need besides ``airflow_environment``: ports, a secret, and who may log in.

    ``port``: the one for users; tasks get one of their own. ``roles``: user → role of the simple auth manager; see :func:`passwords`.
    """
    passwords(places, roles)
    unproxied = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1", "localhost"]
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{free_port()}/execution/",
        # All processes sign and check with it; nothing that it signed outlives them.
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in roles.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(places.airflow / _PASSWORDS),
        # The end of a task can go unnoticed for this long (5 seconds by default).
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "NO_PROXY": ",".join(filter(None, unproxied)),
    }


def passwords(places: Places, users: Collection[str]) -> dict[str, str]:
    """The passwords by user; those that are missing are made up and kept in ``passwords.json``."""
    file = places.airflow / _PASSWORDS
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    found = {user: kept.get(user) or secrets.token_urlsafe(9) for user in users}
    if kept != kept | found:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(kept | found) + "\n")
    return found


def free_port(first: int = 0) -> int:
    """``first`` or the next port on which nobody listens; without it any free one."""
    while True:
        with socket.socket() as probe:
            if not first:
                probe.bind(("127.0.0.1", 0))
                return int(probe.getsockname()[1])
            if probe.connect_ex(("127.0.0.1", first)) != 0:
                return first
        first += 1


class AirflowProcesses:
    """The processes of one Airflow installation, as a context manager. Each writes its output to ``<name>.log``.

    ``environment``: all that they see; it has to hold what :func:`server_environment` returned.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path, components: Sequence[str] = COMPONENTS) -> None:
        self.environment, self.logs, self.components = environment, logs, components
        self.port = int(environment["AIRFLOW__API__PORT"])
        self.task_api = environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        guard = [sys.executable, "-m", "local.airflow_processes"]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
        assert self._guard.stdin is not None
        for name in self.components:
            with (self.logs / f"{name}.log").open("wb") as out:
                port = ["--port", str(urlsplit(self.task_api).port)] if name == "task-api" else []
                process = subprocess.Popen(
                    [sys.executable, "-m", "airflow", *_ARGUMENTS.get(name, [name]), *port],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self.environment,
                    start_new_session=True,
                )
            self._running[name] = process
            self._guard.stdin.write(b"%d\n" % process.pid)
            self._guard.stdin.flush()

    def stop(self) -> None:
        """End all processes and whatever they started; returns when the last one is gone."""
        end_sessions(self.sessions)
        for process in self._running.values():
            process.wait()
        if self._guard is not None:
            self._guard.communicate()  # closes its input; nothing is left for it to end
        self._running, self._guard = {}, None

    @property
    def sessions(self) -> list[int]:
        """The ids of the processes' sessions; :func:`members` tells who is in them."""
        return [process.pid for process in self._running.values()]

    def tail(self, name: str) -> str:
        """The end of what a process wrote, with a heading."""
        return tail(self.logs / f"{name}.log")

    def check(self) -> None:
        """Raise AirflowDown if one of the processes has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise AirflowDown(f"airflow {name} ended with {process.returncode}\n{self.tail(name)}")

    def wait_until_healthy(self, seconds: float = 120) -> None:
        """Wait until both APIs answer and say that the other processes are alive. Raises AirflowDown."""
        names = {"metadatabase": "api-server", "scheduler": "scheduler", "dag_processor": "dag-processor"}
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            health = _ask(f"http://127.0.0.1:{self.port}/api/v2/monitor/health")
            missing = [log for part, log in names.items() if health.get(part, {}).get("status") != "healthy"]
            if not _ask(f"{self.task_api}health"):
                missing.append("task-api")
            if not missing:
                return
            if time.monotonic() > deadline:
                tails = "\n".join(self.tail(name) for name in missing)
                raise AirflowDown(f"not ready after {seconds:.0f} s: {', '.join(missing)}\n{tails}")
            time.sleep(0.5)


def _ask(url: str) -> dict[str, Any]:
    """What a server says, or nothing as long as it says nothing."""
    found: dict[str, Any] = {}
    with contextlib.suppress(httpx.HTTPError, ValueError):
        found = httpx.get(url, timeout=10, trust_env=False).raise_for_status().json()
    return found


class Api:
    """A user's way to the REST API; paths are those below ``/api/v2/``."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        answer = self.client.post("/auth/token", json={"username": user, "password": password})
        self.client.headers["Authorization"] = f"Bearer {_good(answer).json()['access_token']}"

    def send(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """The answer, whatever its status."""
        return self.client.request(method, f"/api/v2/{path}", json=body, params=query)

    def get(self, path: str, **query: Any) -> Any:
        """What the API has to say about ``path``. Raises RuntimeError for any status but success."""
        return _good(self.send("GET", path, **query)).json()

    def post(self, path: str, body: Any) -> Any:
        return self._write("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self._write("PATCH", path, body)

    def _write(self, method: str, path: str, body: Any) -> Any:
        for _ in range(20):
            answer = self.send(method, path, body)
            # SQLite refuses at once what was begun before another process wrote; nothing is done then.
            if answer.status_code not in (500, 503) or "database" not in answer.text.lower():
                break
            time.sleep(0.5)
        return _good(answer).json()

    def close(self) -> None:
        self.client.close()


def _good(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        request = answer.request
        raise RuntimeError(f"{request.method} {request.url}: {answer.status_code} {answer.text[:2000]}")
    return answer


def tail(log: Path) -> str:
    """The last lines of a file (their beginnings, where they are very long), with a heading."""
    text = log.read_text(errors="replace") if log.exists() else "(no such file)"
    return "\n".join([f"--- the end of {log.name}:", *(line[:400] for line in text.splitlines()[-40:])])


def members(sessions: Collection[int]) -> list[psutil.Process]:
    """All living processes of these sessions, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_sessions(sessions: Collection[int]) -> None:
    """End every process of these sessions: their leaders' groups in good order, and what is left then at once."""
    if not members(sessions):
        return
    for leader in sessions:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := members(sessions):
        if time.monotonic() > deadline:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(0.1)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does; signals that come while it cleans up change nothing."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    # The guard: reads ids of sessions, and ends those that are left when its input ends.
    end_sessions([int(line) for line in sys.stdin])

"""The server in a process of its own, for tests and for development."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .auth import DEFAULT_KEY
from .certificate import certificate_of

_START_SECONDS = 20.0
_ROOT = Path(__file__).resolve().parents[2]


class EmbeddedCosmos:
    """A Cosmos development server in a subprocess, as a context manager.

    The server ends with the block, and also when the process that started it dies.
    """

    def __init__(
        self,
        data: Path,
        port: int = 0,
        partitions: int = 4,
        key: str = DEFAULT_KEY,
        throughput: int | None = None,
        tls: bool = False,
    ):
        self.data = Path(data)
        self.port = port
        self.partitions = partitions
        self.key = key
        self.throughput = throughput
        self.tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The address for CosmosClient."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        """Where the server writes its errors."""
        return self.data.with_name(self.data.name + ".log")

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process else None

    def __enter__(self) -> EmbeddedCosmos:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; a second start takes the port of the first."""
        if self._process is not None:
            raise RuntimeError("the server is running already")
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "local.cosmos", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--data", str(self.data), "--partitions", str(self.partitions), "--with-parent"]
        if self.throughput is not None:
            command += ["--throughput", str(self.throughput)]
        if self.tls:
            command.append("--tls")
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        # The key goes by the environment: a command line can be read by others.
        environment = {**os.environ, "PYTHONPATH": path, "LOCAL_COSMOS_KEY": self.key}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip
        match = re.search(rb"https?://[^/]*:(\d+)/", self._first_line())
        if match is None:
            self.kill()
            raise RuntimeError(f"the server did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
        self.port = int(match.group(1))

    def stop(self) -> None:
        """End the server in good order (SIGTERM), and its process group whatever happens."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL)

    def throttle(self, ru_per_second: float | None) -> None:
        """Answer 429 above this many request units per second (for all partitions together); None: no limit."""
        self._control("throttle", ru_per_second=ru_per_second)

    def fail(
        self,
        status: int = 503,
        count: int = 1,
        method: str | None = None,
        path_contains: str | None = None,
        sub_status: int | None = None,
        after: int = 0,
        operation: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        """Answer the next `count` matching requests with an error, without applying them.

        The first `after` matching requests still go through. Without `path_contains` only requests about documents
        match; `operation` is a name as in stats(), such as "CreateDocument"; `retry_after_ms` asks the client to wait.
        """
        rule = {
            "status": status,
            "sub_status": sub_status,
            "count": count,
            "after": after,
            "retry_after_ms": retry_after_ms,
        }
        self._fault("fail", method, path_contains, operation, rule)

    def drop(
        self,
        count: int = 1,
        after: int = 0,
        method: str | None = None,
        path_contains: str | None = None,
        operation: str | None = None,
    ) -> None:
        """Cut the connection of the next `count` matching requests without applying or answering them."""
        self._fault("drop", method, path_contains, operation, {"count": count, "after": after})

    def drop_after_apply(
        self,
        count: int = 1,
        after: int = 0,
        method: str | None = None,
        path_contains: str | None = None,
        operation: str | None = None,
    ) -> None:
        """Apply the next `count` matching requests, then cut the connection without an answer."""
        self._fault("drop_after_apply", method, path_contains, operation, {"count": count, "after": after})

    def delay(self, milliseconds: float) -> None:
        """Let each request wait that long before it is served; 0: no delay."""
        self._control("delay", milliseconds=milliseconds)

    def like_the_emulator(self) -> None:
        """Answer from whole partitions whatever slice is asked about, and charge nothing, as the vNext emulator does."""
        self._control("emulator")

    def reset_faults(self) -> None:
        """No failures, delays or limits any more."""
        self._control("reset_faults")

    def stats(self) -> dict[str, Any]:
        """Counters: requests (by operation), request_charge, throttled, documents_read (as whole bodies)."""
        found: dict[str, Any] = self._control("stats")
        return found

    def reset_stats(self) -> None:
        """Start counting anew."""
        self._control("reset_stats")

    def split(self, within: tuple[str, str, Any] | None = None) -> list[str]:
        """Split each physical range in two; requests for the old ones get 410. The new ids.

        ``within``: database, container and a first-level value of its hierarchical key. Then only the range with that
        value's documents is split, between two of its second-level values: its bound has 64 digits.
        """
        ids: list[str] = self._control("split", within=within)
        return ids

    def put_raw(self, database: str, container: str, document: dict[str, Any] | str) -> dict[str, Any]:
        """Store an object (or its JSON text) as it is, even without id or partition key; what was stored."""
        text = document if isinstance(document, str) else json.dumps(document)
        names = f'"database":{json.dumps(database)},"container":{json.dumps(container)}'
        stored: dict[str, Any] = self._send("put_raw", f'{{{names},"document":{text}}}')
        return stored

    def grant(self, principal: str, role: str | None) -> None:
        """Let tokens of this principal (an object id) do what the built-in "reader" or "contributor" may; None: nothing."""
        self._control("grant", principal=principal, role=role)

    def take_keys(self, taken: bool) -> None:
        """Whether the account's key is taken; False is the service's `disableLocalAuth`."""
        self._control("keys", taken=taken)

    def _fault(
        self, kind: str, method: str | None, path: str | None, operation: str | None, rule: dict[str, Any]
    ) -> None:
        self._control("fault", kind=kind, method=method, path_contains=path, operation=operation, **rule)

    def _control(self, route: str, **arguments: Any) -> Any:
        return self._send(route, json.dumps(arguments))

    def _send(self, route: str, body: str) -> Any:
        request = urllib.request.Request(f"{self.endpoint}_control/{route}", body.encode(), method="POST")
        # No proxy: this is always the same machine.
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if self.tls:
            trust = ssl.create_default_context(cafile=str(certificate_of(self.data)))
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as problem:
            with problem:
                raise RuntimeError(f"control route {route}: {problem.read().decode(errors='replace')}") from None

    def _first_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        lines: list[bytes] = []

        def read(stream: IO[bytes]) -> None:
            lines.append(stream.readline())

        reader = threading.Thread(target=read, args=(self._process.stdout,), daemon=True)
        reader.start()
        reader.join(_START_SECONDS)
        return lines[0] if lines else b""

    def _end(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        if process.poll() is None:
            process.send_signal(first)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(process.pid)
            process.wait()
            if process.stdout:
                process.stdout.close()


def _kill_group(pid: int) -> None:
    for _ in range(3):
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.01)

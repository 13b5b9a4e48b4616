"""The server process: one uvicorn server over one store."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from .access import Access
from .app import build
from .certificate import certificate
from .connections import Connections
from .faults import Faults
from .service import Service
from .storage import Store


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free port."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, line: str):
        super().__init__(config)
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._line, flush=True)


def run(
    data: Path,
    host: str,
    port: int,
    partitions: int,
    key: str,
    throughput: int | None,
    with_parent: bool,
    tls: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT (or, with `with_parent`, until standard input ends).

    `tls`: by https, with a certificate of its own.
    """
    store = Store(data, partitions)
    faults = Faults()
    faults.set_throughput(throughput)
    connections = Connections()
    listener = listen(host, port)
    app = build(Service(store, faults), Access(key, store.account), faults, connections)
    file = certificate(data) if tls else None
    config = uvicorn.Config(
        app,
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        # The application gives each answer its date.
        date_header=False,
        # A client that finds a connection closed while it sends must not take this for a failed write.
        timeout_keep_alive=600,
        timeout_graceful_shutdown=2,
        ssl_certfile=file,
    )
    shown = f"[{host}]" if ":" in host else host
    number, scheme = listener.getsockname()[1], "https" if tls else "http"
    server = _Server(config, f"Cosmos development server ready on {scheme}://{shown}:{number}/ (data: {data})")
    if with_parent:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        store.close()


def _end_with_stdin() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

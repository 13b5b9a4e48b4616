"""A bad network: a TCP proxy that cuts, delays, truncates, refuses and keeps silent."""

from __future__ import annotations

import itertools
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    ``requests`` and ``answers``: how many bytes pass in that direction before it is cut (None: all). Of what is in
    flight then, the first part still arrives. ``delay``: seconds that each answer's piece waits. ``refuse``: the
    connection is closed before anything passes. ``silent``: it is accepted, and nothing ever passes. ``reset``: cut by a RST, otherwise in good order, as if all were said.
    """

    requests: int | None = None
    answers: int | None = None
    delay: float = 0.0
    refuse: bool = False
    silent: bool = False
    reset: bool = True


class Proxy:
    """Listens on a free port of this machine. ``faults``: those of the next connections, one each; then none."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.faults: list[Fault] = []
        self.struck = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def cut(self) -> None:
        """Cut all connections that are open now."""
        with self._lock:
            found = list(self._open)
        for end in found:
            self._close(end, reset=True)

    def ill(self, seed: int, connections: int, size: int) -> None:
        """Faults for so many connections, each at some place within ``size`` bytes."""
        dice = random.Random(seed)
        self.faults.append(Fault(answers=dice.randrange(1, 1_500)))  # at least this one is sure to come
        for _ in range(connections):
            at, reset = int(size ** dice.random()), dice.random() < 0.5
            self.faults.append(
                dice.choice(
                    [
                        Fault(requests=at, reset=reset),
                        Fault(answers=at, reset=reset),
                        Fault(answers=at, delay=0.01, reset=reset),
                        Fault(refuse=True, reset=reset),
                    ]
                )
            )

    def _accept(self) -> None:
        for number in itertools.count():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            fault = self.faults.pop(0) if self.faults else Fault()
            with self._lock:
                self._open.add(client)
            if fault.refuse:
                self.struck += 1
                self._close(client, fault.reset)
                continue
            if fault.silent:
                self.struck += 1
                continue
            try:
                server = socket.create_connection(self.target)
            except OSError:
                self._close(client, reset=True)
                continue
            with self._lock:
                self._open.add(server)
            for name, *way in (
                ("requests", client, server, fault.requests, 0.0),
                ("answers", server, client, fault.answers, fault.delay),
            ):
                threading.Thread(
                    target=self._pass, args=(*way, fault.reset), name=f"proxy-{number}-{name}", daemon=True
                ).start()

    def _pass(self, here: socket.socket, there: socket.socket, left: int | None, delay: float, reset: bool) -> None:
        struck = False
        try:
            while data := here.recv(65_536):
                if delay:
                    time.sleep(delay)
                if left is not None and len(data) >= left:
                    there.sendall(data[:left])
                    self.struck, struck = self.struck + 1, True
                    break
                left = None if left is None else left - len(data)
                there.sendall(data)
        except OSError:
            pass
        self._close(here, reset and struck)
        self._close(there, reset and struck)

    def _close(self, end: socket.socket, reset: bool) -> None:
        with self._lock:
            if end not in self._open:
                return
            self._open.remove(end)
        try:
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        # Another thread may wait in recv(), which close() alone would not end.
        try:
            end.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        end.close()

"""Two embedded Cosmos servers that the tests of a process share: to start a pair takes longer than most tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from local.cosmos import EmbeddedCosmos

PARTITIONS = (3, 2)
"""Source and backup, on purpose not the same."""


class Server(EmbeddedCosmos):
    """Remembers that it was split, for that cannot be undone."""

    was_split = False

    def split(self, *arguments: Any, **options: Any) -> list[str]:
        self.was_split = True
        return super().split(*arguments, **options)


class Pairs:
    """Lends the same two servers again and again, or others where the last test left them in a state for good."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self._pair: list[Server] = []
        self._started = 0

    def lend(self) -> list[EmbeddedCosmos]:
        """Source and backup, with no faults and nothing counted. What others stored stays: use names of your own."""
        if not self._pair or any(server.was_split or server.pid is None for server in self._pair):
            self.close()
            self._start()
        for server in self._pair:
            server.reset_faults()
            server.reset_stats()
        return list(self._pair)

    def _start(self) -> None:
        self._started += 1
        folder = self._folder / str(self._started)
        self._pair = [
            Server(folder / f"{end}.sqlite", partitions=count)
            for end, count in zip(("source", "backup"), PARTITIONS, strict=True)
        ]
        for server in self._pair:
            self._running.callback(server.stop)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.start, self._pair))

    def close(self) -> None:
        self._running.close()
        self._pair = []

"""What a session does for the parts of a SQL store, whatever the driver: the one way to run a statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]

FETCH_ROWS = 2_000
"""Rows of a page, unless a statement asks for another number."""


class SqlSession(Protocol):
    """A store's way to its database. It connects with the first statement; a driver's error is raised as one of our own."""

    label: str
    """How messages call this end: the connection id."""

    def pages(
        self, sql: str, params: Sequence[Any] = (), size: int = FETCH_ROWS, *, heavy: bool = False
    ) -> Iterator[list[Row]]:
        """Run a statement and stream its rows, ``size`` at a time; ``heavy``: whole rows, fewer of them where they hold much."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> Iterator[Row]:
        """Run a statement and stream its rows one by one."""

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement that returns no rows; the number of rows it changed."""

    def scalar(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first value of the first row; None if there is no row."""

    def transaction(self) -> AbstractContextManager[None]:
        """All statements of the block, or none of them."""

    def close(self) -> None: ...

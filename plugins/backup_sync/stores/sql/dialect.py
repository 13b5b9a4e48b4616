"""The words in which SQL products differ where the flow is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backup_sync.stores.sql.session import Row, SqlSession
from backup_sync.stores.sql.shape import Column, Types

Kind = str
"""Of a value in a table of ours: ``uuid``, ``text``, ``count``, ``flag``, ``moment``, ``real``."""


@dataclass(frozen=True)
class Dialect:
    """One SQL product's words.

    ``quote``: a name as it stands in a statement. ``kinds``: the type of a column that holds a kind of value.
    ``slot``: the placeholder of a parameter of a kind. ``newest_first``: what stands behind SELECT, and at the end, of a
    statement that wants so many rows. ``exists``: whether a table (named as in a statement) is there. ``rows_if_there``:
    the rows of a SELECT from a table, none where it is missing. ``no_value``: NULL, of a column's type where that matters.
    ``is_integer``: whether a column's type is that of whole numbers. ``types``: which type of a column holds which.
    """

    quote: Callable[[str], str]
    kinds: Mapping[Kind, str]
    slot: Callable[[Kind], str]
    newest_first: Callable[[int], tuple[str, str]]
    exists: Callable[[SqlSession, str], bool]
    rows_if_there: Callable[[SqlSession, str, str, Sequence[Any]], Iterator[Row]]
    no_value: Callable[[Column], str]
    is_integer: Callable[[Column], bool]
    types: Types

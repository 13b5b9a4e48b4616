"""SQLite's words: names, types, and how to ask whether a table is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any

from backup_sync.model.names import UPPER
from backup_sync.stores.sql.dialect import Dialect
from backup_sync.stores.sql.session import Row, SqlSession
from backup_sync.stores.sql.shape import Types

SQLITE_TYPES = {"uuid": "TEXT", "text": "TEXT", "count": "INTEGER", "flag": "INTEGER", "moment": "TEXT", "real": "REAL"}


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def in_main(name: str) -> str:
    """A table of the database itself, and of no other one that is attached."""
    return f"main.{quote(name)}"


@lru_cache(maxsize=1_000)
def written(type_: str) -> str:
    """A declared type as a CREATE TABLE may say it again: a type may be any text, such as ``[not null]`` or ``a,b``.

    SQLite's catalog gives it without the quotes it may have had. Bare where SQLite reads it as just that, otherwise in
    quotes, which say the same.
    """
    with closing(sqlite3.connect(":memory:")) as scratch:
        try:
            scratch.execute(f"CREATE TABLE t (c {type_})")
            if [tuple(row[1:]) for row in scratch.execute("PRAGMA table_xinfo(t)")] == [("c", type_, 0, None, 0, 0)]:
                return type_
        except sqlite3.Error:
            pass
    return quote(type_)


def affinity(type_: str) -> str:
    """What SQLite makes of a declared type (https://www.sqlite.org/datatype3.html#determination_of_column_affinity)."""
    for words, found in (
        (("INT",), "INTEGER"),
        (("CHAR", "CLOB", "TEXT"), "TEXT"),
        (("BLOB",), "BLOB"),
        (("REAL", "FLOA", "DOUB"), "REAL"),
    ):
        if any(word in type_.translate(UPPER) for word in words):
            return found
    return "NUMERIC" if type_.strip() else "BLOB"


def _same(old: str, new: str) -> bool:
    return affinity(old) == affinity(new)


def _never(old: str, new: str) -> bool:
    """A declared length or precision means nothing to SQLite, so there is nothing to widen."""
    return False


def columns_of(session: SqlSession, table: str) -> list[Row]:
    """The columns of a table that was named by :func:`in_main`, as SQLite lists them; none if it is not there."""
    return list(session.query(f"PRAGMA main.table_xinfo({table.removeprefix('main.')})"))


def _rows_if_there(session: SqlSession, table: str, sql: str, params: Sequence[Any]) -> Iterator[Row]:
    if columns_of(session, table):
        yield from session.query(sql, params)


DIALECT = Dialect(
    quote=quote,
    kinds=SQLITE_TYPES,
    slot=lambda _: "?",
    newest_first=lambda limit: ("", f"LIMIT {int(limit)}"),
    exists=lambda session, table: bool(columns_of(session, table)),
    rows_if_there=_rows_if_there,
    no_value=lambda _: "NULL",
    # Any declared type may hold anything in SQLite, so INTEGER affinity alone does not promise whole numbers; an INTEGER
    # PRIMARY KEY does, and for other columns the digest checks each value's storage class.
    is_integer=lambda column: "INT" in column.type,
    types=Types(same=_same, widens=_never),
)

"""What is sent to SQL Server for values that no T-SQL server at hand can hold."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest

from backup_sync.model.errors import RetriableError
from backup_sync.model.limits import Limits
from backup_sync.model.service import parse_service
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.bulk import BulkRows
from backup_sync.stores.mssql.dialect import DIALECT
from backup_sync.stores.mssql.reader import MssqlReader
from backup_sync.stores.mssql.rows import SEPARATOR
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.view import View


def test_nul_and_half_a_surrogate_pair_are_posted_as_escapes_and_all_else_in_plain_characters() -> None:
    for text, sent in (("a\0b", r'[["a\u0000b"]]'), ("a\ud800b", r'[["a\ud800b"]]'), ("żó🎁", '[["żó🎁"]]')):
        assert types.posted([[text]]) == sent
        assert sent.encode()


def test_text_read_as_bytes_is_the_text_that_was_there() -> None:
    assert types.exactly("[T]", "nvarchar(9)") == "CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), [T]))"
    for text in ("a\ud800b", "\udc00", "🎁?", "a\0", ""):
        assert types.from_exact(text.encode("utf-16-le", "surrogatepass"), "nvarchar(9)") == text
    assert types.from_exact(None, "varchar(9)") is None
    assert types.from_exact(b"?", "varbinary(9)") == b"?"


@pytest.mark.parametrize("text", ["a\0b", "a\\\nb", "a\\\r\nb"])
def test_a_key_that_a_quoted_literal_would_change_is_bound_as_json(text: str) -> None:
    placeholder, bound = types.literal(text, "nvarchar(9)", "Latin1_General_CI_AS")
    assert placeholder == "CONVERT(nvarchar(9), (SELECT [value] FROM OPENJSON(%s)) COLLATE Latin1_General_CI_AS)"
    assert json.loads(bound) == [text]
    assert bound.isprintable()


def test_a_binary_key_is_bound_as_hex_since_quoted_its_backslash_could_vanish() -> None:
    assert types.literal(b"\\\n", "varbinary(9)") == ("CONVERT(varbinary(9), %s)", bytearray(b"\\\n"))
    assert isinstance(types.literal(b"ab", "varbinary(9)")[1], bytearray)


def test_xml_keeps_its_white_space_and_money_all_its_decimals() -> None:
    assert types.incoming("xml").expression == "CONVERT(xml, {}, 1)"
    assert types.outgoing("[M]", "money") == "CONVERT(VARCHAR(30), CONVERT(DECIMAL(19, 4), [M]))"


def test_what_a_bulk_copy_would_change_is_kept_from_it() -> None:
    names = ["nvarchar(9)", "nchar(9)", "date"]
    rows = BulkRows(TableShape(tuple(Column(name, name) for name in names), ("date",)))
    good = ("🎁", "abc", "1753-01-01")
    bad = [("\ud800", "abc", None), (None, "🎁", None), (None, None, "1752-12-31"), (None, None, "0001-01-01")]
    assert rows.split([good]) == ([good], [])
    for row in bad:
        assert rows.split([row]) == ([], [row])
        assert rows.split([good, row]) == ([good], [row])
    assert not BulkRows(TableShape((Column("x", "xml"),), ("x",))).possible


class Misread(MssqlReader):
    """Of a server whose rows come through the driver with a ? for half a surrogate pair, and as bytes unharmed."""

    def __init__(self, key_type: str, read: list[tuple[Any, ...]], again: list[tuple[Any, ...]]) -> None:
        entry = {"source": "s", "backup": "b", "table": "app.T", "changed": {"Version": "higher"}}
        table = Table.of(parse_service("thing", entry, where="test"), "source", lambda _, name: f"[app].[{name}]")
        self.found, self.again = read, again
        second = MagicMock(results=lambda *_: [self.again])
        session = MagicMock(pages=lambda *_, **__: iter([self.found]), second=second)
        shape = TableShape((Column("K", key_type, False), *COLUMNS), ("K",))
        super().__init__(session, View.of(DIALECT, table, shape), Limits())


COLUMNS = (Column("Version", "int"), Column("T", "nvarchar(9)"))


def wire(key: Any, *others: str) -> tuple[Any, str]:
    """A row as the server sends it."""
    return key, SEPARATOR.join(others)


def test_a_row_that_the_driver_read_with_a_question_mark_is_read_again_as_bytes() -> None:
    text = "a\ud800b"
    again = [(1, 1, text.encode("utf-16-le", "surrogatepass"))]
    reader = Misread("int", [wire(1, "1", "a?b"), wire(2, "1", "plain")], again)
    assert list(reader.records(None)) == [[(1, 1, text), (2, 1, "plain")]]
    reader.found = [wire(1, "1", "a?b")]
    assert list(reader.records_of([(1,)])) == [[(1, 1, text)]]


def test_a_key_that_the_driver_misread_is_refused_by_the_name_of_its_column() -> None:
    reader = Misread("nvarchar(9)", [wire("a?", "1", "x")], [])
    with pytest.raises(RetriableError, match=r"rows of app\.T were not found again by key column K"):
        list(reader.records(None))
    reader.found = []
    with pytest.raises(RetriableError, match="key column K"):
        list(reader.records_of([("a?",)]))
    assert list(reader.records_of([("gone",)])) == []

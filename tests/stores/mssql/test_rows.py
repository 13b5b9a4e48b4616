"""Rows that SQL Server sends as one text are taken apart again, and what cannot be is said to be doubtful."""

from __future__ import annotations

from typing import Any

from backup_sync.stores.mssql.pairs import NULL
from backup_sync.stores.mssql.rows import LONGEST, SEPARATOR, WireRows
from backup_sync.stores.sql.shape import Column, TableShape

SHAPE = TableShape(
    (
        Column("Name", "nvarchar(50)", False),
        Column("Id", "int", False),
        Column("City", "nvarchar(50)"),
        Column("Photo", "varbinary(max)"),
        Column("Size", "int"),
        Column("Since", "datetime2(7)"),
        Column("Rate", "float"),
    ),
    ("Id",),
)


def row(number: int, *joined: str, photo: bytes | None = None, rate: float | None = None) -> tuple[Any, ...]:
    return number, photo, rate, SEPARATOR.join(joined)


def test_a_record_has_its_values_in_catalog_order_and_in_their_wire_form() -> None:
    sent = [
        row(1, "Åsa", "Göteborg", "-5", "2024-02-29 12:34:56.1234567", photo=b"\x00", rate=0.1),
        row(2, "", NULL, NULL, NULL),
        row(3, " ", "", "0", NULL),
    ]
    assert WireRows(SHAPE).records(sent) == (
        [
            ("Åsa", 1, "Göteborg", b"\x00", -5, "2024-02-29 12:34:56.1234567", 0.1),
            ("", 2, None, None, None, None, None),
            (" ", 3, "", None, 0, None, None),
        ],
        [],
    )
    assert WireRows(SHAPE).records([]) == ([], [])


def test_a_value_that_holds_the_separator_makes_its_row_doubtful_and_no_other() -> None:
    records, doubtful = WireRows(SHAPE).records(
        [row(1, "a", "b", "1", NULL), row(2, f"a{SEPARATOR}", "b", "1", NULL), row(3, "a", "b", "1", NULL)]
    )
    assert doubtful == [1]
    assert [record[1] for record in records] == [1, 2, 3]
    assert records[0][0] == records[2][0] == "a"


def test_a_question_mark_or_a_line_that_is_null_makes_a_row_doubtful() -> None:
    rows = WireRows(SHAPE)
    assert rows.records([row(1, "a", "why?", "1", NULL), row(2, "a", "b", "1", NULL)])[1] == [0]
    assert rows.records([(1, None, None, None), row(2, "a", "b", "1", NULL)])[1] == [0]
    keyed = WireRows(TableShape((Column("K", "nvarchar(9)", False), Column("N", "int", False)), ("K",)))
    assert keyed.records([("a", "1"), ("b?", "2")])[1] == [1]


def test_keys_long_text_and_what_has_no_exact_text_stay_by_themselves() -> None:
    assert WireRows(SHAPE).selected("t.").split(", ", 3) == [
        "t.[Id]",
        "t.[Photo]",
        "t.[Rate]",
        f"t.[Name] + N'{SEPARATOR}' + COALESCE(t.[City], N'{NULL}') + N'{SEPARATOR}' + "
        f"COALESCE(CAST(t.[Size] AS VARCHAR(20)), N'{NULL}') + N'{SEPARATOR}' + "
        f"COALESCE(CAST(t.[Since] AS VARCHAR(34)), N'{NULL}')",
    ]
    wide = TableShape(
        (Column("Id", "int", False), Column("T", "nvarchar(max)"), Column("U", "nvarchar(4000)")), ("Id",)
    )
    assert WireRows(wide).selected() == "[Id], [T], [U]"


def test_no_line_is_longer_than_the_server_keeps() -> None:
    columns = [Column(f"c{n}", "nvarchar(900)", n % 2 == 0) for n in range(9)]
    rows = WireRows(TableShape((Column("Id", "int", False), *columns), ("Id",)))
    lines = rows.selected().split(", [")  # a column that may be NULL begins a line with COALESCE
    assert sum(line.count("[c") + line.startswith("c") for line in lines) == len(columns)
    full = [SEPARATOR.join("x" * 900 for _ in line) for line in rows._lines]
    assert len(full) == 3
    assert max(map(len, full)) <= LONGEST
    (record,), doubtful = rows.records([(1, *full)])
    assert record == (1, *["x" * 900] * 9)
    assert not doubtful


def test_texts_of_several_collations_are_joined_under_one() -> None:
    shape = TableShape(
        (
            Column("Id", "int", False),
            Column("A", "nvarchar(9)", False, "Latin1_General_CI_AS"),
            Column("B", "varchar(9)", True, "Polish_CI_AS"),
        ),
        ("Id",),
    )
    assert WireRows(shape).selected() == (
        f"[Id], CAST([A] AS NVARCHAR(9)) COLLATE Latin1_General_BIN2 + N'{SEPARATOR}' + "
        f"COALESCE(CAST([B] AS NVARCHAR(9)) COLLATE Latin1_General_BIN2, N'{NULL}' COLLATE Latin1_General_BIN2)"
    )

"""Values of ``where`` as T-SQL has them: typed, so that an index is used, and never a part of the statement's own words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from backup_sync.stores.mssql.literals import comparable, literal
from backup_sync.stores.sql.shape import Column


def test_each_value_is_written_by_the_type_of_its_column() -> None:
    expected: list[tuple[str, Any, str]] = [
        ("int", 5, "5"),
        ("tinyint", -5, "-5"),
        ("bigint", 2**31, "CONVERT(BIGINT, 2147483648)"),
        ("bit", True, "1"),
        ("bit", 0, "0"),
        ("decimal(9,2)", 9.99, "9.99"),
        ("money", 5, "5"),
        ("decimal(38,0)", 1e22, "10000000000000000000000"),
        ("float", 2.5, "CONVERT(float, 2.5)"),
        ("real", 1, "CONVERT(real, 1.0)"),
        ("nvarchar(9)", "o'k", "N'o''k'"),
        ("varchar(9)", "o'k", "'o''k'"),
        ("char(9)", "żó", "N'żó'"),
        ("nvarchar(max)", "x" * 9_000, f"N'{'x' * 9_000}'"),
        ("varchar(9)", "1%s 2%d %", "'1%' + 's 2%' + 'd %'"),
        ("nvarchar(9)", "1%s", "N'1%' + N's'"),
        ("date", "2026-11-27", "CONVERT(date, '2026-11-27', 121)"),
        ("datetime", "2026-11-27", "CONVERT(datetime, '2026-11-27', 121)"),
        ("datetime", "2026-11-27T06:30", "CONVERT(datetime, '2026-11-27 06:30:00', 121)"),
        ("smalldatetime", "2026-11-27 06:30", "CONVERT(smalldatetime, '2026-11-27 06:30:00', 121)"),
        ("datetime2(3)", "2026-11-27 06:30:01.1234567", "CONVERT(datetime2(7), '2026-11-27 06:30:01.1234567', 121)"),
        ("datetimeoffset(7)", "2026-11-27", "CONVERT(datetimeoffset(7), '2026-11-27 00:00:00 +00:00', 121)"),
        (
            "datetimeoffset(7)",
            "2026-11-27T06:30:00-05:00",
            "CONVERT(datetimeoffset(7), '2026-11-27 06:30:00 -05:00', 121)",
        ),
        ("time(7)", "06:30", "CONVERT(time(7), '06:30:00', 121)"),
        (
            "uniqueidentifier",
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "CONVERT(uniqueidentifier, '6f9619ff-8b86-d011-b42d-00c04fc964ff')",
        ),
    ]
    assert [literal(Column("c", type_), value) for type_, value, _ in expected] == [text for _, _, text in expected]


@pytest.mark.parametrize(
    "type_, value, said",
    [
        ("int", "5", "give a whole number"),
        ("int", 5.0, "give a whole number"),
        ("int", True, "give a whole number"),
        ("bigint", 2**63, "give a whole number of 64 bits"),
        ("bit", 2, "give true or false"),
        ("bit", 1.0, "give true or false"),
        ("bit", "yes", "give true or false"),
        ("decimal(9,2)", "9.99", "give a number"),
        ("decimal(9,2)", 1e300, "give a number of 38 digits"),
        ("float", "1", "give a number"),
        ("nvarchar(9)", 5, "give text, in quotes"),
        ("varchar(3)", "four", "give a text that fits into it"),
        ("nvarchar(3)", "🎁🎁", "give a text that fits into it"),
        ("uniqueidentifier", "6F96", "give a GUID"),
        ("varbinary(9)", "0x01", "only is_null"),
        ("binary(8)", 5, "only is_null"),
        ("xml", "<a/>", "only is_null"),
        ("date", "27.11.2026", "give a date or a time"),
        ("date", "2026-02-30", "give a date or a time"),
        ("date", "", "give a date or a time"),
        ("date", "2026-11-2706:30", "give a date or a time"),
        ("date", "2026-11-27 06:30", "give a date alone"),
        ("datetime2(7)", "06:30", "give a date"),
        ("datetime2(7)", "2026-11-27 06:30.5", "give a date or a time"),
        ("datetime2(7)", "2026-11-27 06:30:00Z", "give it without an offset"),
        ("datetimeoffset(7)", "2026-11-27 06:30:00+99:00", "give a date or a time"),
        ("datetime", "2026-11-27 06:30:00.5", "give whole seconds"),
        ("datetime", "1752-12-31", "give a date that it can hold"),
        ("smalldatetime", "2026-11-27 06:30:01", "give whole minutes"),
        ("smalldatetime", "2079-01-01", "give a date that it can hold"),
        ("time(7)", "2026-11-27", "give a time alone"),
    ],
)
def test_a_value_of_another_kind_is_a_mistake_that_says_what_to_give(type_: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}") as wrong:
        literal(Column("c", type_), value)
    assert str(value) == "" or str(value) not in str(wrong.value)


def test_no_text_gets_out_of_its_quotes_and_none_is_a_parameter() -> None:
    for odd in ("'", "''", "%s", "%%s", "%'s", "'; DROP TABLE t --", "a%d%s'%s", "\\'", "'%s'"):
        for type_ in ("varchar(50)", "nvarchar(50)"):
            text = literal(Column("c", type_), odd)
            assert not re.search("%[sd]", text)
            parts = re.fullmatch(r"N?'((?:[^']|'')*)'(?: \+ N?'((?:[^']|'')*)')*", text)
            assert parts is not None
            inside = "".join(re.findall(r"N?'((?:[^']|'')*)'(?: \+ )?", text))
            assert inside.replace("''", "'") == odd


def test_what_may_be_of_a_type_that_cannot_be_compared_is_converted() -> None:
    assert comparable("f.[a]", "nvarchar(max)") == "CONVERT(nvarchar(max), f.[a])"
    assert comparable("f.[a]", "nvarchar(50)") == "f.[a]"
    assert comparable("f.[a]", "varbinary(max)") == "f.[a]"

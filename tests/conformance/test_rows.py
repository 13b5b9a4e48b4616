"""Rows that SQL Server sends as one text are those that it sends column by column."""

from __future__ import annotations

from contextlib import closing
from itertools import chain

import pytest

from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.mssql.reader import MssqlReader
from backup_sync.stores.mssql.rows import SEPARATOR
from tests.conformance.backends import MssqlBackend
from tests.conformance.test_packing import ODD
from tests.conformance.test_sql import remake

COLUMNS = {
    "N": "NVARCHAR(60)",
    "V": "VARCHAR(60)",
    "C": "CHAR(8)",
    "W": "NCHAR(8)",
    "P": "NVARCHAR(60) COLLATE Polish_CI_AS",
    "S": "SMALLINT",
    "B": "BIGINT",
    "Tiny": "TINYINT",
    "F": "FLOAT",
    "Flag": "BIT",
    "M": "MONEY",
    "D": "DECIMAL(38,10)",
    "G": "UNIQUEIDENTIFIER",
    "D2": "DATETIME2(7)",
    "DT": "DATETIME",
    "SD": "SMALLDATETIME",
    "DO": "DATETIMEOFFSET(3)",
    "Day": "DATE",
    "Clock": "TIME(4)",
    "Bin": "VARBINARY(9)",
    "Long": "NVARCHAR(3000)",
    "Endless": "NVARCHAR(MAX)",
}
VALUES = [
    {
        "N": "why?",
        "V": "é ",
        "C": "ab",
        "W": "żó",
        "P": "łódź ",
        "S": -32768,
        "B": 2**63 - 1,
        "Tiny": 255,
        "F": 0.1,
        "Flag": 1,
    },
    {"M": "-0.0001", "D": "-1.5", "G": "6F9619FF-8B86-D011-B42D-00C04FC964FF", "D2": "2024-02-29 12:34:56.123456"},
    {
        "DT": "2024-02-29 12:34:56.123",
        "SD": "2024-02-29 12:34:00",
        "DO": "2024-02-29 12:34:56.1 +05:30",
        "Day": "0001-01-01",
    },
    {"Clock": "23:59:59.9999", "Long": "x" * 3000, "Endless": "y" * 9000, "S": 0, "N": "", "V": "", "P": ""},
    {"N": f"a{SEPARATOR}b", "P": SEPARATOR, "Endless": SEPARATOR},
    *({"N": text, "P": text} for text in ODD),
]


@pytest.mark.parametrize("nullable", [True, False], ids=["null", "not null"])
def test_rows_in_one_text_are_those_that_come_column_by_column(mssql: MssqlBackend, nullable: bool) -> None:
    null = "NULL" if nullable else "NOT NULL DEFAULT"
    of_nothing = {"G": "NEWID()", "F": "0.5", "Bin": "0x5C0A", "Clock": "'01:02:03'"}
    described = ", ".join(
        f"{name} {type_} {null}{'' if nullable else ' ' + of_nothing.get(name, _zero(type_))}"
        for name, type_ in COLUMNS.items()
    )
    remake(mssql, f"Version INT NOT NULL, {described}, Id INT NOT NULL PRIMARY KEY")
    for number, values in enumerate(VALUES):
        given = {"Id": number, "Version": 1, **values}
        slots = [f"CONVERT({COLUMNS.get(name, 'INT').partition(' COLLATE')[0]}, %s)" for name in given]
        mssql.run_source(
            f"INSERT INTO {mssql.table} ({', '.join(given)}) VALUES ({', '.join(slots)})", [tuple(given.values())]
        )
    store, _ = mssql.open(mssql.service())
    with closing(store):
        reader = store.reader(store.catalog.describe())
        assert isinstance(reader, MssqlReader)
        plain = ", ".join(types.outgoing(quote(column.name), column.type) for column in reader.view.shape.columns)
        expected = sorted(map(repr, reader.session.query(f"SELECT {plain} FROM {reader.view.table.name}")))
        assert len(expected) == len(VALUES)
        assert sorted(map(repr, chain.from_iterable(reader.records(None)))) == expected
        keys = [(number,) for number in range(len(VALUES))]
        assert sorted(map(repr, chain.from_iterable(reader.records_of(keys)))) == expected
        unjoined = MssqlReader(reader.session, reader.view, reader.limits, joined=False)
        assert sorted(map(repr, chain.from_iterable(unjoined.records(None)))) == expected
        assert sorted(map(repr, chain.from_iterable(unjoined.records_of(keys)))) == expected


def _zero(type_: str) -> str:
    return "'2024-01-01'" if "DATE" in type_ else "N''" if "CHAR" in type_ else "0"

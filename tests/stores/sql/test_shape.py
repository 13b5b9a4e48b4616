"""Two shapes in, what to do about it out."""

from __future__ import annotations

import pytest

from backup_sync.model.names import as_written, without_case
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import DIALECT
from backup_sync.stores.sql.shape import Column, Difference, TableShape, difference
from backup_sync.stores.sqlite.dialect import affinity

ID = Column("Id", "int", False)
SYNCED = Column("SyncedAt", "datetime2(7)", False)


def compare(source: list[Column], own: list[Column], keys: tuple[str, str] = ("Id", "Id")) -> Difference:
    shapes = TableShape((ID, *source), (keys[0],)), TableShape((ID, *own, SYNCED), (keys[1],))
    return difference(*shapes, DIALECT.types)


def test_a_copy_that_is_alike_but_for_case_has_no_difference():
    assert compare([Column("Name", "int")], [Column("NAME", "int")]) == Difference()


@pytest.mark.parametrize(
    "one, other, fold, same",
    [
        ("Name", "NAME", without_case, True),
        ("Name", "NAME", as_written, False),
        ("straße", "strasse", without_case, False),
        ("É", "é", without_case, False),
        ("ſ", "s", without_case, False),
        ("\u212a", "k", without_case, False),  # the sign of Kelvin
        ("İx", "ix", without_case, False),
    ],
)
def test_two_names_are_one_column_only_where_the_copys_engine_has_them_as_one(one, other, fold, same):
    source = TableShape((ID, Column(one, "int")), ("Id",))
    own = TableShape((ID, Column(other, "int"), SYNCED), ("Id",), fold)
    found = difference(source, own, DIALECT.types)
    assert ([column.name for column in found.added], [column.name for column in found.kept]) == (
        ([], []) if same else ([one], [other])
    )
    assert found.problems == ()


def test_two_columns_of_the_source_that_are_one_to_the_copys_engine_are_a_problem_that_names_both():
    source = TableShape((ID, Column("Name", "int"), Column("NAME", "int")), ("Id",), as_written)
    found = difference(source, TableShape((ID, SYNCED), ("Id",)), DIALECT.types)
    assert found.problems == ("cannot hold both Name and NAME, whose names are one in its database",)
    assert difference(source, TableShape((ID, SYNCED), ("Id",), as_written), DIALECT.types).problems == ()


def test_a_copy_that_takes_null_where_the_source_does_not_is_no_difference():
    assert compare([Column("A", "int", False)], [Column("A", "int", True)]) == Difference()


def test_an_added_column_is_nullable_whatever_it_is_in_the_source():
    assert compare([Column("A", "int", False)], []).added == (Column("A", "int", True),)


def test_a_kept_column_that_is_not_null_is_loosened():
    found = compare([], [Column("A", "int", False), Column("B", "int")])
    assert [column.name for column in found.kept] == ["A", "B"]
    assert found.loosened == (Column("A", "int", True),)


def test_widening_keeps_not_null_where_both_are():
    assert compare([Column("A", "bigint", False)], [Column("A", "int", False)]).widened == (
        Column("A", "bigint", False),
    )


@pytest.mark.parametrize(
    "source, own, problem",
    [
        (Column("A", "int"), Column("A", "bigint"), "differs in A (bigint here, int in the source)"),
        (
            Column("A", "varchar(9)", True, "X"),
            Column("A", "varchar(9)", True, "Y"),
            "differs in A (varchar(9) Y here, varchar(9) X in the source)",
        ),
        (Column("Id", "bigint", False), Column("Id", "int", False), "differs in key column Id"),
    ],
)
def test_what_is_not_safe_is_a_problem_that_names_the_column(source, own, problem):
    found = difference(TableShape((source,), ("Id",)), TableShape((own,), ("Id",)), DIALECT.types)
    assert problem in found.problems[0]


def test_another_key_is_a_problem():
    other = [Column("A", "int", False)]
    assert compare(other, other, ("A", "Id")).problems == ("has the key Id and not A",)


@pytest.mark.parametrize(
    "old, new",
    [
        ("varchar(10)", "varchar(20)"),
        ("nvarchar(10)", "nvarchar(max)"),
        ("varbinary(8000)", "varbinary(max)"),
        ("tinyint", "smallint"),
        ("tinyint", "bigint"),
        ("decimal(9,2)", "decimal(10,2)"),
        ("numeric(9,2)", "decimal(12,4)"),
        ("datetime2(3)", "datetime2(7)"),
        ("time(0)", "time(1)"),
        ("datetimeoffset(0)", "datetimeoffset(7)"),
        ("real", "float"),
    ],
)
def test_a_type_widens_one_way_only(old, new):
    assert types.widens(old, new)
    assert not types.widens(new, old)


@pytest.mark.parametrize(
    "old, new",
    [
        ("char(5)", "varchar(10)"),
        ("char(5)", "char(10)"),
        ("binary(5)", "binary(10)"),
        ("varchar(10)", "nvarchar(20)"),
        ("decimal(9,2)", "decimal(9,4)"),
        ("decimal(9,2)", "decimal(12,1)"),
        ("int", "decimal(19,0)"),
        ("datetime", "datetime2(7)"),
        ("bit", "int"),
        ("int", "int"),
    ],
)
def test_what_might_change_a_value_is_no_widening(old, new):
    assert not types.widens(old, new)


@pytest.mark.parametrize(
    "declared, found",
    [("BIGINT", "INTEGER"), ("VARCHAR(9)", "TEXT"), ("", "BLOB"), ("DOUBLE", "REAL"), ("DECIMAL(9,2)", "NUMERIC")],
)
def test_an_affinity_is_the_one_sqlite_gives(declared, found):
    assert affinity(declared) == found

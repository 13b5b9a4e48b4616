"""The T-SQL as it is sent: against stored expectations, and read by a T-SQL parser.

A server runs it in tests/conformance where one is named; this is what is checked everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import sqlglot

from backup_sync.model.errors import ConfigurationError, ConnectionMistake, FatalError, RetriableError
from backup_sync.model.limits import Limits
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import parse_service
from backup_sync.stores.base import Applied, Keep
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.bulk import BulkRows
from backup_sync.stores.mssql.catalog import IDENTITY, IDENTITY_AT_LEAST, MssqlCatalog
from backup_sync.stores.mssql.content import content_of
from backup_sync.stores.mssql.ddl import alter_sql, create_table_sql
from backup_sync.stores.mssql.dialect import DIALECT, quote
from backup_sync.stores.mssql.errors import translate
from backup_sync.stores.mssql.masking import HIDING, INTRODUCTION
from backup_sync.stores.mssql.pairs import NULL, SEPARATOR, JoinedPairs
from backup_sync.stores.mssql.reader import MssqlReader
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.mssql.undo import MssqlEntries, MssqlUndo
from backup_sync.stores.mssql.writer import MssqlWriter
from backup_sync.stores.sql.journal import SqlJournal
from backup_sync.stores.sql.masking import masked_shape, masks_of
from backup_sync.stores.sql.ranges import EvenCut, KeyRange
from backup_sync.stores.sql.shape import Column, Difference, TableShape
from backup_sync.stores.sql.table import Table
from backup_sync.stores.sql.unfilled import SqlUnfilled
from backup_sync.stores.sql.view import View

EXPECTED = Path(__file__).with_name("expected_tsql.sql")

CUSTOMERS = TableShape(
    (
        Column("Id", "int", False),
        Column("Email", "nvarchar(256)", False, "SQL_Latin1_General_CP1_CI_AS"),
        Column("Balance", "decimal(18,2)"),
        Column("Photo", "varbinary(max)"),
        Column("CreatedAt", "datetime2(7)", False),
        Column("Version", "int", False),
    ),
    ("Id",),
)
LINES = TableShape(
    (Column("Tenant", "uniqueidentifier", False), Column("Code", "varchar(20)", False), Column("Version", "binary(8)")),
    ("Tenant", "Code"),
)

WHERE = {
    "email": {"not": ["o'k 100%sure", "żó"]},
    "Balance": {"at_least": 9.5, "below": 3_000_000_000},
    "CreatedAt": {"below": "2026-11-27"},
    "Photo": {"is_null": False},
}

DIFFERENCE = Difference(
    added=(Column("Fax", "nvarchar(20)", True, "Latin1_General_CI_AS"),),
    widened=(Column("Email", "nvarchar(max)", False, "Polish_CI_AS"), Column("Balance", "decimal(20,2)")),
    loosened=(Column("CreatedAt", "datetime2(7)"),),
)


class RecordingSession(MssqlSession):
    """Keeps what would be sent, and answers as an empty server does."""

    def __init__(self) -> None:
        super().__init__("b", lambda _: None)
        self.sent: list[tuple[str, Any]] = []

    def pages(
        self, sql: str, params: Any = (), size: int = 0, *, heavy: bool = False
    ) -> Iterator[list[tuple[Any, ...]]]:
        self.sent.append((sql, list(params)))
        one_row = "MIN(" in sql or "APPLOCK" in sql.upper() or sql.startswith("SELECT COUNT_BIG(*) FROM")
        return iter([[(1, 2)]] if one_row else [])

    def run(self, sql: str, params: Any = ()) -> int:
        self.sent.append((sql, list(params)))
        return int("InsertedCount + " in sql)  # the record of the run under way is there

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


class Recorder:
    """The parts of a store on a session that records."""

    def __init__(self, shape: TableShape, name: str) -> None:
        entry = {"source": "s", "backup": "b", "table": name, "changed": {"Version": "higher"}}
        service = parse_service("thing", entry, where="test")
        self.session, self.shape, limits = RecordingSession(), shape, Limits()
        self.table = Table.of(service, "b", lambda schema, table: f"{quote(schema)}.{quote(table)}")
        self.journal = SqlJournal(self.session, DIALECT, self.table)
        self.journal.run = SyncResult(sync_id("d", "r", "thing"), "thing", run_id="r")
        self.unfilled = SqlUnfilled(self.session, DIALECT, self.table, self.journal, lambda: shape)
        self.reader = MssqlReader(self.session, View.of(DIALECT, self.table, shape), limits)
        self.writer, self.plain_writer = (
            MssqlWriter(self.session, self.table, shape, limits, count, shape.fold)
            for count in (self.journal.count, None)
        )
        copy = replace(shape, columns=(*shape.columns, Column("SyncedAt", "datetime2(7)", False)))
        catalogs = [
            MssqlCatalog(self.session, table, self.journal, "d", copy=is_copy)
            for table, is_copy in ((self.table, True), (self.table.beside("_Undo"), False))
        ]
        for catalog in catalogs:
            catalog._own = copy
        self.undo = MssqlUndo(self.session, *catalogs, MagicMock(), limits)
        self.entries = MssqlEntries(self.undo, Keep(7, str(sync_id("d", "r", "thing")), exact=True), shape)

    def comparing_also(self, *names: str) -> MssqlReader:
        return MssqlReader(self.session, View.of(DIALECT, self.table, self.shape, compare_also=names), Limits())

    def chosen(self, where: dict[str, Any], **options: Any) -> MssqlReader:
        """Reads the rows that a service of this ``where`` is about."""
        service = self.table.service.model_copy(update={"where": where})
        table = replace(self.table, service=service)
        catalog = MssqlCatalog(self.session, table, self.journal, "d", copy=False)
        catalog._own = self.shape
        view = View.of(DIALECT, table, self.shape, condition=catalog.condition(), **options)
        return MssqlReader(self.session, view, Limits())

    @property
    def masked(self) -> MssqlReader:
        """Reads a source of which some columns are masked."""
        mask = {"email": "hash", "Balance": "hash", "CreatedAt": "null"}
        service = self.table.service.model_copy(update={"mask": mask})
        shape = masked_shape(service, "b", self.shape, HIDING)
        masks = masks_of(service, self.shape, shape, HIDING)
        view = View.of(DIALECT, self.table, shape, masks=masks, content=content_of(shape.columns))
        return MssqlReader(self.session, view, Limits())

    @property
    def whole(self) -> MssqlReader:
        view = View.of(DIALECT, self.table, self.shape, content=content_of(self.shape.columns))
        return MssqlReader(self.session, view, Limits())


def drain(read: Callable[..., Any], *args: Any) -> None:
    list(read(*args))


def each(do: Callable[[Any], Any], items: Iterable[Any]) -> None:
    for item in items:
        do(item)


def statements() -> dict[str, tuple[str, Any]]:
    """Every statement by name, for a table with a plain key and for one with a composite key."""
    found: dict[str, tuple[str, Any]] = {}
    for name, shape in (("customers", CUSTOMERS), ("lines", LINES)):
        store = Recorder(shape, f"app.{name.capitalize()}")
        single = len(shape.key) == 1
        key: tuple[Any, ...] = (5,) if single else ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "a'b")
        within = KeyRange(key, key)
        even = EvenCut(KeyRange(), 1, 128, 3) if single else None
        row = (5, "e", "1.50", b"\x01", "2024-01-01 00:00:00.0000000", 2) if single else (*key, b"\x00" * 8)
        run, reader, writer, journal = store.session.run, store.reader, store.writer, store.journal
        unfilled, plain = store.unfilled, store.plain_writer
        calls: dict[str, Callable[[], Any]] = {
            "create table": partial(run, create_table_sql(store.table.name, shape)),
            "create history": partial(run, journal.create_history_sql()),
            "alter": partial(each, run, alter_sql(store.table.name, DIFFERENCE, "Latin1_General_CI_AS")),
            "create unfilled": partial(run, unfilled.create_sql()),
            "mark unfilled": partial(run, unfilled.mark_sql(), ["app.Things", "Fax"]),
            "find unfilled": unfilled.names,
            "filled": partial(unfilled.mark_filled, ["Fax"], 7),
            "digest of whole rows": partial(drain, store.whole.cutter.digest_rows, within, even),
            "pairs of whole rows": partial(drain, store.whole.pairs, within),
            "next share": partial(store.whole.portion, [], 1 / 7),
            "digest": partial(drain, reader.cutter.digest_rows, within, even),
            "stamps": partial(drain, reader.pairs, within),
            "read": partial(drain, reader.read, within),
            "read keys": partial(drain, reader.read_keys, [key]),
            "present": partial(reader.present, [key]),
            "insert": partial(writer.write_inserts, [row]),
            "update": partial(writer.write_updates, [row]),
            "insert into another's table": partial(plain.write_inserts, [row]),
            "update another's table": partial(plain.write_updates, [row]),
            "delete": partial(writer.write_deletes, [key]),
            "boundaries": partial(reader.cutter.boundaries, within, 1000),
            "count": partial(journal.count, Applied(1, 2, 3)),
            "save history": partial(journal.save, journal.run),
            "find history": partial(journal.resume, journal.run),
            "newest history": partial(journal.newest, 5),
            "is there history": journal.has_success,
            "create state": partial(run, journal.create_state_sql("NVARCHAR(300)", "NVARCHAR(100)", "NVARCHAR(MAX)")),
            "states": journal.states,
            "keep state": partial(journal.keep_state, "pairing", {"a": 1}),
            "forget state": partial(journal.keep_state, "pairing", None),
            "restore points": journal.points,
            "create undo": partial(run, store.undo.create_sql(store.undo.copy.own_shape())),
            "look at undo": store.undo.look,
            "highest entry": store.undo.highest,
            "keep for an insert": partial(store.entries.absent, [key]),
            "keep for a delete": partial(store.entries.image, "D", [key]),
            "keep what changes": partial(store.entries.image_changed, [row]),
            "cut": partial(run, store.undo.delete_sql("u.[_Seq] <= 5", 1_000)),
            "thin": partial(run, store.undo.delete_sql(store.undo.thin_condition(5, 9), 1_000)),
        }
        if even is not None:
            calls["bounds"] = partial(reader.cutter.bounds, KeyRange())
            calls["identity"] = partial(run, IDENTITY)
            calls["identity at least"] = partial(run, IDENTITY_AT_LEAST)
            filling = store.comparing_also("Photo", "Balance")
            calls["compare unfilled"] = partial(each, partial(drain, filling.cutter.digest_rows, within), [even])
            calls["pairs to be filled"] = partial(drain, filling.pairs, within)
            some = store.chosen(WHERE)
            calls["digest of chosen rows"] = partial(drain, some.cutter.digest_rows, within, even)
            calls["stamps of chosen rows"] = partial(drain, some.pairs, within)
            calls["read chosen rows"] = partial(drain, some.read, within)
            calls["read keys of chosen rows"] = partial(drain, some.read_keys, [key])
            calls["present among chosen rows"] = partial(some.present, [key])
            calls["bounds of chosen rows"] = partial(some.cutter.bounds, KeyRange())
            calls["boundaries of chosen rows"] = partial(some.cutter.boundaries, within, 1000)
            calls["count chosen rows"] = some.count
            calls["are there chosen rows"] = some.empty
            calls["pairs of whole masked rows"] = partial(drain, store.masked.pairs, within)
            calls["read masked rows"] = partial(drain, store.masked.read, within)
            calls["read keys of masked rows"] = partial(drain, store.masked.read_keys, [key])
            calls["say the key of a mask"] = partial(run, INTRODUCTION, ["k"])
            whole = store.chosen(WHERE, content=content_of(shape.columns))
            calls["pairs of whole chosen rows"] = partial(drain, whole.pairs, within)
            anywhere = store.chosen(WHERE, everywhere=True)
            calls["read keys whatever they hold"] = partial(drain, anywhere.read_keys, [key])
            calls["stamps of pieces"] = partial(drain, reader.pairs, even.select([0, 2]))
        for what, call in calls.items():
            store.session.sent.clear()
            call()
            for number, sent in enumerate(store.session.sent):
                found[f"{name}: {what}" + (f" ({number + 1})" if number else "")] = sent
    return found


def rendered() -> str:
    out = []
    for name, (sql, params) in statements().items():
        # What is drawn anew by each process: the digest's numbers, and what stands between packed values or for NULL.
        steady = re.sub(r"\b(?!2147483)\d{7,10}\b", "N", sql.replace(SEPARATOR, "|").replace(NULL, "~"))
        out.append(f"-- {name}, {len(params)} bound\n{steady};\n")
    return "\n".join(out)


def test_the_statements_are_the_stored_ones(request):
    if request.config.getoption("--update-tsql"):
        EXPECTED.write_text(rendered(), encoding="utf-8")
    assert rendered() == EXPECTED.read_text(encoding="utf-8"), "run pytest --update-tsql and read the difference"


@pytest.mark.parametrize("name", list(statements()))
def test_every_statement_is_tsql_to_a_parser(name):
    sql, params = statements()[name]
    assert len(re.findall("%[sd]", sql)) == len(params)
    # Two things that T-SQL has and this parser lacks.
    sql = sql.replace("PRIMARY KEY NONCLUSTERED", "PRIMARY KEY").replace("DELETE TOP (1000) u", "DELETE u")
    parsed = sqlglot.parse(sql.replace("%s", "N'x'"), dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
    assert len(parsed) == 1
    assert parsed[0] is not None


def test_no_value_is_ever_part_of_a_statement():
    for sql, _ in statements().values():
        assert "a'b" not in sql
        assert "6F9619FF" not in sql


def test_identifiers_are_quoted_and_those_that_the_driver_would_misread_are_refused():
    assert quote("a]b") == "[a]]b]"
    with pytest.raises(ConfigurationError, match="cannot pass on"):
        quote("100%sure")


@pytest.mark.parametrize(
    "row, declared",
    [
        ({"DATA_TYPE": "nvarchar", "CHARACTER_MAXIMUM_LENGTH": 100}, "nvarchar(100)"),
        ({"DATA_TYPE": "nvarchar", "CHARACTER_MAXIMUM_LENGTH": -1}, "nvarchar(max)"),
        ({"DATA_TYPE": "varbinary", "CHARACTER_MAXIMUM_LENGTH": -1}, "varbinary(max)"),
        ({"DATA_TYPE": "ntext", "CHARACTER_MAXIMUM_LENGTH": 1073741823}, "nvarchar(max)"),
        ({"DATA_TYPE": "timestamp"}, "binary(8)"),
        ({"DATA_TYPE": "decimal", "NUMERIC_PRECISION": 38, "NUMERIC_SCALE": 10}, "decimal(38,10)"),
        ({"DATA_TYPE": "datetime2", "DATETIME_PRECISION": 7}, "datetime2(7)"),
        ({"DATA_TYPE": "time", "DATETIME_PRECISION": 0}, "time(0)"),
        ({"DATA_TYPE": "money"}, "money"),
    ],
)
def test_a_type_is_declared_as_in_the_catalog(row, declared):
    assert types.declared(row) == declared


def test_rows_that_a_bulk_copy_would_change_are_kept_from_it():
    shape = TableShape(
        tuple(
            Column(str(number), type_)
            for number, type_ in enumerate(["int", "nvarchar(9)", "varchar(9)", "datetime2(7)", "varbinary(9)"])
        ),
        ("0",),
    )
    good = (1, "żó", "abc", "2024-01-01 00:00:00", b"\x00")
    bad = [
        (1, "", "abc", None, None),
        (1, "blank ", "abc", None, None),
        (1, "nul\0", "abc", None, None),
        (1, "x", "café", None, None),
        (1, "x", "", None, None),
        (1, "x", "x ", None, None),
        (1, "x", "x", "0099-01-01 00:00:00", None),
        (1, "x", "x", None, b""),
    ]
    rows = BulkRows(shape)
    assert rows.possible
    assert rows.split([good, *bad, (None,) * 5]) == ([good, (None,) * 5], bad)
    assert not BulkRows(TableShape((Column("a", "datetimeoffset(7)"),), ("a",))).possible


def viewed(key: list[Column], stamp: list[Column]) -> View:
    """A view of these columns, whatever their names."""
    return View(MagicMock(label="b"), TableShape((), ()), tuple(key), tuple(stamp), (), "[t]")


@pytest.mark.parametrize(
    "type_", ["float", "money", "datetime", "time(7)", "binary(16)", "nvarchar(max)", "nvarchar(450)", "xml"]
)
def test_pairs_with_values_that_text_may_change_or_that_gain_nothing_go_a_row_each(type_):
    whole, other = Column("Id", "int", False), Column("C", type_, False)
    assert JoinedPairs(viewed([whole], [whole])).possible
    assert not JoinedPairs(viewed([whole], [whole, other])).possible
    assert not JoinedPairs(viewed([other], [whole])).possible


@pytest.mark.parametrize(
    "type_", ["int", "uniqueidentifier", "datetime2(7)", "decimal(38,0)", "varchar(9)", "nchar(250)"]
)
@pytest.mark.parametrize("nullable", [False, True])
def test_packed_values_never_outgrow_what_the_server_can_join(type_, nullable):
    column = Column("C", type_, nullable)
    rows = JoinedPairs(viewed([Column("Id", "bigint", False)], [column])).to_a_row
    longest = {
        "int": 11,
        "uniqueidentifier": 36,
        "datetime2(7)": 27,
        "decimal(38,0)": 39,
        "varchar(9)": 9,
        "nchar(250)": 250,
    }
    between, of_null = (len(SEPARATOR), len(NULL)) if "char" in type_ else (1, 0)
    assert rows * (max(longest[type_], of_null) + between) <= (4000 if type_ in ("int", "nchar(250)") else 8000)


@pytest.mark.parametrize(
    "number, kind",
    [
        (1205, RetriableError),
        (1222, RetriableError),
        (9002, RetriableError),
        (20009, RetriableError),
        (18456, ConnectionMistake),
        (229, ConnectionMistake),
        (208, ConfigurationError),
        (2627, FatalError),
        (99999, FatalError),
    ],
)
def test_an_error_number_says_what_should_happen_next_and_never_quotes_a_row(number, kind):
    error = Exception(number, b"The duplicate key value is (secret@example.com).")
    found = translate("customer_backup", number, error)
    assert type(found) is kind
    assert "customer_backup" in str(found)
    assert "secret" not in str(found)


# Which database this is

HERE = {
    "server": "SQL01\\SALES",
    "database": "Shop",
    "group": None,
    "broker": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "created": "2024-01-01T08:00:00.123",
}
UNTOLD = {"server": "SQL01\\SALES", "database": "Shop", "group": None, "broker": None, "created": None}
GROUP = {"group": "0e1b3a56-5f0f-4a0b-8f0c-3c6d9a1b2c3d"}
OTHER_BROKER = {"broker": "11111111-8b86-d011-b42d-00c04fc964ff"}
OTHER_DAY = {"created": "2025-06-01T08:00:00.000"}


@pytest.mark.parametrize(
    "one, other, same",
    [
        pytest.param(HERE, HERE, True, id="itself"),
        pytest.param(HERE, HERE | {"server": "sql01\\sales", "database": "SHOP"}, True, id="spelled otherwise"),
        pytest.param(HERE, HERE | {"database": "Shop2"}, False, id="another database of the server"),
        pytest.param(HERE, HERE | {"server": "SQL02"} | OTHER_DAY, False, id="a copy restored on another server"),
        pytest.param(HERE, HERE | OTHER_BROKER | OTHER_DAY, False, id="made anew under the old name"),
        pytest.param(HERE, HERE | OTHER_DAY, True, id="restored in its own place"),
        pytest.param(HERE, HERE | {"server": "SQL09"}, True, id="a server that was given another name"),
        pytest.param(
            HERE | GROUP, HERE | GROUP | {"server": "SQL02"} | OTHER_DAY, True, id="a failover within a group"
        ),
        pytest.param(HERE | GROUP, HERE | GROUP | {"database": "Shop2"}, False, id="a group is no excuse for a name"),
        pytest.param(HERE | GROUP, HERE, True, id="taken out of its group"),
        pytest.param(UNTOLD, UNTOLD, True, id="a server that tells only names"),
        pytest.param(UNTOLD, UNTOLD | {"server": "SQL02"}, False, id="another server that tells only names"),
        pytest.param(UNTOLD, HERE, True, id="what one does not tell is no difference"),
        pytest.param(UNTOLD | {"created": "1"}, UNTOLD | {"created": "2"}, False, id="made on another day"),
        pytest.param({}, {}, False, id="two that do not exist"),
        pytest.param({}, HERE, False, id="one that does not exist"),
    ],
)
def test_a_database_is_told_from_another_by_what_the_server_says(one, other, same):
    assert MssqlCatalog.same(one, other) is same
    assert MssqlCatalog.same(other, one) is same


class Answering(MssqlCatalog):
    """Answers the catalog's batch with what it is given; an exception stands for a server that refuses the statement."""

    def __init__(self, *told: Any, exists: bool = True) -> None:
        entry = {"source": "s", "backup": "b", "table": "app.Things", "changed": {"Version": "higher"}}
        service = parse_service("thing", entry, where="test")
        table = Table.of(service, "b", lambda schema, name: f"{quote(schema)}.{quote(name)}")
        session = MagicMock(results=self.results)
        super().__init__(session, table, SqlJournal(session, DIALECT, table), "Shop", copy=False)
        self.told, self.there, self.asked = list(told), exists, 0
        self.masked: list[str] = []
        self.policies: list[str] = []
        self.ignores_case = 1

    def results(self, sql: str, params: Any = ()) -> list[list[tuple[Any, ...]]]:
        self.asked += 1
        told = self.told.pop(0)
        if isinstance(told, Exception):
            raise told
        column = ("Version", "money", "NO", None, None, None, None, None)
        masked, policies = ([(name,) for name in names] for names in (self.masked, self.policies))
        return [[column], [], masked, policies, [(self.ignores_case,)], [told]]

    def _database_exists(self) -> bool:
        return self.there


def test_a_login_that_sees_masked_values_is_refused_with_the_grant_to_ask_for():
    store = Answering(tuple(HERE.values()))
    store.masked = ["Email", "Phone"]
    with pytest.raises(ConfigurationError, match=r"column Email, Phone of app\.Things is masked .* GRANT UNMASK"):
        store.own_shape()


def test_a_table_whose_rows_a_security_policy_hides_is_refused_by_the_names_of_both():
    store = Answering(tuple(HERE.values()))
    store.policies = ["Tenants"]
    with pytest.raises(ConfigurationError, match=r"app\.Things is under the security policy Tenants"):
        store.own_shape()


@pytest.mark.parametrize("ignores, found", [(1, ["Version", "VERSION"]), (0, ["Version"])])
def test_two_names_are_one_only_where_the_database_says_so(ignores, found):
    store = Answering(tuple(HERE.values()))
    store.ignores_case = ignores
    shape = store.own_shape()
    assert [name for name in ("Version", "VERSION", "Vêrsion", "Verßion") if shape.has(name)] == found


def test_who_the_database_is_comes_with_the_catalog():
    store = Answering(tuple(HERE.values()))
    store.own_shape()
    assert store.identity() == HERE
    assert store.asked == 1
    other = Answering(tuple(HERE.values()))
    assert other.is_at(store)
    assert other.asked == 1


def test_a_broker_of_zeros_is_none():
    values = HERE | {"broker": "00000000-0000-0000-0000-000000000000"}
    assert Answering(tuple(values.values())).identity()["broker"] is None


def test_a_server_that_keeps_its_databases_to_itself_still_tells_the_table():
    store = Answering(ConfigurationError("denied"), tuple(UNTOLD.values()))
    assert store.own_shape().columns[0].name == "Version"
    assert store.identity() == UNTOLD


def test_a_database_that_is_not_there_has_no_identity_until_it_is_made():
    store = Answering(tuple(HERE.values()), exists=False)
    assert store.identity() == {}
    store.there = True
    assert store.identity() == HERE

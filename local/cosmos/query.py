"""A parsed query → what SQLite has to run, and how its rows become JSON.

SQLite filters and sorts. Documents and properties come back as the text in which they are stored, and results are put
together from these texts, so that no number is ever read and written again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .compare import AGGREGATES, Conditions, canonical, is_constant, text_at
from .compare import constant as constant_of
from .jsontext import dumps
from .storage import Store
from .syntax import Call, Construct, Literal, Path, Select, parse
from .words import unsupported

Row = tuple[Any, ...]
Render = Callable[[Row], str | None]


@dataclass
class Compiled:
    """A query ready to run; `render` makes one result of a row's columns (None: no result from this row)."""

    select: Select
    where: str
    bound: dict[str, Any]
    columns: list[str]
    render: Render | None
    keys: list[str]
    descending: bool
    aggregates: list[str]
    whole: bool
    ids: list[str] | None

    @property
    def streams(self) -> bool:
        """Whether answers of the partitions, one after the other, are the answer of them all."""
        one = self.select
        return not (self.aggregates or one.order or one.distinct or one.top is not None or one.offset is not None)


def compiled(text: str, parameters: dict[str, Any]) -> Compiled:
    """Parse and compile a query."""
    select = parse(text, parameters)
    conditions = Conditions()
    where = "1" if select.where is None else conditions.condition(select.where)
    shape = _Shape(conditions)
    render = shape.row(select)
    if shape.aggregates and (shape.plain or select.order or select.distinct):
        raise unsupported("aggregates beside properties, ORDER BY or DISTINCT")
    if len({descending for _, descending in select.order}) > 1:
        raise unsupported("ORDER BY with ascending and descending keys together")
    keys = [key for expression, _ in select.order for key in _sort_keys(conditions, expression)]
    ids = None if select.where is None else _ids(select.where)
    descending = bool(select.order and select.order[0][1])
    return Compiled(
        select, where, conditions.bound, shape.columns, render, keys, descending, shape.aggregates, shape.whole,
        None if ids is None else sorted(ids),
    )  # fmt: skip


class _Shape:
    """Builds the column list and the function that turns a row into JSON text."""

    def __init__(self, conditions: Conditions):
        self.conditions = conditions
        self.columns: list[str] = []
        self.aggregates: list[str] = []
        self.plain = False
        self.whole = False

    def row(self, select: Select) -> Render | None:
        if select.star or (select.value and select.columns[0][1] == Path(())):
            # The stored text is the result: nothing to put together.
            self.columns, self.whole, self.plain = ["body"], True, True
            return None
        if select.value:
            return self.part(select.columns[0][1])
        names = tuple(name for name, _ in select.columns)
        return self.part(Construct(names, tuple(expression for _, expression in select.columns)))

    def part(self, expression: Any) -> Render:
        if is_constant(expression):
            value = constant_of(expression)
            text = None if value is ... else dumps(value)
            return lambda row: text
        if isinstance(expression, Construct):
            return self.construct(expression)
        if isinstance(expression, Call) and expression.name in AGGREGATES:
            return self.aggregate(expression)
        self.plain = True
        self.whole = self.whole or expression == Path(())
        return self.column(self.conditions.typed(expression).text)

    def construct(self, expression: Construct) -> Render:
        parts = [self.part(value) for value in expression.values]
        if expression.names is None:
            return lambda row: "[" + ",".join(text for part in parts if (text := part(row)) is not None) + "]"
        named = [(dumps(name) + ":", part) for name, part in zip(expression.names, parts, strict=True)]

        def render(row: Row) -> str:
            return "{" + ",".join(name + text for name, part in named if (text := part(row)) is not None) + "}"

        return render

    def aggregate(self, expression: Call) -> Render:
        if len(expression.arguments) != 1:
            raise unsupported(f"{expression.name} with {len(expression.arguments)} arguments")
        name, argument = expression.name, expression.arguments[0]
        self.aggregates.append({"COUNT": "Count", "SUM": "Sum", "MIN": "Min", "MAX": "Max", "AVG": "Average"}[name])
        if isinstance(argument, Literal):
            if name != "COUNT":
                raise unsupported(f"{name} of a constant")
            return self.column("CAST(COUNT(*) AS TEXT)" if argument.value is not ... else "'0'")
        one = self.conditions.typed(argument)
        if name == "COUNT":
            return self.column(f"CAST(COUNT({one.type}) AS TEXT)")
        return self.column(f"cosmos_{name.lower()}({one.text})")

    def column(self, sql: str) -> Render:
        if sql not in self.columns:
            self.columns.append(sql)
        index = self.columns.index(sql)
        return lambda row: row[index]


def _sort_keys(conditions: Conditions, expression: Any) -> list[str]:
    if not isinstance(expression, Path) or not expression.steps:
        raise unsupported("ORDER BY anything but a property")
    if expression.steps == ("_ts",):
        return ["ts"]
    one = conditions.typed(expression)
    # undefined < null < booleans < numbers < strings < arrays < objects
    rank = (
        f"CASE COALESCE({one.type},'') WHEN '' THEN 0 WHEN 'null' THEN 1 WHEN 'true' THEN 2 WHEN 'false' THEN 2 "
        "WHEN 'text' THEN 5 WHEN 'array' THEN 6 WHEN 'object' THEN 7 ELSE 4 END"
    )
    return [rank, f"CASE WHEN {one.type} IN ('array','object') THEN 0 ELSE COALESCE({one.value},0) END"]


def _ids(expression: Any) -> set[str] | None:
    """The ids to which a condition limits the documents: an index finds these at once. None: no limit known."""
    if not isinstance(expression, Call):
        return None
    name, arguments = expression.name, expression.arguments
    if name == "AND":
        found = [ids for part in arguments if (ids := _ids(part)) is not None]
        return set.intersection(*found) if found else None
    if name == "OR":
        parts = [_ids(part) for part in arguments]
        return None if None in parts else set().union(*(part for part in parts if part is not None))
    own = Path(("id",))
    values: list[Any] = []
    if name == "=" and own in arguments:
        values = [other.value for other in arguments if isinstance(other, Literal)]
    elif name == "IN" and arguments[0] == own and all(isinstance(other, Literal) for other in arguments[1:]):
        values = [other.value for other in arguments[1:]]
    elif name == "ARRAY_CONTAINS" and arguments[1] == own and isinstance(arguments[0], Literal):
        values = arguments[0].value if isinstance(arguments[0].value, list) else []
    return set(values) if values and all(isinstance(value, str) for value in values) else None


class _Aggregate:
    """Aggregates over JSON texts, because SQLite's own would round large numbers and mix types."""

    def __init__(self) -> None:
        self.values: Any = None
        self.count = 0
        self.broken = False

    def number(self, text: str | None) -> Any:
        value = None if text is None else json.loads(text)
        if text is not None and type(value) not in (int, float):
            self.broken = True
        return None if self.broken else value


class _Sum(_Aggregate):
    def step(self, text: str | None) -> None:
        if (value := self.number(text)) is not None:
            self.values = value if self.values is None else self.values + value
            self.count += 1

    def finalize(self) -> str | None:
        return None if self.broken else json.dumps(self.values or 0)


class _Average(_Sum):
    def finalize(self) -> str | None:
        return None if self.broken or not self.count else json.dumps(self.values / self.count)


class _Least(_Aggregate):
    better = staticmethod(lambda new, old: new < old)

    def step(self, text: str | None) -> None:
        if text is None:
            return
        value = json.loads(text)
        if isinstance(value, list | dict):
            self.broken = True
            return
        rank = (
            0 if value is None else 1 if isinstance(value, bool) else 3 if isinstance(value, str) else 2,
            value or 0,
        )
        if rank[0] == 3:
            rank = (3, value)
        if self.values is None or self.better(rank, self.values[0]):
            self.values = (rank, text)

    def finalize(self) -> str | None:
        return None if self.broken or self.values is None else str(self.values[1])


class _Greatest(_Least):
    better = staticmethod(lambda new, old: new > old)


def install(store: Store) -> None:
    """Make the functions that compiled queries use known to SQLite."""
    store.define("canonical", 1, canonical)
    store.define("cosmos_at", 2, text_at)
    for name, kind in (("sum", _Sum), ("avg", _Average), ("min", _Least), ("max", _Greatest)):
        store.connection.create_aggregate(f"cosmos_{name}", 1, kind)  # type: ignore[arg-type]

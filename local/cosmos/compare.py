"""Cosmos conditions → SQLite expressions.

Cosmos compares only values of the same JSON type; a comparison across types, or with a property that is not there, is
undefined. SQLite's NULL behaves under AND, OR and NOT as undefined does, so each condition becomes an expression that
is 1, 0 or NULL. The type of a value is always asked for: SQLite itself would hold true for 1.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import bad_request
from .jsontext import dumps, elements, members
from .syntax import Call, Construct, Literal, Path
from .words import unsupported

_NUMBER = "('integer','real')"
_BOOLEAN = "('true','false')"
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_IS = {
    "IS_NULL": "('null')",
    "IS_STRING": "('text')",
    "IS_NUMBER": _NUMBER,
    "IS_BOOL": _BOOLEAN,
    "IS_ARRAY": "('array')",
    "IS_OBJECT": "('object')",
    "IS_PRIMITIVE": "('null','text','integer','real','true','false')",
}
AGGREGATES = frozenset({"COUNT", "SUM", "MIN", "MAX", "AVG"})


class Typed(NamedTuple):
    """SQL for a value: its JSON type name (NULL if undefined), the value itself, and its JSON text."""

    type: str
    value: str
    text: str


class Conditions:
    """Compiles conditions and collects the values that they bind."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """A placeholder for a value."""
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            value = float(value)
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise bad_request("A query parameter holds an unpaired surrogate.") from None
        name = f"v{len(self.bound)}"
        self.bound[name] = value
        return f":{name}"

    def typed(self, expression: Any) -> Typed:
        """A property or a condition as a value; constants are handled by those who know the other side."""
        if isinstance(expression, Path):
            if not expression.steps:
                return Typed("'object'", "NULL", "body")
            path = json_path(expression.steps)
            if path is None:
                inside = f"cosmos_at(body,{self.bind(json.dumps(expression.steps))})"
                return Typed(f"json_type({inside})", f"json_extract({inside},'$')", inside)
            return Typed(f"json_type(body,{path})", f"json_extract(body,{path})", f"(body -> {path})")
        if isinstance(expression, Call) and expression.name not in AGGREGATES:
            truth = self.condition(expression)
            kind = f"CASE ({truth}) WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"
            return Typed(kind, f"({truth})", kind)
        raise unsupported(f"this use of {_spoken(expression)}")

    def condition(self, expression: Any) -> str:
        """SQL that is 1, 0 or NULL (undefined)."""
        if isinstance(expression, Literal):
            return {True: "1", False: "0"}[expression.value] if isinstance(expression.value, bool) else "NULL"
        if isinstance(expression, Path):
            return f"CASE {self.typed(expression).type} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
        if not isinstance(expression, Call):
            return "NULL"
        name, arguments = expression.name, expression.arguments
        if name in ("AND", "OR"):
            return _balanced([self.condition(part) for part in arguments], name)
        if name == "NOT":
            return f"(NOT {self.condition(arguments[0])})"
        if name in _OPERATORS:
            return self.compare(name, arguments[0], arguments[1])
        if name == "IN":
            return self.one_of(arguments[0], [constant(one) for one in arguments[1:]], None)
        return self.function(name, arguments)

    def compare(self, sign: str, left: Any, right: Any) -> str:
        """A comparison of two expressions."""
        if is_constant(left):
            if is_constant(right):
                return _fold(sign, constant(left), constant(right))
            sign, left, right = _FLIPPED[sign], right, left
        if is_constant(right):
            if left == Path(("id",)) and isinstance(constant(right), str):
                return f"(id {sign} {self.bind(constant(right))})"
            if left == Path(("_ts",)) and type(constant(right)) in (int, float):
                return f"(ts {sign} {self.bind(constant(right))})"
            return self.with_constant(sign, self.typed(left), constant(right))
        a, b = self.typed(left), self.typed(right)
        cases = [
            f"WHEN {a.type} IN {kinds} AND {b.type} IN {kinds} THEN {a.value} {sign} {b.value}"
            for kinds in (_NUMBER, "('text')", _BOOLEAN)
        ]
        cases.append(f"WHEN {a.type}='null' AND {b.type}='null' THEN {int(_OPERATORS[sign](0, 0))}")
        if sign in ("=", "!="):
            same = f"canonical({a.text}) {sign} canonical({b.text})"
            cases.append(f"WHEN {a.type} IN ('array','object') AND {a.type}={b.type} THEN {same}")
        return f"(CASE {' '.join(cases)} END)"

    def with_constant(self, sign: str, one: Typed, value: Any) -> str:
        """A comparison with a constant: of the constant's type, or undefined."""
        if value is ...:
            return "NULL"
        if value is None:
            return f"(CASE {one.type} WHEN 'null' THEN {int(_OPERATORS[sign](0, 0))} END)"
        if isinstance(value, bool):
            true, false = (int(_OPERATORS[sign](found, value)) for found in (True, False))
            return f"(CASE {one.type} WHEN 'true' THEN {true} WHEN 'false' THEN {false} END)"
        if isinstance(value, str):
            if sign in ("=", "!="):
                # As JSON text: SQLite would cut a string at U+0000 when it takes it out of the JSON.
                return f"(CASE {one.type} WHEN 'text' THEN {one.text} {sign} {self.bind(dumps(value))} END)"
            return f"(CASE {one.type} WHEN 'text' THEN {one.value} {sign} {self.bind(value)} END)"
        if isinstance(value, int | float):
            return f"(CASE WHEN {one.type} IN {_NUMBER} THEN {one.value} {sign} {self.bind(value)} END)"
        if sign not in ("=", "!="):
            return "NULL"
        kind = "array" if isinstance(value, list) else "object"
        return f"(CASE {one.type} WHEN '{kind}' THEN canonical({one.text}) {sign} {self.bind(canonical(value))} END)"

    def one_of(self, expression: Any, values: list[Any], otherwise: int | None) -> str:
        """Membership in a list of constants; `otherwise` is the answer where no value has the property's type."""
        if is_constant(expression):
            found = any(_fold("=", constant(expression), value) == "1" for value in values)
            return "1" if found else "0"
        strings = [value for value in values if isinstance(value, str)]
        if expression == Path(("id",)) and len(strings) == len(values):
            return f"(id IN {self.listed(strings)})"
        one = self.typed(expression)
        numbers = [value for value in values if type(value) in (int, float)]
        nested = [canonical(value) for value in values if isinstance(value, list | dict)]
        cases = []
        if strings:
            texts = [dumps(value) for value in strings]
            cases.append(f"WHEN {one.type}='text' THEN {one.text} IN {self.listed(texts)}")
        if numbers:
            cases.append(f"WHEN {one.type} IN {_NUMBER} THEN {one.value} IN {self.listed(numbers)}")
        if any(isinstance(value, bool) for value in values):
            for name, truth in (("true", True), ("false", False)):
                cases.append(f"WHEN {one.type}='{name}' THEN {int(any(value is truth for value in values))}")
        if None in values:
            cases.append(f"WHEN {one.type}='null' THEN 1")
        if nested:
            cases.append(f"WHEN {one.type} IN ('array','object') THEN canonical({one.text}) IN {self.listed(nested)}")
        if otherwise is not None:
            cases.append(f"WHEN {one.type} IS NOT NULL THEN {otherwise}")
        return f"(CASE {' '.join(cases)} END)" if cases else "NULL"

    def listed(self, values: list[Any]) -> str:
        """A list bound as one JSON text, however long it is."""
        return f"(SELECT value FROM json_each({self.bind(json.dumps(values))}))"

    def function(self, name: str, arguments: tuple[Any, ...]) -> str:
        """The functions that answer true or false."""
        if name == "IS_DEFINED" and len(arguments) == 1:
            if is_constant(arguments[0]):
                return str(int(constant(arguments[0]) is not ...))
            return f"({self.typed(arguments[0]).type} IS NOT NULL)"
        if name in _IS and len(arguments) == 1:
            if is_constant(arguments[0]):
                raise unsupported(f"{name} of a constant")
            return f"COALESCE({self.typed(arguments[0]).type} IN {_IS[name]}, 0)"
        if name in ("STARTSWITH", "ENDSWITH", "CONTAINS") and len(arguments) in (2, 3):
            return self.part_of(name, arguments)
        if name == "ARRAY_CONTAINS" and len(arguments) in (2, 3):
            if len(arguments) == 3 and constant(arguments[2]) is not False:
                raise unsupported("ARRAY_CONTAINS with a partial match")
            return self.array_contains(arguments[0], arguments[1])
        if name in AGGREGATES:
            raise unsupported(f"{name} in a condition")
        if not name[0].isalpha():
            raise unsupported(f"the operator {name}")
        raise unsupported(f"the function {name} with {len(arguments)} arguments")

    def part_of(self, name: str, arguments: tuple[Any, ...]) -> str:
        """STARTSWITH, ENDSWITH and CONTAINS, of a property and a constant."""
        if len(arguments) == 3 and constant(arguments[2]) is not False:
            raise unsupported(f"{name} without regard to case")
        part = constant(arguments[1])
        if is_constant(arguments[0]):
            raise unsupported(f"{name} of a constant")
        if not isinstance(part, str):
            return "NULL"
        one, wanted = self.typed(arguments[0]), self.bind(part)
        found = {
            "STARTSWITH": f"substr({one.value},1,{len(part)})={wanted}",
            "ENDSWITH": f"substr({one.value},-{len(part)})={wanted}" if part else "1",
            "CONTAINS": f"instr({one.value},{wanted})>0",
        }[name]
        return f"(CASE {one.type} WHEN 'text' THEN {found} END)"

    def array_contains(self, array: Any, wanted: Any) -> str:
        """Membership in a constant list, or in an array of the document."""
        if is_constant(array):
            values = constant(array)
            return self.one_of(wanted, values, 0) if isinstance(values, list) else "NULL"
        if not is_constant(wanted):
            raise unsupported("ARRAY_CONTAINS of two properties")
        one = self.typed(array)
        if not isinstance(array, Path) or not array.steps:
            return "NULL"
        if isinstance(constant(wanted), str):
            equal = f"entry.type='text' AND entry.value = {self.bind(constant(wanted))}"
        else:
            text = "CASE WHEN entry.type IN ('array','object') THEN entry.value END"
            equal = self.with_constant("=", Typed("entry.type", "entry.value", text), constant(wanted))
        inside = f"EXISTS (SELECT 1 FROM json_each({one.text}) AS entry WHERE {equal})"
        return f"(CASE {one.type} WHEN 'array' THEN {inside} END)"


def is_constant(expression: Any) -> bool:
    """Whether the value is known without a document."""
    if isinstance(expression, Construct):
        return all(is_constant(value) for value in expression.values)
    return isinstance(expression, Literal)


def constant(expression: Any) -> Any:
    """The value of a constant expression (... is undefined)."""
    if isinstance(expression, Literal):
        return expression.value
    if not is_constant(expression):
        raise unsupported(f"{_spoken(expression)} where a constant is expected")
    values = [constant(value) for value in expression.values]
    if expression.names is None:
        return [value for value in values if value is not ...]
    return {name: value for name, value in zip(expression.names, values, strict=True) if value is not ...}


def json_path(steps: tuple[str | int, ...]) -> str | None:
    """A path as SQLite writes it, as an SQL text constant; None for names that SQLite cannot find."""
    path = "$"
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif '"' in step or "\\" in step or any(character < " " for character in step):
            return None
        else:
            path += f'."{step}"'
    return "'" + path.replace("'", "''") + "'"


def text_at(body: str, steps: str) -> str | None:
    """The JSON text at a path (a JSON array of names and places) in a document; None if there is nothing."""
    for step in json.loads(steps):
        if isinstance(step, str):
            inner = members(body) if body.startswith("{") else {}
            if step not in inner:
                return None
            body = inner[step].text
        else:
            entries = elements(body) if body.startswith("[") else []
            if not 0 <= step < len(entries):
                return None
            body = entries[step]
    return body


def canonical(value: Any) -> str | None:
    """One text for equal arrays and objects (given as JSON text or as value), whatever their order of names."""
    if value is None:
        return None
    if isinstance(value, str):
        value = json.loads(value)
    return json.dumps(_comparable(value), sort_keys=True)


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {name: _comparable(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fold(sign: str, left: Any, right: Any) -> str:
    kinds = [_kind(left), _kind(right)]
    if kinds[0] != kinds[1] or kinds[0] == "undefined":
        return "NULL"
    if kinds[0] == "nested":
        left, right = canonical(left), canonical(right)
        if sign not in ("=", "!="):
            return "NULL"
    if left is None:
        left = right = 0
    return str(int(_OPERATORS[sign](left, right)))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list | dict):
        return "nested"
    return "undefined" if value is ... else type(value).__name__


def _balanced(parts: list[str], word: str) -> str:
    # SQLite limits the depth of an expression, and a chain of a thousand ORs is that deep.
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)} {word} {_balanced(parts[middle:], word)})"


def _spoken(expression: Any) -> str:
    if isinstance(expression, Call):
        return expression.name
    if isinstance(expression, Literal):
        return f"the constant {dumps(expression.value)[:40]}" if expression.value is not ... else "undefined"
    return "an array" if isinstance(expression, Construct) and expression.names is None else "an object"

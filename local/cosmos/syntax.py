"""Cosmos SQL text → syntax tree.

A parser of its own, because the dialect is not SQL where it matters here: `c["a"]["b"]`, `SELECT VALUE {...}`,
undefined, and property names that are SQL keywords.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import CosmosError, bad_request


@dataclass(frozen=True)
class Literal:
    """A constant, or a parameter's value."""

    value: Any


@dataclass(frozen=True)
class Path:
    """A property of the document; no steps means the document itself."""

    steps: tuple[str | int, ...]


@dataclass(frozen=True)
class Call:
    """A function, or an operator written as one: AND, OR, NOT, IN, BETWEEN, =, <, ..."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Construct:
    """`{...}` (with names) or `[...]` (without)."""

    names: tuple[str, ...] | None
    values: tuple[Any, ...]


@dataclass
class Select:
    """A whole query."""

    alias: str = "c"
    star: bool = False
    value: bool = False
    distinct: bool = False
    columns: list[tuple[str, Any]] = field(default_factory=list)
    where: Any = None
    order: list[tuple[Any, bool]] = field(default_factory=list)
    group: bool = False
    top: int | None = None
    offset: int | None = None
    limit: int | None = None
    texts: dict[str, str] = field(default_factory=dict)


UNDEFINED = Literal(...)

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?\*/
    |(?P<number>(?:0[xX][0-9a-fA-F]+)|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<parameter>@[A-Za-z_0-9]+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<sign><>|!=|<=|>=|\?\?|\|\||<<|>>>?|[-=<>(){}\[\],.*:?+/%&|^~])""",
    re.VERBOSE | re.DOTALL,
)
_CLAUSES = frozenset({"FROM", "WHERE", "ORDER", "GROUP", "OFFSET", "LIMIT", "TOP", "AS", "JOIN", "IN", "HAVING"})
_COMPARE = {"=", "!=", "<>", "<", "<=", ">", ">="}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parse(text: str, parameters: dict[str, Any]) -> Select:
    """The tree of a query; 400 with a sentence that names what is not supported."""
    return _Parser(text, parameters).select()


def unsupported(construct: str) -> CosmosError:
    """400 for a construct that Cosmos knows and this server does not."""
    return bad_request(f"This development server does not support {construct} in a query.")


class _Parser:
    def __init__(self, text: str, parameters: dict[str, Any]):
        self.tokens: list[tuple[str, str, int]] = []
        self.at = 0
        self.text = text
        self.alias = ""
        self.parameters = parameters
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise bad_request(f"Syntax error, incorrect syntax near {text[position : position + 20]!r}.")
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match.group(), position))
            position = match.end()
        self.tokens.append(("end", "", len(text)))

    def select(self) -> Select:
        query = Select()
        self.need("SELECT")
        query.distinct = self.take("DISTINCT")
        if self.take("TOP"):
            query.top = self.count("TOP")
        query.value = self.take("VALUE")
        # The alias stands behind the columns that use it.
        after_select = self.at
        self.skip_to_from()
        self.need("FROM")
        begin = self.at
        self.from_clause(query)
        query.texts["from"] = self.source(begin)
        after_from = self.at
        self.at = after_select
        self.columns(query)
        if not self.peek("FROM"):
            raise self.error()
        self.at = after_from
        if self.take("WHERE"):
            begin = self.at
            query.where = self.expression()
            query.texts["where"] = self.source(begin)
        if self.peek("GROUP"):
            raise unsupported("GROUP BY")
        if self.take("ORDER"):
            self.need("BY")
            if self.peek("RANK"):
                raise unsupported("ORDER BY RANK")
            while True:
                begin = self.at
                key = self.expression()
                query.texts[f"order{len(query.order)}"] = self.source(begin)
                descending = self.take("DESC")
                if not descending:
                    self.take("ASC")
                query.order.append((key, descending))
                if not self.take(","):
                    break
        if self.take("OFFSET"):
            query.offset = self.count("OFFSET")
            self.need("LIMIT")
            query.limit = self.count("LIMIT")
        if self.tokens[self.at][0] != "end":
            raise self.error()
        return query

    def from_clause(self, query: Select) -> None:
        query.alias = self.name()
        if self.peek(".") or self.peek("["):
            raise unsupported("FROM over a property")
        if self.take("AS") or (self.tokens[self.at][0] == "name" and self.tokens[self.at][1].upper() not in _CLAUSES):
            query.alias = self.name()
        if self.peek("IN") or self.peek(","):
            raise unsupported("FROM ... IN (iteration over an array)")
        if self.peek("JOIN"):
            raise unsupported("JOIN")
        self.alias = query.alias

    def columns(self, query: Select) -> None:
        if self.take("*"):
            query.star = True
            return
        while True:
            begin = self.at
            expression = self.expression()
            query.texts[f"column{len(query.columns)}"] = self.source(begin)
            if query.value:
                query.columns.append(("", expression))
                return
            named = self.take("AS")
            if named or (self.tokens[self.at][0] == "name" and not self.peek("FROM")):
                name = self.name()
            elif isinstance(expression, Path):
                name = str(expression.steps[-1]) if expression.steps else query.alias
            else:
                name = f"${sum(1 for known, _ in query.columns if known.startswith('$')) + 1}"
            query.columns.append((name, expression))
            if not self.take(","):
                return

    def expression(self) -> Any:
        return self.chain("OR", lambda: self.chain("AND", self.negation))

    def chain(self, word: str, part: Any) -> Any:
        parts = [part()]
        while self.take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Call(word, tuple(parts))

    def negation(self) -> Any:
        if self.take("NOT"):
            return Call("NOT", (self.negation(),))
        return self.comparison()

    def comparison(self) -> Any:
        left = self.operand()
        sign = self.tokens[self.at][1]
        if self.tokens[self.at][0] == "sign" and sign in _COMPARE:
            self.at += 1
            return Call("!=" if sign == "<>" else sign, (left, self.operand()))
        inverted = self.take("NOT")
        if self.take("IN"):
            self.need("(")
            found = Call("IN", (left, *self.listed(")")))
        elif self.take("BETWEEN"):
            low = self.operand()
            self.need("AND")
            found = Call("AND", (Call(">=", (left, low)), Call("<=", (left, self.operand()))))
        elif self.peek("LIKE"):
            raise unsupported("LIKE")
        elif inverted:
            raise self.error()
        else:
            if self.tokens[self.at][0] == "sign" and sign in {"+", "-", "*", "/", "%", "?", "??", "||", "&", "|", "^"}:
                raise unsupported(f"the operator {sign}")
            return left
        return Call("NOT", (found,)) if inverted else found

    def operand(self) -> Any:
        kind, text, _ = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return Literal(int(text, 16) if text[:2] in ("0x", "0X") else _number(text))
        if kind == "string":
            return Literal(_string(text))
        if kind == "parameter":
            if text not in self.parameters:
                raise bad_request(f"The query names the parameter {text}, which was not given.")
            return Literal(self.parameters[text])
        if text == "-":
            inner = self.operand()
            if isinstance(inner, Literal) and isinstance(inner.value, int | float):
                return Literal(-inner.value)
            raise unsupported("the unary minus of an expression")
        if text == "(":
            if self.peek("SELECT"):
                raise unsupported("a subquery")
            inner = self.expression()
            self.need(")")
            return inner
        if text == "{":
            return self.object()
        if text == "[":
            return Construct(None, tuple(self.listed("]")))
        if kind == "name":
            return self.named(text)
        self.at -= 1
        raise self.error()

    def named(self, text: str) -> Any:
        upper = text.upper()
        if self.take("("):
            if self.peek("SELECT"):
                raise unsupported(f"{upper}(subquery)")
            if self.take("*"):
                self.need(")")
                return Call(upper, (Literal(1),))
            return Call(upper, tuple(self.listed(")")))
        if upper in {"TRUE", "FALSE", "NULL", "UNDEFINED"} and text != self.alias:
            return {"TRUE": Literal(True), "FALSE": Literal(False), "NULL": Literal(None)}.get(upper, UNDEFINED)
        if upper in {"EXISTS", "ARRAY"}:
            raise unsupported(upper)
        if text != self.alias and text.lower() != "root":
            raise bad_request(f"Identifier {text!r} could not be resolved.")
        steps: list[str | int] = []
        while True:
            if self.take("."):
                if self.peek("*"):
                    raise unsupported(f"{text}.*")
                steps.append(self.name())
            elif self.take("["):
                index = self.operand()
                self.need("]")
                if not isinstance(index, Literal) or type(index.value) not in (str, int):
                    raise unsupported("a computed property name")
                steps.append(index.value)
            else:
                return Path(tuple(steps))

    def object(self) -> Construct:
        names: list[str] = []
        values: list[Any] = []
        while not self.take("}"):
            if names:
                self.need(",")
            kind, text, _ = self.tokens[self.at]
            self.at += 1
            names.append(_string(text) if kind == "string" else text)
            self.need(":")
            values.append(self.expression())
        return Construct(tuple(names), tuple(values))

    def listed(self, closing: str) -> list[Any]:
        found: list[Any] = []
        while not self.take(closing):
            if found:
                self.need(",")
            found.append(self.expression())
        return found

    def count(self, clause: str) -> int:
        value = self.operand()
        if not isinstance(value, Literal) or type(value.value) is not int or value.value < 0:
            raise bad_request(f"{clause} needs a whole number that is not negative.")
        return value.value

    def skip_to_from(self) -> None:
        depth = 0
        while self.tokens[self.at][0] != "end" and (depth or not self.peek("FROM")):
            sign = self.tokens[self.at][1] if self.tokens[self.at][0] == "sign" else ""
            depth += (sign in {"(", "[", "{"} and sign != "") - (sign in {")", "]", "}"} and sign != "")
            self.at += 1
        if self.tokens[self.at][0] == "end":
            raise unsupported("SELECT without FROM")

    def source(self, begin: int) -> str:
        return self.text[self.tokens[begin][2] : self.tokens[self.at][2]].rstrip()

    def name(self) -> str:
        kind, text, _ = self.tokens[self.at]
        if kind != "name":
            raise self.error()
        self.at += 1
        return text

    def peek(self, word: str) -> bool:
        kind, text, _ = self.tokens[self.at]
        return kind in ("name", "sign") and text.upper() == word

    def take(self, word: str) -> bool:
        found = self.peek(word)
        self.at += found
        return found

    def need(self, word: str) -> None:
        if not self.take(word):
            raise self.error()

    def error(self) -> CosmosError:
        return bad_request(f"Syntax error, incorrect syntax near {self.tokens[self.at][1] or 'the end'!r}.")


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _string(token: str) -> str:
    inner = token[1:-1]
    if "\\" not in inner:
        return inner

    def unescape(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    text = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", unescape, inner, flags=re.DOTALL)
    # Two escapes may be the halves of one character.
    return str(json.loads(json.dumps(text)))

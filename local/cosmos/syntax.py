"""Cosmos SQL text → syntax tree.

A parser of its own, because the dialect is not SQL where it matters here: `c["a"]["b"]`, `SELECT VALUE {...}`, and
undefined. What the service refuses is refused in its words, and what it knows and this server does not by another
sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import CosmosError, bad_request
from .words import (
    FUNCTIONS,
    Token,
    is_keyword,
    number,
    string,
    syntax_error,
    tokens,
    unknown_function,
    unresolved,
    unsupported,
)


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

_COMPARE = {"=", "!=", "<>", "<", "<=", ">", ">="}
_ARITHMETIC = {"+", "-", "*", "/", "%", "||", "&", "|", "^", "<<", ">>", ">>>"}
_CONSTANTS = {"true": Literal(True), "false": Literal(False), "null": Literal(None), "undefined": UNDEFINED}


def parse(text: str, parameters: dict[str, Any]) -> Select:
    """The tree of a query; 400 with a sentence that names what is not supported."""
    return _Parser(text, parameters).select()


class _Parser:
    def __init__(self, text: str, parameters: dict[str, Any]):
        self.tokens = tokens(text)
        self.at = 0
        self.text = text
        self.alias = ""
        self.parameters = parameters
        # Told only once the whole query is known to be well-formed, as the service does.
        self.problems: list[CosmosError] = []

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
        if self.tokens[self.at].kind != "end":
            raise self.error()
        if self.problems:
            raise self.problems[0]
        return query

    def from_clause(self, query: Select) -> None:
        query.alias = self.name()
        if self.peek(".") or self.peek("["):
            raise unsupported("FROM over a property")
        if self.take("AS") or self.at_name():
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
            if self.take("AS") or self.at_name():
                name = self.name()
            elif isinstance(expression, Path):
                name = str(expression.steps[-1]) if expression.steps else query.alias
            else:
                name = f"${sum(1 for known, _ in query.columns if known.startswith('$')) + 1}"
            query.columns.append((name, expression))
            if not self.take(","):
                return

    def expression(self) -> Any:
        found = self.chain("OR", lambda: self.chain("AND", self.negation))
        if self.take("?"):
            chosen = self.expression()
            self.need(":")
            return Call("?", (found, chosen, self.expression()))
        if self.take("??"):
            return Call("??", (found, self.expression()))
        return found

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
        left = self.arithmetic()
        sign = self.tokens[self.at].text
        if self.tokens[self.at].kind == "sign" and sign in _COMPARE:
            self.at += 1
            return Call("!=" if sign == "<>" else sign, (left, self.arithmetic()))
        inverted = self.take("NOT")
        if self.take("IN"):
            self.need("(")
            if self.peek(")"):
                raise self.error()
            found = Call("IN", (left, *self.listed(")")))
        elif self.take("BETWEEN"):
            low = self.arithmetic()
            self.need("AND")
            found = Call("AND", (Call(">=", (left, low)), Call("<=", (left, self.arithmetic()))))
        elif self.peek("LIKE"):
            raise unsupported("LIKE")
        elif inverted:
            raise self.error()
        else:
            return left
        return Call("NOT", (found,)) if inverted else found

    def arithmetic(self) -> Any:
        # Read to the end although none of it can be run: what is wrong with its names is told first.
        # So c.customer-id is the difference of c.customer and of a name `id` that nobody knows.
        found = self.operand()
        while self.tokens[self.at].kind == "sign" and (sign := self.tokens[self.at].text) in _ARITHMETIC:
            self.at += 1
            found = Call(sign, (found, self.operand()))
        return found

    def operand(self) -> Any:
        token = self.tokens[self.at]
        kind, text, _ = token
        self.at += 1
        if kind == "number":
            return Literal(number(text))
        if kind == "string":
            return Literal(string(token))
        if kind == "parameter":
            if text not in self.parameters:
                raise bad_request(f"The query names the parameter {text}, which was not given.")
            return Literal(self.parameters[text])
        if text in {"-", "+", "~"}:
            inner = self.operand()
            if text == "-" and isinstance(inner, Literal) and type(inner.value) in (int, float):
                return Literal(-inner.value)
            return Call(text, (inner,))
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
            return self.named(token)
        self.at -= 1
        raise self.error()

    def named(self, token: Token) -> Any:
        text, upper = token.text, token.text.upper()
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text == "udf":
            raise unsupported("a user-defined function")
        if self.peek("(") and (not is_keyword(text) or upper in {"LEFT", "RIGHT", "EXISTS", "ARRAY"}):
            return self.call(token)
        if is_keyword(text):
            self.at -= 1
            raise self.error()
        if text != self.alias:
            self.problems.append(unresolved(token))
        steps: list[str | int] = []
        while True:
            if self.take("."):
                if self.peek("*"):
                    raise unsupported(f"{text}.*")
                steps.append(self.name())
            elif self.take("["):
                index = self.expression()
                self.need("]")
                if isinstance(index, Literal) and type(index.value) in (str, int):
                    steps.append(index.value)
                else:
                    self.problems.append(unsupported("a computed property name"))
            else:
                return Path(tuple(steps))

    def call(self, token: Token) -> Call:
        upper = token.text.upper()
        self.need("(")
        if self.peek("SELECT"):
            raise unsupported(f"{upper}(subquery)")
        if upper in {"EXISTS", "ARRAY"}:
            raise self.error()
        arguments = (Literal(1),) if upper == "COUNT" and self.take("*") else ()
        if arguments:
            self.need(")")
        else:
            arguments = tuple(self.listed(")"))
        if upper not in FUNCTIONS:
            self.problems.append(unknown_function(token))
        return Call(upper, arguments)

    def object(self) -> Construct:
        names: list[str] = []
        values: list[Any] = []
        while not self.take("}"):
            if names:
                self.need(",")
            if self.tokens[self.at].kind == "string":
                names.append(string(self.tokens[self.at]))
                self.at += 1
            else:
                names.append(self.name())
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
        while self.tokens[self.at].kind != "end" and (depth or not self.peek("FROM")):
            sign = self.tokens[self.at].text if self.tokens[self.at].kind == "sign" else ""
            depth += (sign in {"(", "[", "{"} and sign != "") - (sign in {")", "]", "}"} and sign != "")
            self.at += 1
        if self.tokens[self.at].kind == "end":
            raise unsupported("SELECT without FROM")

    def source(self, begin: int) -> str:
        return self.text[self.tokens[begin].at : self.tokens[self.at].at].rstrip()

    def at_name(self) -> bool:
        token = self.tokens[self.at]
        return token.kind == "name" and not is_keyword(token.text)

    def name(self) -> str:
        if not self.at_name():
            raise self.error()
        self.at += 1
        return self.tokens[self.at - 1].text

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
        return syntax_error(self.tokens[self.at])

"""Which rows of a table a service is about: the setting ``where``, as conditions on columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from backup_sync.model.text import encodable

Value = str | int | float | bool

IN, NOT, AT_LEAST, BELOW, IS_NULL = OPERATORS = ("in", "not", "at_least", "below", "is_null")
"""One of these values; none of them, which takes in NULL; this value or a higher one; a lower one; NULL, or not NULL."""


@dataclass(frozen=True)
class Condition:
    """What a column has to hold. ``values``: one or more for ``in`` and ``not``, otherwise just one."""

    column: str
    operator: str
    values: tuple[Value, ...]


def parse_where(where: Mapping[str, Any]) -> tuple[Condition, ...]:
    """The setting as it stands in the file: column → value, or column → operators. A row has to fulfil all of it.

    Raises ValueError, without any value: what was put in the wrong place may be a password.
    """
    return tuple(condition for column, wanted in where.items() for condition in _conditions(column, wanted))


def _conditions(column: str, wanted: Any) -> list[Condition]:
    if not isinstance(wanted, dict):
        return [Condition(column, IN, (_value(column, wanted),))]
    if not wanted:
        raise ValueError(f"'where' says nothing of {column}; give a value, or one of {', '.join(OPERATORS)}")
    if unknown := [name for name in wanted if name not in OPERATORS]:
        raise ValueError(f"'where' of {column} does not know {unknown[0]!s}; known are {', '.join(OPERATORS)}")
    return [Condition(column, name, _values(column, name, given)) for name, given in wanted.items()]


def _values(column: str, operator: str, given: Any) -> tuple[Value, ...]:
    if operator == IS_NULL:
        if not isinstance(given, bool):
            raise ValueError(f"'is_null' of {column} in 'where' has to be true or false")
        return (given,)
    if operator in (IN, NOT) and isinstance(given, list):
        if not given:
            raise ValueError(f"the list of {column} in 'where' is empty; name at least one value")
        return tuple(_value(column, one) for one in given)
    if operator == IN:
        raise ValueError(f"'in' of {column} in 'where' has to be a list; a single value needs no operator")
    return (_value(column, given),)


def _value(column: str, value: Any) -> Value:
    if value is None:
        raise ValueError(f"'where' compares {column} with nothing; for NULL write {{is_null: true}}")
    if isinstance(value, list):
        raise ValueError(f"'where' gives {column} a list; write {{in: […]}}")
    if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"'where' of {column} has to be text, a number, true or false")
    if isinstance(value, str) and (not encodable(value) or any(category(one) == "Cc" for one in value)):
        raise ValueError(f"the text of {column} in 'where' holds a control character; remove it")
    return value

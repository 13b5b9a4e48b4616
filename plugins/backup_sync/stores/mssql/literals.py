"""Values of the services file as T-SQL's statements have them.

A literal has the type of the column or one that loses to it, so that the value is converted and not the column, whose index
would be of no use then (https://learn.microsoft.com/sql/t-sql/data-types/data-type-precedence-transact-sql).
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from backup_sync.model.where import Value
from backup_sync.stores.mssql import types
from backup_sync.stores.sql.shape import Column

MOST_DIGITS = 38
"""Of a DECIMAL."""
FIRST_YEAR = {"datetime": 1753, "smalldatetime": 1900}
LAST_YEAR = {"smalldatetime": 2078}
MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)?"
    r"(?:(?(date)[ T])(?P<time>\d\d:\d\d)(?P<seconds>:\d\d)?(?P<fraction>\.\d{1,7})?(?P<offset>Z|[+-]\d\d:\d\d)?)?"
)


def literal(column: Column, value: Value) -> str:
    """See :data:`backup_sync.stores.sql.where.Literal`."""
    name = types.base(column.type)
    if name in types.INTEGERS:
        return _whole(value)
    if name == "bit":
        if value not in (0, 1) or isinstance(value, float):
            raise ValueError("give true or false")
        return str(int(value))
    if name in types.EXACT:
        return _exact(value)
    if name in types.FLOATS:
        if isinstance(value, (str, bool)):
            raise ValueError("give a number")
        return f"CONVERT({column.type}, {float(value)!r})"
    if name not in types.TEXTS | types.MOMENTS | {"uniqueidentifier"}:
        raise ValueError("only is_null can be asked of it")
    if not isinstance(value, str):
        raise ValueError("give text, in quotes")
    if name in types.TEXTS:
        return _text(value, column.type)
    if name in types.MOMENTS:
        return _moment(value, name)
    try:
        return f"CONVERT(uniqueidentifier, '{UUID(value)}')"
    except ValueError:
        raise ValueError("give a GUID") from None


def comparable(quoted: str, type_: str) -> str:
    """A column as it can be compared: what the catalog calls VARCHAR(MAX) may be TEXT, which = refuses."""
    return f"CONVERT({type_}, {quoted})" if types.base(type_) in types.TEXTS and "max" in type_ else quoted


def _whole(value: Value) -> str:
    if isinstance(value, (str, bool, float)) or not -(2**63) <= value < 2**63:
        raise ValueError("give a whole number of 64 bits at most")
    # Beyond INT a literal would be a NUMERIC, which wins over BIGINT.
    return str(value) if abs(value) < 2**31 else f"CONVERT(BIGINT, {value})"


def _exact(value: Value) -> str:
    if isinstance(value, (str, bool)):
        raise ValueError("give a number")
    text = format(Decimal(repr(value)), "f")
    if sum(map(str.isdigit, text)) > MOST_DIGITS:
        raise ValueError(f"give a number of {MOST_DIGITS} digits at most")
    return text


def _text(value: str, type_: str) -> str:
    length = type_.partition("(")[2].rstrip(")")
    if length.isdecimal() and len(value.encode("utf-16-le")) // 2 > int(length):
        raise ValueError("give a text that fits into it")
    # As VARCHAR, what the code page lacks would be another character.
    national = "" if types.base(type_) in types.NARROW and value.isascii() else "N"
    # The driver would take %s and %d for parameters.
    parts = re.sub("%(?=[sd])", f"%' + {national}'", value.replace("'", "''"))
    return f"{national}'{parts}'"


def _moment(value: str, name: str) -> str:
    found = MOMENT.fullmatch(value)
    if found is None or not _is_moment(found):
        raise ValueError("give a date or a time as in 2026-11-27 or 2026-11-27 06:30:00")
    date, time, offset = found["date"], found["time"], found["offset"]
    if (date is None) != (name == "time") or (time and name == "date"):
        raise ValueError({"time": "give a time alone", "date": "give a date alone"}.get(name, "give a date"))
    if offset and name != "datetimeoffset":
        raise ValueError("give it without an offset")
    clock = f"{time}{found['seconds'] or ':00'}{found['fraction'] or ''}" if time else ""
    if name in FIRST_YEAR:
        whole = "minutes" if name == "smalldatetime" else "seconds"
        if found["fraction"] or (whole == "minutes" and clock and found["seconds"] not in (None, ":00")):
            raise ValueError(f"give whole {whole}, since it rounds others")
        if not FIRST_YEAR[name] <= int(date[:4]) <= LAST_YEAR.get(name, 9999):
            raise ValueError("give a date that it can hold")
        return f"CONVERT({name}, '{' '.join(filter(None, (date, clock)))}', 121)"
    if name == "date":
        return f"CONVERT(date, '{date}', 121)"
    if name == "datetimeoffset":
        clock = f"{clock or '00:00:00'} {'+00:00' if offset in (None, 'Z') else offset}"
    return f"CONVERT({name}(7), '{' '.join(filter(None, (date, clock)))}', 121)"


def _is_moment(found: re.Match[str]) -> bool:
    if not (found["date"] or found["time"]) or (found["fraction"] and not found["seconds"]):
        return False
    offset = (found["offset"] or "").replace("Z", "+00:00")
    try:
        datetime.fromisoformat(
            f"{found['date'] or '2000-01-01'}T{found['time'] or '00:00'}{found['seconds'] or ':00'}{offset}"
        )
    except ValueError:
        return False
    return True

"""SQL Server's types: how a value leaves the source, travels, and arrives unchanged.

Values travel as what the driver carries without loss; everything else travels as text that the server itself makes
and reads: pymssql cuts DATETIME2 to microseconds (and parameters to milliseconds), and has no type for
UNIQUEIDENTIFIER or DATETIMEOFFSET in a bulk copy.

Styles of CONVERT: https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
(121 = ODBC canonical with all fractional digits; 2 for binary = hex without 0x; 3 for float = 17 significant digits,
which round-trip; 1 for xml = white space between elements stays).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backup_sync.model.text import encodable

INTEGERS = {"tinyint", "smallint", "int", "bigint"}
TEXTS = {"char", "varchar", "nchar", "nvarchar", "text", "ntext"}
NARROW = {"char", "varchar"}
BINARIES = {"binary", "varbinary", "image", "timestamp", "rowversion"}
MOMENTS = {"datetime", "smalldatetime", "date", "time", "datetime2", "datetimeoffset"}
EXACT = {"decimal", "numeric", "money", "smallmoney"}
FLOATS = {"float", "real"}
OTHERS = {"bit", "uniqueidentifier", "xml"}
LOOSE = TEXTS | {"varbinary", "datetimeoffset"}
"""Types of which two values may differ and be one key: by case, accents or trailing blanks, by trailing zero bytes, and
by the offset in which one instant is written."""
KNOWN = INTEGERS | TEXTS | BINARIES | MOMENTS | EXACT | FLOATS | OTHERS

REFUSED = {
    "sql_variant": "each of its values has a type of its own, which a copy would lose",
    "geography": "CLR types cannot be read through this driver",
    "geometry": "CLR types cannot be read through this driver",
    "hierarchyid": "CLR types cannot be read through this driver",
}


def base(type_: str) -> str:
    """``nvarchar`` of ``nvarchar(100)``."""
    return type_.partition("(")[0].strip().lower()


def declared(row: Mapping[str, Any]) -> str:
    """The type as a CREATE TABLE would write it, from a row of INFORMATION_SCHEMA.COLUMNS (upper-case names)."""
    name = str(row["DATA_TYPE"]).lower()
    if name in {"timestamp", "rowversion"}:
        return "binary(8)"  # a copy must hold the source's value, and not count versions itself
    if name in {"text", "ntext", "image"}:
        # Deprecated types that cannot be compared or bulk-copied well; their successors hold the same values.
        return {"text": "varchar(max)", "ntext": "nvarchar(max)", "image": "varbinary(max)"}[name]
    if name in {"char", "varchar", "nchar", "nvarchar", "binary", "varbinary"}:
        length = row["CHARACTER_MAXIMUM_LENGTH"]
        return f"{name}({'max' if length in (-1, None) or length > 8000 else length})"
    if name in {"decimal", "numeric"}:
        return f"{name}({row['NUMERIC_PRECISION']},{row['NUMERIC_SCALE']})"
    if name in {"time", "datetime2", "datetimeoffset"}:
        return f"{name}({7 if row['DATETIME_PRECISION'] is None else row['DATETIME_PRECISION']})"
    if name == "float" and row["NUMERIC_PRECISION"] == 24:
        return "real"
    return name


def outgoing(quoted: str, type_: str) -> str:
    """The expression that selects a column in its wire form."""
    name = base(type_)
    if name in MOMENTS:
        return f"CONVERT(VARCHAR(34), {quoted}, 121)"
    if name in {"money", "smallmoney"}:
        return f"CONVERT(VARCHAR(30), CONVERT(DECIMAL(19, 4), {quoted}))"  # MONEY alone would show two decimals
    if name in {"decimal", "numeric"}:
        return f"CONVERT(VARCHAR(45), {quoted})"
    if name == "uniqueidentifier":
        return f"CONVERT(CHAR(36), {quoted})"
    if name == "xml":
        return f"CONVERT(NVARCHAR(MAX), {quoted})"
    return quoted


def text(type_: str) -> str | None:
    """The expression (with {} for the column) whose text says what :func:`outgoing` does, or None where none is exact.

    CAST says what CONVERT says for the types that it is used for here, and a server that is not Microsoft's takes a
    quarter of the time for it. FLOAT loses digits either way, and BINARY has no text that all servers write alike.
    """
    name = base(type_)
    if name == "uniqueidentifier":
        return "CAST({} AS VARCHAR(36))"
    if name in {"date", "datetime2", "datetimeoffset"}:
        return "CAST({} AS VARCHAR(34))"
    if name in {"decimal", "numeric"}:
        return "CAST({} AS VARCHAR(45))"
    if name in MOMENTS | EXACT:
        return outgoing("{}", type_)
    return None


@dataclass(frozen=True)
class Incoming:
    """How a posted JSON value becomes the column's value: its type in OPENJSON, and the expression around it."""

    json_type: str
    expression: str  # with {} for the posted value


def incoming(type_: str, collation: str | None = None) -> Incoming:
    """Wire form → column, through OPENJSON."""
    name = base(type_)
    if name in NARROW:
        # Through Unicode, with the column's collation given first: the code page of the database may lack its letters.
        return Incoming("nvarchar(max)", f"CONVERT({type_}, {{}}{_collate(collation)})")
    if name in BINARIES:
        return Incoming("varchar(max)", f"CONVERT({type_}, {{}}, 2)")
    if name in FLOATS:
        return Incoming("varchar(40)", f"CONVERT({type_}, {{}})")
    if name in MOMENTS:
        return Incoming("varchar(34)", f"CONVERT({type_}, {{}}, 121)")
    if name == "xml":
        return Incoming("nvarchar(max)", "CONVERT(xml, {}, 1)")
    if name == "uniqueidentifier":
        return Incoming("char(36)", f"CONVERT({type_}, {{}})")
    if name in EXACT:
        return Incoming("varchar(45)", f"CONVERT({type_}, {{}})")
    if name == "bit":
        return Incoming("int", "CONVERT(bit, {})")
    return Incoming(type_, "{}")


def exactly(quoted: str, type_: str) -> str:
    """The expression that selects a column in its wire form, text as the bytes of its UTF-16."""
    if base(type_) in TEXTS:
        return f"CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), {quoted}))"
    return outgoing(quoted, type_)


def differs(one: str, other: str, type_: str) -> str:
    """The condition that two expressions of a type differ in any byte. ``=`` goes by collation, pads blanks and zero bytes,
    and takes 12:00 +01:00 for 11:00 +00:00."""
    name = base(type_)
    form = "{}"
    if name in TEXTS:
        form = "CONVERT(VARBINARY(MAX), {})"
    elif name == "xml":
        form = "CONVERT(VARBINARY(MAX), CONVERT(NVARCHAR(MAX), {}))"
    elif name in FLOATS:
        form = "CONVERT(VARBINARY(8), {})"  # the two zeros
    elif name == "datetimeoffset":
        form = "CONVERT(VARCHAR(34), {}, 121)"
    a, b = form.format(one), form.format(other)
    longer = f" OR DATALENGTH({one}) <> DATALENGTH({other})" if name in TEXTS | BINARIES else ""
    return f"({a} <> {b}{longer} OR {one} IS NULL AND {other} IS NOT NULL OR {one} IS NOT NULL AND {other} IS NULL)"


def from_exact(value: Any, type_: str) -> Any:
    """What :func:`exactly` selected, in wire form."""
    return value.decode("utf-16-le", "surrogatepass") if value is not None and base(type_) in TEXTS else value


def posted(rows: Any) -> str:
    """JSON for OPENJSON, in plain characters where they can be sent; half a surrogate pair is sent as an escape."""
    text = json.dumps(rows, ensure_ascii=False)
    return text if encodable(text) else json.dumps(rows)


def to_json(value: Any) -> Any:
    """A wire value as JSON: bytes as hex, floats with all their digits as text, bit as 0 or 1."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return repr(value)
    return value


def literal(value: Any, type_: str, collation: str | None = None) -> tuple[str, Any]:
    """A key value as (placeholder, what is bound): of the column's own type so that an index on it is used.

    The driver writes what is bound into the statement, within quotes: there a NUL would end the statement, and T-SQL
    drops a backslash together with the line break behind it. Such text is bound as JSON, bytes as hex.
    """
    if isinstance(value, str) and ("\0" in value or "\\\n" in value or "\\\r" in value):
        return f"CONVERT({type_}, (SELECT [value] FROM OPENJSON(%s)){_collate(collation)})", json.dumps([value])
    return _placeholder(type_, collation), bytearray(value) if isinstance(value, bytes) else value


def _placeholder(type_: str, collation: str | None) -> str:
    name = base(type_)
    if name in NARROW:
        return f"CONVERT({type_}, %s{_collate(collation)})"
    if name in INTEGERS or name == "bit":
        return "%s"
    if name in BINARIES:
        return f"CONVERT({type_}, %s)"
    if name in MOMENTS:
        return f"CONVERT({type_}, %s, 121)"
    return f"CONVERT({type_}, %s)"


def _collate(collation: str | None) -> str:
    return f" COLLATE {collation}" if collation else ""


def same(old: str, new: str) -> bool:
    """NUMERIC and DECIMAL are two names of one type."""
    return old.replace("numeric", "decimal") == new.replace("numeric", "decimal")


def widens(old: str, new: str) -> bool:
    """Whether a column of type ``old`` can become ``new`` with each of its values the same, and room for more.

    CHAR does not become VARCHAR (its blanks would stay as values), and nothing changes its family.
    """
    before, after = base(old), base(new)
    order = ["tinyint", "smallint", "int", "bigint"]
    if before in order and after in order:
        return order.index(before) < order.index(after)
    if (before, after) == ("real", "float"):
        return True
    if {before, after} <= {"decimal", "numeric"}:
        (precision, scale), (wider, finer) = _numbers(old), _numbers(new)
        return finer >= scale and wider - finer >= precision - scale
    if before == after and before in {"varchar", "nvarchar", "varbinary"}:
        return _numbers(new)[0] > _numbers(old)[0]
    if before == after and before in {"time", "datetime2", "datetimeoffset"}:
        return _numbers(new)[0] > _numbers(old)[0]
    return False


def _numbers(type_: str) -> list[int]:
    """``[18, 2]`` of ``decimal(18,2)``; ``max`` is more than any number."""
    inside = type_.partition("(")[2].rstrip(") ")
    return [2**31 if part.strip().lower() == "max" else int(part) for part in inside.split(",")]

"""Names of tables and columns: when two are one, and how a table's is written.

Two names are one only where the engine says so, and here never more than that: a name that the engine tells apart from
another one, and we did not, would be a column that is not copied. So all that is ever ignored is the case of the letters
A to Z, which is all that SQLite ignores (https://www.sqlite.org/c3ref/stricmp.html), and on SQL Server only in a database
whose collation ignores it as well. ``É`` and ``é``, ``straße`` and ``strasse`` are two names here; a server to which they are one
refuses the second of them itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Fold = Callable[[str], str]
"""What two names have in common that are one."""

_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
UPPER = {small: large for large, small in _LOWER.items()}
"""For :meth:`str.translate`: a to z in capitals, and nothing else."""

_PART = r'(\[(?:[^\]]|\]\])+\]|"(?:[^"]|"")+"|[^.["][^.]*)'
_TABLE = re.compile(rf"{_PART}\.{_PART}")


def without_case(name: str) -> str:
    return name.translate(_LOWER)


def as_written(name: str) -> str:
    return name


def parse_table(text: str) -> tuple[str, str]:
    """(schema, table) of ``schema.table``. Either part may stand in brackets or double quotes, as in SQL:
    ``[my.schema]."my table"``.

    Raises ValueError with what it has to look like.
    """
    found = _TABLE.fullmatch(text)
    if found is None:
        raise ValueError(
            "write it as schema.table, for example customer.Customers; a name with a dot in it goes into brackets: "
            "customer.[My.Table]"
        )
    schema, table = map(_bare, found.groups())
    return schema, table


def _bare(part: str) -> str:
    if part[0] == "[":
        return part[1:-1].replace("]]", "]")
    return part[1:-1].replace('""', '"') if part[0] == '"' else part

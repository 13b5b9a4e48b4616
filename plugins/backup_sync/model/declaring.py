"""Entries of the services file for tables that are there: which column tells when a row changed, and what to look at first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WHOLE = re.compile(r"(tiny|small|big|medium)?int(eger)?\b", re.IGNORECASE)
MOMENT = re.compile(r"(date|time|text|n?(var)?char)", re.IGNORECASE)
VERSION = re.compile(r"(row_?|record_?)?(version|ver|revision|rev)(_?(no|number|nr))?", re.IGNORECASE)
CHANGED_AT = re.compile(
    r"(row_?|record_?)?(last_?)?(modified|updated|changed|mod|upd)(_?(at|on|date|time|datetime|utc|ts|timestamp))*",
    re.IGNORECASE,
)

ODD = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Texts that YAML readers take for something else."""


@dataclass(frozen=True)
class Declarable:
    """A table: its columns with their types in order, its primary key, those columns that the server counts up at each change
    (``rowversion``), and why it could not be looked at, if so."""

    schema: str
    table: str
    columns: Mapping[str, str]
    key: Sequence[str]
    stamps: Sequence[str] = ()
    problem: str = ""


def stamp_of(found: Declarable) -> tuple[str, str] | None:
    """(column, rule) that tells when a row changed, as far as names and types say so; None: no column does."""
    for name in found.stamps:
        return name, "higher"
    for pattern, types, rule in ((VERSION, WHOLE, "higher"), (CHANGED_AT, MOMENT, "newer")):
        for name, kind in found.columns.items():
            if pattern.fullmatch(name) and types.match(kind):
                return name, rule
    return None


def entries(source: str, backup: str, tables: Sequence[Declarable]) -> Iterator[str]:
    """Lines of YAML, ready to paste. A table that cannot be backed up as it is becomes a comment that says why."""
    yield "services:"
    taken = set[str]()
    for found in tables:
        full = f"{_quoted(found.schema)}.{_quoted(found.table)}"
        stamp = stamp_of(found)
        name = _name(found, taken)
        lines = [f"{name}:", f"  source: {_text(source)}", f"  backup: {_text(backup)}", f"  table: {_text(full)}"]
        if found.problem:
            yield f"  # {full}: {found.problem}"
            continue
        why = []
        if not found.key:
            why.append("it has no primary key: name columns that are NOT NULL and unique in 'key'")
            lines.append("  key: []")
        if stamp is None:
            lines.append("  changed: content  # no column tells when a row changed, so each run compares whole rows")
        else:
            lines += ["  changed:", f"    {_text(stamp[0])}: {stamp[1]}"]
        yield from (f"  # {full}: {one}" for one in why)
        yield from (f"  # {line}" if why else f"  {line}" for line in lines)


def _name(found: Declarable, taken: set[str]) -> str:
    """A service's name: the table's in small letters, behind its schema's where two are called alike."""
    table = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", found.table)
    for text in (table[:80], f"{found.schema[:20]}_{table[:60]}", f"{table[:80]}_{len(taken)}"):
        name = re.sub(r"[^a-z0-9_-]+", "_", text.lower()).strip("_")
        name = name if name[:1].isalpha() else f"table_{name}"
        if name not in taken and name not in ("all", "summary"):
            break
    taken.add(name)
    return name


def _quoted(name: str) -> str:
    """A part of ``schema.table`` as :func:`backup_sync.model.names.parse_table` reads it."""
    return f"[{name.replace(']', ']]')}]" if re.search(r'[.\["\]]', name) else name


def _text(value: str) -> str:
    """A YAML scalar that is read as this text."""
    return (
        value
        if re.fullmatch(r"[A-Za-z_][\w.]*(?<!\.)", value, re.ASCII) and value.lower() not in ODD
        else json.dumps(value, ensure_ascii=False)
    )

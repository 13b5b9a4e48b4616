"""Reading whole rows: many columns of a row in one value.

The driver's cost is by the column, and at each it hands over Python's lock, so that reading
beside a bulk copy slows both. So the server joins a row's columns to a few texts, and here they are taken apart again: a row is
the tuple that its columns' wire expressions would have been. Key columns stay separate: by them a row can be
asked for once more. So do values whose text is long or not exact.

There is no aggregate: rows stream as the table is read, and nothing is sorted or held by the server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backup_sync.model.diff import Key
from backup_sync.model.errors import RetriableError
from backup_sync.model.limits import Limits
from backup_sync.stores.base import Record, batches
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.dialect import quote
from backup_sync.stores.mssql.pairs import NULL
from backup_sync.stores.mssql.posted import found_by, keys_json, posted_keys
from backup_sync.stores.mssql.session import MssqlSession
from backup_sync.stores.sql.shape import Column, TableShape
from backup_sync.stores.sql.view import View

SEPARATOR = "\x1f"
"""A value that holds it is seen by the number of parts."""

ROWS_AT_ONCE = 1_000
"""Rows taken apart together: with ten thousand, Python's garbage collector and the processor's cache cost four times as
much as the work."""

LONGEST = 4000
"""What + of NVARCHARs keeps. A MAX type among them would lift that, at a cost."""


@dataclass(frozen=True)
class _Part:
    """A column of a line: where it stands in the row, its text, and how that becomes the wire value."""

    at: int
    expression: str  # with {} for the column
    nullable: bool
    length: int
    read: Callable[[str], Any] | None = None

    def values(self, texts: Sequence[str]) -> Sequence[Any]:
        read = self.read
        if self.nullable and NULL in texts:
            return [None if text == NULL else read(text) if read else text for text in texts]
        return list(map(read, texts)) if read else texts


def _part(at: int, column: Column, several_collations: bool) -> _Part | None:
    """None: values of this type are not joined."""
    name = types.base(column.type)
    collate = ""
    read: Callable[[str], Any] | None = None
    if name in types.INTEGERS:
        expression, length, read = "CAST({} AS VARCHAR(20))", 20, int
    elif name in types.TEXTS and "max" not in column.type:
        length = int(column.type.partition("(")[2].rstrip(")"))
        expression = "{}"
        if several_collations or name in {"char", "nchar"}:
            # Into Unicode by the column's own collation; then all of one, or joining them would be refused.
            collate = " COLLATE Latin1_General_BIN2" if several_collations else ""
            expression = f"CAST({{}} AS NVARCHAR({length})){collate}"
    elif (text := types.text(column.type)) is not None:
        expression, length = text, 45
    else:
        return None
    if column.nullable:
        expression = f"COALESCE({expression}, N'{NULL}'{collate})"
        length = max(length, len(NULL))
    return _Part(at, expression, column.nullable, length, read)


class WireRows:
    """How the rows of one table are selected, and become records. ``joined``: with columns joined where that is possible."""

    def __init__(self, shape: TableShape, *, joined: bool = True) -> None:
        keys = set(shape.key)
        collations = {column.collation for column in shape.columns if types.base(column.type) in types.TEXTS}
        self._columns = shape.columns
        self._lines: list[list[_Part]] = []
        in_lines: set[int] = set()
        for at, column in enumerate(shape.columns if joined else ()):
            part = None if column.name in keys else _part(at, column, len(collations) > 1)
            if part is None or part.length > LONGEST // 2:
                continue
            in_lines.add(at)
            if not self._lines or sum(p.length + 1 for p in self._lines[-1]) + part.length > LONGEST:
                self._lines.append([])
            self._lines[-1].append(part)
        self._alone = [at for at in range(len(shape.columns)) if at not in in_lines]
        self._texts_alone = [n for n, at in enumerate(self._alone) if types.base(shape.columns[at].type) in types.TEXTS]

    def selected(self, prefix: str = "") -> str:
        """The list of a SELECT. ``prefix``: the table's alias and a dot."""
        names = [prefix + quote(column.name) for column in self._columns]
        alone = [types.outgoing(names[at], self._columns[at].type) for at in self._alone]
        lines = [
            f" + N'{SEPARATOR}' + ".join(part.expression.format(names[part.at]) for part in line)
            for line in self._lines
        ]
        return ", ".join(alone + lines)

    def records(self, rows: Sequence[Sequence[Any]]) -> tuple[list[Record], list[int]]:
        """(the records of selected rows, the positions of those among them whose text may be another).

        Whole columns at a time, which is several times cheaper than row by row. Where a character has no form in
        UTF-8 (half a surrogate pair, a byte that the code page does not define) FreeTDS writes a ? for it and says
        nothing: so a record with a ? is doubtful, as is one whose parts do not fit their columns.
        """
        if not rows:
            return [], []
        taken = list(zip(*rows, strict=True))
        columns: list[Sequence[Any]] = [()] * len(self._columns)
        doubtful: set[int] = set()
        for n, at in enumerate(self._alone):
            columns[at] = taken[n]
            if n in self._texts_alone:
                doubtful.update(_asking([text or "" for text in taken[n]]))
        for texts, line in zip(taken[len(self._alone) :], self._lines, strict=True):
            known = [text or "" for text in texts]  # a column that is not as the catalog says may make it NULL
            doubtful.update(_asking(known))
            split = [text.split(SEPARATOR) for text in known]
            if set(map(len, split)) != {len(line)}:
                for n, parts in enumerate(split):
                    if len(parts) != len(line):
                        doubtful.add(n)
                        split[n] = ["0"] * len(line)
            for part, values in zip(line, zip(*split, strict=True), strict=True):
                columns[part.at] = part.values(values)
        return list(zip(*columns, strict=True)), sorted(doubtful)


class MssqlRows:
    """Reads whole rows of one table, each with all its text as it is.

    ``joined``: see :class:`WireRows`; either way the records are the same.
    """

    def __init__(self, session: MssqlSession, view: View, limits: Limits, *, joined: bool) -> None:
        self._session, self._table, self._shape, self._limits = session, view.table, view.shape, limits
        self._from, self._found = view.rows, view.found
        self._key = view.key
        self._key_at = [view.shape.index(column.name) for column in view.key]
        self._wire = WireRows(view.shape, joined=joined)

    def where(self, condition: str, params: Sequence[Any]) -> Iterator[list[Record]]:
        """The rows that fulfil a condition, in pages."""
        sql = f"SELECT {self._wire.selected()} FROM {self._from} WHERE {condition}"
        for rows in self._session.pages(sql, params, ROWS_AT_ONCE, heavy=True):
            yield self._exact(*self._wire.records(rows))

    def of_keys(self, keys: Sequence[Key]) -> Iterator[list[Record]]:
        """The rows with these keys, in pages. Raises RetriableError where a key may have been misread."""
        sql = (
            f"SELECT {self._wire.selected('t.')} FROM {posted_keys(self._key)} p JOIN {self._found} t "
            f"ON {found_by(self._key)}"
        )
        missing = set(keys)
        for rows in self._session.pages(sql, [keys_json(keys)], ROWS_AT_ONCE, heavy=True):
            records, doubtful = self._wire.records(rows)
            missing.difference_update(map(self._key_of, records))
            yield self._exact(records, doubtful)
        self._check_found(missing)

    def _key_of(self, record: Record) -> Key:
        return tuple(record[index] for index in self._key_at)

    def _exact(self, found: list[Record], doubtful: Sequence[int]) -> list[Record]:
        """The records with all their text as it is: doubtful ones are read once more by their keys, text as bytes."""
        if not doubtful:
            return found
        columns = self._shape.columns
        names = ", ".join(types.exactly(f"t.{quote(column.name)}", column.type) for column in columns)
        sql = f"SELECT {names} FROM {posted_keys(self._key)} p JOIN {self._found} t ON {found_by(self._key)}"
        keys = [self._key_of(found[n]) for n in doubtful]
        exact = {}
        # On another connection: the first one may be in the middle of its rows.
        for chunk in batches(keys, self._limits.json_rows):
            for row in self._session.second.results(sql, (keys_json(chunk),))[0]:
                record = tuple(map(types.from_exact, row, (column.type for column in columns)))
                exact[self._key_of(record)] = record
        self._check_found(set(keys).difference(exact))
        # One that is gone by now is left out, as any that is deleted while a run reads.
        again: dict[int, Record | None] = {n: exact.get(self._key_of(found[n])) for n in doubtful}
        return [record for n, known in enumerate(found) if (record := again.get(n, known)) is not None]

    def _check_found(self, missing: Collection[Key]) -> None:
        """Raise RetriableError if keys with a ? are not found again: that may have been another character."""
        for number, column in enumerate(self._key):
            if types.base(column.type) in types.TEXTS and any("?" in str(key[number]) for key in missing):
                raise RetriableError(
                    f"{self._table.label}: rows of {self._table.service.table} were not found again by key column "
                    f"{column.name}: they were deleted meanwhile (then a retry helps), or their keys hold a character that "
                    "cannot be read (half a surrogate pair, a byte outside the code page)"
                )


def _asking(texts: list[str]) -> list[int]:
    # Most columns have no ? at all, which is seen faster in all of one at once.
    return [n for n, text in enumerate(texts) if "?" in text] if "?" in "".join(texts) else []

"""The history of records of a copy on SQL Server. The images never leave the server: INSERT … SELECT."""

from __future__ import annotations

from collections.abc import Sequence

from backup_sync.model.diff import Key
from backup_sync.stores.base import Keep, Record, batches
from backup_sync.stores.mssql import types
from backup_sync.stores.mssql.beside import MssqlBeside
from backup_sync.stores.mssql.dialect import escaped, quote
from backup_sync.stores.mssql.posted import found_by, keys_json, posted_keys, posted_rows, rows_json
from backup_sync.stores.sql.beside import OWN, SEQ, entry_columns
from backup_sync.stores.sql.shape import TableShape
from backup_sync.stores.sql.undo import SqlEntries, SqlUndo

AS_OF, POINTS = "_AsOf", "_RestorePoints"


class MssqlUndo(MssqlBeside, SqlUndo):
    """See :class:`backup_sync.stores.base.Undo`."""

    count_all = "COUNT_BIG(*)"  # the other one ends at 2,147,483,647

    def delete_sql(self, condition: str, limit: int) -> str:
        return f"DELETE TOP ({int(limit)}) u FROM {self.name} u WHERE {condition}"

    def forget_one(self, key: Key) -> int:
        sql = f"DELETE t FROM {self.name} t JOIN {posted_keys(self.key)} p ON {found_by(self.key)}"
        return self.session.run(sql, [keys_json([key])])

    def as_of_name(self, number: int) -> str:
        return f"{self.named(AS_OF)}({int(number)})"

    # looking with plain SQL

    def create(self, *, dry_run: bool = False) -> list[str]:
        made = super().create(dry_run=dry_run)
        if made and not dry_run:
            self.look()
        return made

    def look(self) -> None:
        """``<Table>_AsOf(number)`` gives the rows as they were at the end of that run, ``<Table>_RestorePoints`` the runs."""
        for kind, name, statement in (
            ("FUNCTION", self.named(AS_OF), self._as_of_function()),
            ("VIEW", self.named(POINTS), self._points_view()),
        ):
            self.renew(kind, name, statement)

    def _as_of_function(self) -> str:
        return f"CREATE FUNCTION {self.named(AS_OF)} (@number BIGINT) RETURNS TABLE AS RETURN ({self.as_of_sql('@number')})"

    def _points_view(self) -> str:
        counts = ", ".join(f"h.{name}" for name in ("InsertedCount", "UpdatedCount", "DeletedCount", "Success"))
        return (
            f"CREATE VIEW {self.named(POINTS)} AS SELECT h.RunNumber, h.SyncId, h.CompletedAt, {counts} "
            f"FROM {self.table.history} h JOIN {self.table.states} s ON s.TableName = N'{escaped(self.table.full_name)}' "
            f"AND s.Name = N'undo' WHERE h.ServiceName = N'{escaped(self.table.service.name)}' "
            "AND h.RunNumber >= CONVERT(BIGINT, JSON_VALUE(s.Value, '$.since')) AND NOT EXISTS (SELECT 1 FROM "
            "OPENJSON(s.Value, '$.gaps') WITH (f BIGINT '$[0]', l BIGINT '$[1]') g "
            "WHERE h.RunNumber > g.f AND h.RunNumber < g.l)"
        )


class MssqlEntries(SqlEntries):
    """See :class:`SqlEntries`. ``shape``: of the rows that are written."""

    undo: MssqlUndo

    def __init__(self, undo: MssqlUndo, keep: Keep, shape: TableShape) -> None:
        super().__init__(undo, keep, shape)
        self._columns = shape.columns
        self._key = tuple(shape.column(name) for name in shape.key)

    def absent(self, keys: Sequence[Key]) -> int:
        return sum(self.undo.session.run(self.absent_sql(), [keys_json(some)]) for some in self._chunks(keys))

    def image(self, operation: str, keys: Sequence[Key]) -> None:
        for some in self._chunks(keys):
            self.undo.session.run(
                self.image_sql(operation, posted_keys(self._key), found_by(self._key)), [keys_json(some)]
            )

    def image_changed(self, rows: Sequence[Record]) -> None:
        differs = " OR ".join(
            types.differs(f"t.{quote(column.name)}", f"p.{quote(column.name)}", column.type) for column in self._columns
        )
        same = " AND ".join(f"t.{quote(column.name)} = p.{quote(column.name)}" for column in self._key)
        sql = self.image_sql("U", posted_rows(self._columns), f"{same} AND ({differs})")
        for some in batches(rows, self.undo.limits.json_rows):
            self.undo.session.run(sql, [rows_json(some)])

    def _chunks(self, keys: Sequence[Key]) -> list[list[Key]]:
        return list(batches(keys, self.undo.limits.posted_keys))

    # texts

    @property
    def _ours(self) -> str:
        """What stands in the three columns of our own, with the operation in between."""
        return f"{self.keep.number}, '{{}}', CONVERT(UNIQUEIDENTIFIER, '{self.keep.sync_id}')"

    def absent_sql(self) -> str:
        names = ", ".join([*map(quote, OWN), *(quote(column.name) for column in self._key)])
        keys = ", ".join(f"p.k{number}" for number in range(len(self._key)))
        return (
            f"INSERT INTO {self.undo.name} ({names}) SELECT {self._ours.format('I')}, {keys} FROM {posted_keys(self._key)} p "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.undo.table.name} t WHERE {found_by(self._key)}) AND {self._new('p.k{}')}"
        )

    def image_sql(self, operation: str, posted: str, found: str) -> str:
        own = self.undo.copy.own_shape()
        assert own is not None
        into, selected = entry_columns(own, quote)
        key = [f"t.{quote(column.name)}" for column in self._key]
        new = self._new("{}", key)
        return (
            f"INSERT INTO {self.undo.name} ({', '.join(map(quote, OWN))}, {into}) SELECT {self._ours.format(operation)}, "
            f"{selected} FROM {self.undo.table.name} t JOIN {posted} p ON {found} WHERE {new}"
        )

    def _new(self, form: str, values: Sequence[str] | None = None) -> str:
        """That this run has no entry of a key yet."""
        same = " AND ".join(
            f"u.{quote(column.name)} = {form.format(values[number] if values else number)}"
            for number, column in enumerate(self._key)
        )
        return f"NOT EXISTS (SELECT 1 FROM {self.undo.name} u WHERE u.{quote(SEQ)} = {self.keep.number} AND {same})"

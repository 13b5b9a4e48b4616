"""The names of a service's table, and of the tables beside its copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from backup_sync.model.names import parse_table
from backup_sync.model.service import HISTORY, STATE, UNFILLED, Service


@dataclass(frozen=True)
class Table:
    """One end of a service as SQL names it.

    ``label``: how messages call this end, the connection id. ``schema``, ``table``: as the engine knows them.
    ``name``, ``history``, ``unfilled``, ``states``: as they stand in a statement. ``quoted``: so does any table, by schema and name.
    """

    service: Service
    label: str
    schema: str
    table: str
    name: str
    history: str
    unfilled: str
    states: str
    quoted: Callable[[str, str], str] = field(repr=False, compare=False)

    @classmethod
    def of(cls, service: Service, label: str, quoted: Callable[[str, str], str]) -> Table:
        """``quoted``: (schema, table) as they stand in a statement."""
        assert service.table is not None
        schema, table = parse_table(service.table)
        history = service.history or HISTORY
        name, runs, unfilled, states = (quoted(schema, one) for one in (table, history, history + UNFILLED, STATE))
        return cls(service, label, schema, table, name, runs, unfilled, states, quoted)

    @property
    def full_name(self) -> str:
        """``schema.table``, however the services file writes it."""
        return f"{self.schema}.{self.table}"

    def beside(self, ending: str) -> Table:
        """The table that is called like this one and ends so."""
        name = self.table + ending
        return replace(self, table=name, name=self.quoted(self.schema, name))

    @property
    def history_table(self) -> str:
        return self.service.history or HISTORY

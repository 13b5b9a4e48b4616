"""The names of a service's table, and of the tables beside its copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backup_sync.model.names import parse_table
from backup_sync.model.service import HISTORY, STATE, UNFILLED, Service


@dataclass(frozen=True)
class Table:
    """One end of a service as SQL names it.

    ``label``: how messages call this end, the connection id. ``schema``, ``table``: as the engine knows them.
    ``name``, ``history``, ``unfilled``, ``states``: as they stand in a statement.
    """

    service: Service
    label: str
    schema: str
    table: str
    name: str
    history: str
    unfilled: str
    states: str

    @classmethod
    def of(cls, service: Service, label: str, quoted: Callable[[str, str], str]) -> Table:
        """``quoted``: (schema, table) as they stand in a statement."""
        assert service.table is not None
        schema, table = parse_table(service.table)
        history = service.history or HISTORY
        names = (quoted(schema, name) for name in (table, history, history + UNFILLED, STATE))
        return cls(service, label, schema, table, *names)

    @property
    def full_name(self) -> str:
        """``schema.table``, however the services file writes it."""
        return f"{self.schema}.{self.table}"

    @property
    def history_table(self) -> str:
        return self.service.history or HISTORY

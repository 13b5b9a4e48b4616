"""Stands in for what Airflow hands to a task of its outlets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Outlets(dict[Any, Any]):
    """Takes whatever a task says of its outlets."""

    def __missing__(self, outlet: Any) -> SimpleNamespace:
        return self.setdefault(outlet, SimpleNamespace(add=lambda *_, **__: None, extra={}))

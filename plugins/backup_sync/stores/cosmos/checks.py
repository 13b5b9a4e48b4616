"""Whether the fields that a service names are there: one that is misspelt compares nothing and chooses nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.service import Service
from backup_sync.stores.cosmos.documents import names_of_field, property_of


class Exists(Protocol):
    def __call__(self, condition: str, *, of_service: bool) -> bool:
        """Whether a document fulfils a condition ("": any), among the service's or among all."""


def check_fields(service: Service, label: str, container: str, exists: Exists, *, matched: bool) -> None:
    """Refuse fields of ``where`` that no document has, and of ``changed`` that none of the service's has.

    ``matched``: none matches ``where`` now, and that is no fault. Raises ConfigurationError, without any value.
    """
    if not exists("", of_service=False):
        return

    def check(fields: Iterable[str], setting: str, *, of_service: bool) -> None:
        for field in fields:
            if not exists(f"IS_DEFINED({property_of(names_of_field(field))})", of_service=of_service):
                raise ConfigurationError(
                    f"{label}: no document of container {container} has the field {field}, which '{setting}' of service "
                    f"{service.name} names; correct its spelling (case counts)"
                )

    check(service.where, "where", of_service=False)
    if exists("", of_service=True):
        check(service.fields, "changed", of_service=True)
    elif not matched:
        raise ConfigurationError(
            f"{label}: no document of container {container} matches 'where' of service {service.name} while the container "
            "holds others; correct its values (1, true and '1' differ)"
        )

"""The declared services: ``dags/backup_sync.yaml``, read and validated.

Reading the *names* is cheap (the DAG file needs no more and is parsed every few seconds); validating a whole entry
happens in the tasks, so that a mistake in one service fails that service and not the others.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from backup_sync.core.errors import ConfigurationError

if TYPE_CHECKING:
    from backup_sync.service import Service


def config_path(dag_file: str) -> Path:
    """``backup_sync.yaml`` beside the DAG file, or the file named in ``BACKUP_SYNC_CONFIG``."""
    return Path(os.environ.get("BACKUP_SYNC_CONFIG") or Path(dag_file).with_name("backup_sync.yaml"))


class _Loader(yaml.SafeLoader):
    """Reads only what is plainly a number, true, false or null as such (https://yaml.org/spec/1.2.2/#103-core-schema).

    YAML 1.1, as PyYAML knows it, takes NO for false, 01234 for 668 and 12:30:45 for 45045. Here these are text.
    """


_Loader.yaml_implicit_resolvers = {}  # its own, and not those of the class above
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_services(path: Path) -> dict[str, dict[str, Any]]:
    """The raw entries by service name, in the file's order; only the outer form is checked here.

    Raises :class:`ConfigurationError` if the file is missing, is no YAML, or is not ``services: {name: {…}}``.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; create it or name another file in BACKUP_SYNC_CONFIG"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(
            f"{path} is not valid YAML{where}: {getattr(error, 'problem', 'cannot be read')}"
        ) from None
    if not isinstance(data, dict) or set(data) != {"services"} or not isinstance(data["services"], dict):
        raise ConfigurationError(f"{path} must hold one top-level key, 'services', with an entry for each service")
    for name, entry in data["services"].items():
        if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            raise ConfigurationError(f"{path}: service name {name!r} may hold only ASCII letters, digits, '-' and '_'")
        if not name[0].isalpha() or name in ("None", "True", "False"):
            raise ConfigurationError(
                f"{path}: service name {name!r} must begin with a letter and be no Python constant"
            )
        if name == "all":
            raise ConfigurationError(f"{path}: a service cannot be called 'all'; that word means every service")
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{path}: services.{name} must be a mapping of settings")
    if not data["services"]:
        raise ConfigurationError(f"{path}: no service is declared under 'services'")
    return data["services"]


def load_service(path: Path, name: str) -> Service:
    """The validated :class:`~backup_sync.service.Service` called ``name``.

    Raises :class:`ConfigurationError` naming the field and the fix, also where another service leads to the same copy.
    """
    # Imported here: building pydantic models costs more than the DAG parser should pay for service names.
    from backup_sync.service import parse_service

    services = read_services(path)
    if name not in services:
        raise ConfigurationError(f"unknown service {name!r}; {path.name} declares: {', '.join(services)}")
    for other, entry in services.items():
        if other != name and _copy(entry) == _copy(services[name]):
            raise ConfigurationError(
                f"{path.name}: services {name} and {other} lead to the same copy ({' '.join(_copy(entry))}); each would delete what "
                "the other one copies: give each a 'backup' of its own, or merge them into one service"
            )
    return parse_service(name, services[name], where=f"{path.name}: services.{name}")


def _copy(entry: dict[str, Any]) -> tuple[str, str, str]:
    """Where a service's copy is, as far as the file tells; the backup's pairing knows it for certain."""
    kind = "table" if "table" in entry else "container"
    return str(entry.get("backup")), kind, str(entry.get(kind))

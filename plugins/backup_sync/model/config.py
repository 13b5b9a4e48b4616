"""The declared services: ``dags/backup_sync.yaml``, read and validated.

Reading the *names* is cheap (the DAG file needs no more and is parsed every few seconds); validating a whole entry
happens in the tasks. A mistake in one service is that service's and not the others': it never takes a DAG out of the UI,
where no run would fail and nobody would notice.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from backup_sync.model.errors import ConfigurationError
from backup_sync.model.names import parse_table
from backup_sync.model.running import Running, parse_running

if TYPE_CHECKING:
    from backup_sync.model.service import Service

WHOLE_FILE = "services_file"
"""What a problem is called that is none of a single service."""

LONGEST_NAME = 100
"""Characters of a service's name: it is a tag of the DAGs, and Airflow's tags hold no more."""

GROUPS = ("guard", "rejects", "airflow")
"""Settings that hold others, each of which may be shared or a service's own."""

OURS = {"all": "that word means every service", "summary": "a task of the DAG is called so"}


@dataclass(frozen=True)
class Declared:
    """What a services file declares.

    ``services``: the raw entries by service name, in the file's order, merged over the defaults. ``running``: how Airflow runs
    each. ``problems``: for each name that cannot be a service as it stands there (or :data:`WHOLE_FILE`), one sentence with
    the file, the service and the fix.
    """

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def config_path(dag_file: str) -> Path:
    """``backup_sync.yaml`` beside the DAG file, or the file named in ``BACKUP_SYNC_CONFIG``."""
    return Path(os.environ.get("BACKUP_SYNC_CONFIG") or Path(dag_file).with_name("backup_sync.yaml"))


class _Loader(yaml.SafeLoader):
    """Reads only what is plainly a number, true, false or null as such (https://yaml.org/spec/1.2.2/#103-core-schema).

    YAML 1.1, as PyYAML knows it, takes NO for false, 01234 for 668 and 12:30:45 for 45045. Here these are text. And of
    a key that is given twice PyYAML keeps the last one without a word. Here it is a mistake, as the specification has it
    (https://yaml.org/spec/1.2.2/#3213-node-comparison).
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._seen: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called for each mapping, and for those that it merges in; only the first time it is as it was written."""
        lines: dict[tuple[str, str], int] = {}
        for key, _ in [] if id(node) in self._seen else node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                first = lines[key.tag, key.value]
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is given twice, in lines {first} and {line}; remove one of them"
                )
            lines[key.tag, key.value] = line
        self._seen.add(id(node))
        super().flatten_mapping(node)


_Loader.yaml_implicit_resolvers = {}  # its own, and not those of the class above
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def read_services(path: Path) -> Declared:
    """What the file declares; of each entry only the outer form is checked here. Raises nothing."""
    declared = Declared()
    try:
        loader = _Loader(_text(path))
        shared, entries = _entries(path, loader)
    except ConfigurationError as error:
        return Declared(problems={WHOLE_FILE: str(error)})
    except (yaml.YAMLError, RecursionError) as error:
        return Declared(problems={WHOLE_FILE: f"{path} is not valid YAML{_where(error)}: {_what(error)}"})
    lines: dict[str, int] = {}
    running: dict[str, Running] = {}
    for key, node in entries:
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        line = key.start_mark.line + 1
        where = f"{path}, line {line}: service {name[:LONGEST_NAME]!r}"
        try:
            problem = _name_problem(key)
            entry: Any = loader.construct_object(node, deep=True) if problem is None else None
            if problem is None and not isinstance(entry, dict):
                problem = "must be a mapping of settings"
            if problem is None:
                entry = _with(shared, entry)
                running[name] = parse_running(entry.get("airflow"))
            if name in lines:
                problem = f"is declared in line {lines[name]} already; rename one of them"
        except (yaml.YAMLError, RecursionError) as error:
            problem = f"cannot be read: {_what(error)}"
        except ValueError as error:
            problem = str(error)
        lines.setdefault(name, line)
        if problem is None:
            declared.services[name], declared.running[name] = entry, running[name]
        else:
            declared.services.pop(name, None)  # which of two is meant nobody can know
            declared.problems[name] = f"{where} {problem}"
    return declared


def load_service(path: Path, name: str) -> Service:
    """The validated :class:`~backup_sync.model.service.Service` called ``name``.

    Raises :class:`ConfigurationError` naming the field and the fix, also where another service leads to the same copy.
    """
    # Imported here: building pydantic models costs more than the DAG parser should pay for service names.
    from backup_sync.model.service import parse_service

    declared = read_services(path)
    services = declared.services
    if name in declared.problems:
        raise ConfigurationError(declared.problems[name])
    if not services and WHOLE_FILE in declared.problems:
        raise ConfigurationError(declared.problems[WHOLE_FILE])
    if name not in services:
        raise ConfigurationError(f"unknown service {name!r}; {path.name} declares: {', '.join(services)}")
    for other, entry in services.items():
        if other != name and _copy(entry) == _copy(services[name]):
            raise ConfigurationError(
                f"{path.name}: services {name} and {other} lead to the same copy ({' '.join(_copy(entry))}); each would delete what "
                "the other one copies: give each a 'backup' of its own, or merge them into one service"
            )
    return parse_service(name, services[name], where=f"{path.name}: services.{name}")


def _text(path: Path) -> str:
    """The file as text. Raises ConfigurationError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist; create it or name another file in BACKUP_SYNC_CONFIG"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}); let Airflow read that file") from None
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ConfigurationError(f"{path} is UTF-16 text; save it as UTF-8")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}, line {line}, holds a byte that is not UTF-8 (0x{data[error.start]:02x}); save the file as UTF-8"
        ) from None


def _entries(path: Path, loader: _Loader) -> tuple[dict[str, Any], list[tuple[yaml.Node, yaml.Node]]]:
    """What all services share, and name and entry of each as nodes, so that one that cannot be made sense of spoils no other."""
    root = loader.get_single_node()
    form = f"{path} must hold the top-level key 'services', with an entry for each service, and besides it 'defaults' at most"
    if not isinstance(root, yaml.MappingNode) or not all(isinstance(key, yaml.ScalarNode) for key, _ in root.value):
        raise ConfigurationError(form)
    found = {key.value: node for key, node in root.value}
    if "services" not in found or found.keys() - {"services", "defaults"} or len(found) < len(root.value):
        raise ConfigurationError(form)
    shared = loader.construct_object(found["defaults"], deep=True) if "defaults" in found else {}
    shared = {} if shared is None else shared
    if not isinstance(shared, dict):
        raise ConfigurationError(f"{path}: 'defaults' must be a mapping of settings")
    services = found["services"]
    if services.tag == "tag:yaml.org,2002:null" or not services.value:
        raise ConfigurationError(f"{path}: no service is declared under 'services'")
    if not isinstance(services, yaml.MappingNode):
        raise ConfigurationError(form)
    return shared, services.value


def _with(shared: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """An entry merged over the defaults. In GROUPS the single settings are merged; any other setting replaces the default."""
    groups = {
        name: {**shared[name], **entry[name]}
        for name in GROUPS
        if isinstance(shared.get(name), dict) and isinstance(entry.get(name), dict)
    }
    own = {name: value for name, value in entry.items() if not (name in GROUPS and value is None)}
    return {**shared, **own, **groups}


def _name_problem(key: yaml.Node) -> str | None:
    """What keeps this from being a service's name, in words that follow the name."""
    name = key.value
    if key.tag != "tag:yaml.org,2002:str":
        return "has a name that is no text; begin it with a letter"
    if not re.fullmatch(r"[A-Za-z0-9_-]*", name):
        return "may hold only ASCII letters, digits, '-' and '_'; rename it"
    # Airflow renders parameters as Python literals, so these would arrive as something else.
    if not name[:1].isalpha() or name in ("None", "True", "False"):
        return "must begin with a letter and be no Python constant; rename it"
    if name in OURS:
        return f"cannot be called {name!r}: {OURS[name]}; rename it"
    if len(name) > LONGEST_NAME:
        return f"has a name of {len(name)} characters; Airflow takes {LONGEST_NAME}"
    return None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _what(error: Exception) -> str:
    """What YAML has against it. Its ``problem`` quotes names of keys and anchors at most, and no values."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read")


def _copy(entry: dict[str, Any]) -> tuple[str, str, str]:
    """Where a service's copy is, as far as the file says; the backup's pairing knows it for certain."""
    kind = "table" if "table" in entry else "container"
    name = str(entry.get(kind))
    with suppress(ValueError):
        name = ".".join(parse_table(name)) if kind == "table" else name
    return str(entry.get("backup")), kind, name

"""docker-compose.yml as Compose would read it: parsed, and its variables replaced by the values of an .env file."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")

RAW: dict[str, Any] = yaml.safe_load(COMPOSE)
RAW_SERVICES: dict[str, dict[str, Any]] = RAW["services"]
AIRFLOW = [name for name, service in RAW_SERVICES.items() if "build" in service]
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}|(?P<bad>.?))")


def parse_env(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


EXAMPLE = parse_env(ENV_EXAMPLE)
EMPTY = [name for name, value in EXAMPLE.items() if not value]


def command_for(name: str) -> str:
    """The command that the comment above an empty variable gives."""
    found = re.search(r"^# +\$ (.+)\n" + name + "=", ENV_EXAMPLE, re.MULTILINE)
    assert found, f"{name} is empty in .env.example and no command makes a value for it"
    return found[1]


def interpolate(node: Any, values: dict[str, str]) -> Any:
    """``${NAME:?message}`` and ``${NAME:-default}`` count an empty variable as missing, as Compose does."""
    if isinstance(node, dict):
        return {key: interpolate(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, values) for value in node]
    if not isinstance(node, str):
        return node

    def replace(match: re.Match[str]) -> str:
        if match["bad"] is not None:
            raise ValueError(f"Compose cannot read the $ in {node!r}")
        if match["name"] is None:
            return "$"
        value = values.get(match["name"], "")
        if not value and match["kind"] == "?":
            raise LookupError(f"{match['name']}: {match['rest']}")
        return value or (match["rest"] if match["kind"] == "-" else "")

    return VARIABLE.sub(replace, node)


def filled_in() -> dict[str, str]:
    """A .env as someone makes it who follows .env.example."""
    made = {}
    for name in EMPTY:
        command = shlex.split(command_for(name))
        assert command[0] == "python3"
        made[name] = subprocess.run(
            [sys.executable, *command[1:]], capture_output=True, text=True, check=True
        ).stdout.strip()
    return EXAMPLE | made

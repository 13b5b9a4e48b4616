"""The text that says which notifier is used: its import path, or a JSON object with that path and the notifier's arguments."""

from __future__ import annotations

import json
import re
from typing import Any


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """(import path, arguments). Raises ValueError."""
    text = text.strip()
    if not text.startswith("{"):
        return _checked(text), {}
    found = json.loads(text)
    return _checked(found.pop("notifier", None)), found


def path_of(text: str) -> str:
    """The import path alone. Raises ValueError."""
    return parse(text)[0]


def _checked(path: Any) -> str:
    if not isinstance(path, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        raise ValueError("no import path of a notifier")
    return path

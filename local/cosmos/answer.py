"""What a handler gives back, before it becomes an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import charges


@dataclass
class Answer:
    """Status, body text, headers of its own, what it cost, and how many whole documents the body holds."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    charge: float = charges.METADATA
    bodies: int = 0


@dataclass
class Call:
    """A request, taken apart."""

    method: str
    segments: list[str]
    headers: Mapping[str, str]
    body: bytes
    origin: str

    def header(self, name: str) -> str | None:
        """A header's value, or None."""
        return self.headers.get(name)

    def flag(self, name: str) -> bool:
        """Whether a header says true (the SDK writes True, 'true' or 1)."""
        return self.headers.get(name, "").lower() in ("true", "1")


def feed(rid: str, kind: str, texts: list[str]) -> str:
    """The body of a list answer, put together from the texts of its members."""
    return f'{{"_rid":"{rid}","{kind}":[{",".join(texts)}],"_count":{len(texts)}}}'

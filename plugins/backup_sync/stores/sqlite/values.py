"""SQLite's values in Python: text that need not be valid UTF-8, and a hash of any value."""

from __future__ import annotations

import hashlib
from typing import Any

from backup_sync.model.text import encodable


def mark(value: Any, kind: str) -> int | None:
    """A number that stands for a value and its storage class: SQLite has no hash function. NULL stays NULL."""
    if value is None:
        return None
    data = value if isinstance(value, bytes) else repr(value).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=kind.encode()).digest(), "big", signed=True)


def hashed(content: str | bytes) -> int:
    """A number of 64 bits that stands for a text or its bytes."""
    data = content.encode() if isinstance(content, str) else content
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def text(data: bytes) -> str:
    """SQLite takes any bytes for text: those that are not valid UTF-8 become what `is_broken` knows again."""
    return data.decode("utf-8", "surrogateescape")


def is_broken(value: Any) -> bool:
    return isinstance(value, str) and not encodable(value)

"""Columns whose values the backup must not have: what stands in their place.

``hash``: a hash of value and key together, so that equal values stay equal and nobody without the key can tell which they are.
``null``: nothing.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Mask = Literal["hash", "null"]

SHORTEST = 16
"""Characters of a secret, at least."""


def key_of(secret: str) -> str:
    """64 hex digits that are made of a secret, and hashed in front of each value. Raises ValueError for a short one."""
    if len(secret) < SHORTEST:
        raise ValueError(f"at least {SHORTEST} characters")
    return hashlib.sha256(b"backup_sync mask " + secret.encode("utf-8", "surrogatepass")).hexdigest()


def print_of(key: str) -> str:
    """What a key is known again by."""
    return hashlib.sha256(b"backup_sync print " + key.encode()).hexdigest()[:16]

"""What stands in place of values that the backup must not have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from backup_sync.stores.sql.masking import Hiding
from backup_sync.stores.sqlite.dialect import quote
from backup_sync.stores.sqlite.session import HIDE

HIDING = Hiding(
    hashed=lambda column: replace(column, type="TEXT"),
    # Text goes in as its bytes, since it need not be valid UTF-8.
    hash_of=lambda _, name: f"{HIDE}(CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END)",
    nothing=lambda _: "NULL",
    quote=quote,
)


def hider(key: str) -> Callable[[Any], str | None]:
    """The function of SQL: 64 hex digits of the SHA-256 of key and value. NULL stays NULL."""
    begun = hashlib.sha256(key.encode())

    def hide(value: Any) -> str | None:
        if value is None:
            return None
        hash_ = begun.copy()
        hash_.update(value if isinstance(value, bytes) else repr(value).encode())
        return hash_.hexdigest()

    return hide

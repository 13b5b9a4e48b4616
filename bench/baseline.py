"""The plain way, as most would write it first: both sides whole in dictionaries, one round trip for each change.

Not slowed down on purpose: the source is read in one query, and a transaction spans all writes.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any


def sync_table(source: Any, backup: Any, columns: list[str], table: str, mark: str, begin: str) -> tuple[int, int, int]:
    """Sync a table (key: its first column, version: its last) into one that has SyncedAt as well; (inserted, updated, deleted)."""
    names = ", ".join(columns)
    reader, writer = source.cursor(), backup.cursor()
    reader.execute(f"SELECT {names} FROM {table}")
    there = {row[0]: row for row in reader.fetchall()}
    writer.execute(f"SELECT {names} FROM {table}")
    here = {row[0]: row for row in writer.fetchall()}
    inserted = updated = deleted = 0
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    marks = ", ".join([mark] * (len(columns) + 1))
    settings = ", ".join(f"{name} = {mark}" for name in (*columns[1:], "SyncedAt"))
    writer.execute(begin)
    for key, row in there.items():
        if key not in here:
            writer.execute(f"INSERT INTO {table} ({names}, SyncedAt) VALUES ({marks})", (*row, now))
            inserted += 1
        elif row[-1] > here[key][-1]:
            writer.execute(f"UPDATE {table} SET {settings} WHERE {columns[0]} = {mark}", (*row[1:], now, key))
            updated += 1
    for key in here:
        if key not in there:
            writer.execute(f"DELETE FROM {table} WHERE {columns[0]} = {mark}", (key,))
            deleted += 1
    writer.execute("COMMIT")
    return inserted, updated, deleted


def sync_container(source: Any, backup: Any) -> tuple[int, int, int]:
    """Sync orders between two containers of the synchronous SDK."""
    query = "SELECT * FROM c WHERE c.type = 'Order'"
    there = {item["id"]: item for item in source.query_items(query, enable_cross_partition_query=True)}
    here = {item["id"]: item for item in backup.query_items(query, enable_cross_partition_query=True)}
    inserted = updated = deleted = 0
    for key, item in there.items():
        old = here.get(key)
        if old is None:
            inserted += 1
        elif (item.get("lastModified") or "") > (old.get("lastModified") or "") or item["status"] != old["status"]:
            updated += 1
        else:
            continue
        backup.upsert_item({name: value for name, value in item.items() if not name.startswith("_")})
    for key, item in here.items():
        if key not in there:
            backup.delete_item(key, item["customerId"])
            deleted += 1
    return inserted, updated, deleted

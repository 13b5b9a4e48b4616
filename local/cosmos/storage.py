"""Persistence: every resource is a row of one SQLite table.

Databases, containers and documents differ only in their owner: databases belong to the account (owner 0), containers
to a database, documents to a container. So reading, listing, querying and deleting are the same for all three.
"""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from . import ranges
from .errors import conflict
from .jsontext import dumps, join
from .partition import PartitionKey
from .ranges import PhysicalRange

ACCOUNT = 0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS resource (
    seq INTEGER PRIMARY KEY, owner INTEGER NOT NULL, epk TEXT NOT NULL, pk TEXT NOT NULL, id TEXT,
    rid TEXT NOT NULL, etag TEXT NOT NULL, ts INTEGER NOT NULL, lsn INTEGER NOT NULL, body TEXT NOT NULL,
    UNIQUE (owner, pk, id));
CREATE INDEX IF NOT EXISTS resource_place ON resource (owner, epk, seq);
CREATE INDEX IF NOT EXISTS resource_id ON resource (owner, id);
CREATE INDEX IF NOT EXISTS resource_lsn ON resource (owner, lsn);
CREATE INDEX IF NOT EXISTS resource_ts ON resource (owner, ts);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES ('lsn', 0), ('range', 0), ('layout', 1);
CREATE TABLE IF NOT EXISTS physical (id TEXT PRIMARY KEY, minimum TEXT, maximum TEXT, parents TEXT);
CREATE TABLE IF NOT EXISTS unique_value (
    owner INTEGER NOT NULL, pk TEXT NOT NULL, number INTEGER NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (owner, pk, number, value)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unique_value_of ON unique_value (seq);
CREATE TRIGGER IF NOT EXISTS unique_value_gone AFTER DELETE ON resource
BEGIN DELETE FROM unique_value WHERE seq = old.seq; END;
CREATE TABLE IF NOT EXISTS identity (account TEXT NOT NULL);
"""
_COLUMNS = "seq, owner, epk, pk, id, rid, etag, ts, lsn, body"


class Resource(NamedTuple):
    """A stored database, container or document."""

    seq: int
    owner: int
    epk: str
    pk: str
    id: str | None
    rid: str
    etag: str
    ts: int
    lsn: int
    body: str


class Place(NamedTuple):
    """Where a resource is kept: its owner, the owner's address by rid, and its place in the hash space."""

    owner: int
    owner_rid: str
    owner_self: str
    kind: str
    epk: str = ""
    pk: str = ""


class Store:
    """The database file. Used by one thread: each request runs to its end before the next one."""

    def __init__(self, path: Path, partitions: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None, cached_statements=512)
        run = self.connection.execute
        run("PRAGMA journal_mode=WAL")
        # With a write-ahead log a commit survives the death of this process without waiting for the disk.
        run("PRAGMA synchronous=NORMAL")
        run("PRAGMA cache_size=-131072")
        run("PRAGMA mmap_size=1073741824")
        self.connection.executescript(_SCHEMA)
        self.account = self._identity()
        self._seen: dict[tuple[str, int], list[PhysicalRange]] = {}
        self._expired: dict[int, tuple[int, int]] = {}
        self.physical = self._load_physical() or self._save_physical(ranges.even(partitions), partitions)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be entered again inside (a batch is one transaction of many operations)."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def lsn(self) -> int:
        """The number of the last change."""
        return self._counter("lsn")

    def get(self, owner: int, pk: str, id_: str) -> Resource | None:
        """One resource by its address."""
        row = self.connection.execute(
            f"SELECT {_COLUMNS} FROM resource WHERE owner = ? AND pk = ? AND id = ?", (owner, pk, id_)
        ).fetchone()
        return Resource(*row) if row else None

    def count(self, owner: int) -> int:
        """How many resources an owner has."""
        row = self.connection.execute("SELECT COUNT(*) FROM resource WHERE owner = ?", (owner,)).fetchone()
        return int(row[0])

    def insert(self, place: Place, id_: str | None, parts: dict[str, str]) -> Resource:
        """A new resource; `parts` are the texts of the client's properties."""
        with self.transaction():
            lsn = self._next("lsn")
            rid = self._rid(place, lsn)
            resource = self._with_system_properties(place, lsn, id_, rid, lsn, parts)
            try:
                self.connection.execute(f"INSERT INTO resource ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", resource)
            except sqlite3.IntegrityError:
                raise conflict() from None
        return resource

    def update(self, old: Resource, place: Place, id_: str, parts: dict[str, str]) -> Resource:
        """A resource replaced: same rid, new etag."""
        with self.transaction():
            lsn = self._next("lsn")
            resource = self._with_system_properties(place, old.seq, id_, old.rid, lsn, parts)
            try:
                self.connection.execute(
                    "UPDATE resource SET id = ?, etag = ?, ts = ?, lsn = ?, body = ? WHERE seq = ?",
                    (id_, resource.etag, resource.ts, lsn, resource.body, old.seq),
                )
            except sqlite3.IntegrityError:
                raise conflict() from None
        return resource

    def hold(self, resource: Resource, values: list[str]) -> None:
        """Note the values of a document's unique keys in place of its earlier ones; 409 if another has one of them."""
        with self.transaction():
            self.connection.execute("DELETE FROM unique_value WHERE seq = ?", (resource.seq,))
            rows = [(resource.owner, resource.pk, n, value, resource.seq) for n, value in enumerate(values)]
            try:
                self.connection.executemany("INSERT INTO unique_value VALUES (?,?,?,?,?)", rows)
            except sqlite3.IntegrityError:
                raise conflict("Unique index constraint violation.") from None

    def expire(self, owner: int, default: int) -> None:
        """Remove the documents whose time is over; `default` is the life span, in seconds, of those without one."""
        now = int(time.time())
        # Stamps are whole seconds: nothing can expire twice within one.
        if self._expired.get(owner) == (now, default):
            return
        own = "CASE json_type(body, '$.ttl') WHEN 'integer' THEN body ->> '$.ttl' WHEN 'real' THEN body ->> '$.ttl' END"
        with self.transaction():
            self.connection.execute(
                f"DELETE FROM resource WHERE owner = :owner AND COALESCE({own}, :default) > 0 "
                f"AND ts + COALESCE({own}, :default) <= :now",
                {"owner": owner, "default": default, "now": now},
            )
        self._expired[owner] = (now, default)

    def delete(self, resource: Resource) -> None:
        """A resource removed, with all that belongs to it."""
        with self.transaction():
            self._next("lsn")
            for child in self.connection.execute(
                "SELECT seq FROM resource WHERE owner = ?", (resource.seq,)
            ).fetchall():
                self.connection.execute("DELETE FROM resource WHERE owner = ?", child)
            self.connection.execute("DELETE FROM resource WHERE owner = ?", (resource.seq,))
            self.connection.execute("DELETE FROM resource WHERE seq = ?", (resource.seq,))

    def split(self) -> list[PhysicalRange]:
        """Every physical range replaced by two."""
        return self._divide(ranges.split(self.physical, self._counter("range")))

    def split_within(self, epk: str) -> list[PhysicalRange]:
        """The physical range of a first-level key replaced by two that share the key; the new ones."""
        return self._divide(ranges.split_within(self.physical, epk, self._counter("range")))

    def ranges_of(self, key: PartitionKey) -> list[PhysicalRange]:
        """The physical ranges as a container of that partition key has them."""
        kind = (key.kind, key.version)
        if kind not in self._seen:
            self._seen[kind] = ranges.seen_by(self.physical, key)
        return self._seen[kind]

    def layout(self) -> int:
        """A number that changes when the physical ranges change."""
        return self._counter("layout")

    def define(self, name: str, arguments: int, function: Callable[..., str | None]) -> None:
        """Make a function known to queries."""
        self.connection.create_function(name, arguments, function, deterministic=True)

    def _with_system_properties(
        self, place: Place, seq: int, id_: str | None, rid: str, lsn: int, parts: dict[str, str]
    ) -> Resource:
        now = int(time.time())
        etag = f'"{lsn:08x}-{self.account[-8:-4]}-{self.account[-4:]}-0000-{now:012x}"'
        own = f"{place.owner_self}{place.kind}/{rid}/"
        system = {"_rid": dumps(rid), "_self": dumps(own), "_etag": dumps(etag)}
        if place.kind == "dbs":
            system |= {"_colls": '"colls/"', "_users": '"users/"'}
        elif place.kind == "colls":
            links = {"_docs": "docs/", "_sprocs": "sprocs/", "_triggers": "triggers/", "_udfs": "udfs/"}
            system |= {name: dumps(link) for name, link in links.items()} | {"_conflicts": '"conflicts/"'}
        else:
            system["_attachments"] = '"attachments/"'
        system["_ts"] = str(now)
        body = join({**{name: text for name, text in parts.items() if name not in system}, **system})
        return Resource(seq, place.owner, place.epk, place.pk, id_, rid, etag, now, lsn, body)

    def _identity(self) -> str:
        # Made at random once and kept in the file: two accounts can be told apart by their own word.
        with self.transaction():
            found = self.connection.execute("SELECT account FROM identity").fetchone()
            if found is None:
                found = (f"local-{secrets.token_hex(8)}",)
                self.connection.execute("INSERT INTO identity VALUES (?)", found)
        return str(found[0])

    def _rid(self, place: Place, lsn: int) -> str:
        # As in the service: 4 bytes for a database, 4 more for a container, 8 more for a document. Databases and
        # containers draw theirs at random, so that one made anew, or on another server, is never taken for the old.
        prefix = base64.b64decode(place.owner_rid.replace("-", "/"))
        if place.kind == "docs":
            return _rid_text(prefix + lsn.to_bytes(8, "big"))
        while True:
            rid = _rid_text(prefix + secrets.token_bytes(4))
            if not self.connection.execute(
                "SELECT 1 FROM resource WHERE owner = ? AND rid = ?", (place.owner, rid)
            ).fetchone():
                return rid

    def _counter(self, name: str) -> int:
        return int(self.connection.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()[0])

    def _next(self, name: str) -> int:
        row = self.connection.execute("UPDATE counter SET value = value + 1 WHERE name = ? RETURNING value", (name,))
        return int(row.fetchone()[0])

    def _divide(self, divided: list[PhysicalRange]) -> list[PhysicalRange]:
        made = [one for one in divided if one not in self.physical]
        self.physical = self._save_physical(divided, self._counter("range") + len(made))
        self._seen.clear()
        return made

    def _load_physical(self) -> list[PhysicalRange]:
        rows = self.connection.execute("SELECT id, minimum, maximum, parents FROM physical ORDER BY minimum")
        return [PhysicalRange(row[0], row[1], row[2], tuple(json.loads(row[3]))) for row in rows]

    def _save_physical(self, current: list[PhysicalRange], next_id: int) -> list[PhysicalRange]:
        with self.transaction():
            self.connection.execute("DELETE FROM physical")
            rows = [(one.id, one.minimum, one.maximum, json.dumps(one.parents)) for one in current]
            self.connection.executemany("INSERT INTO physical VALUES (?,?,?,?)", rows)
            self.connection.execute("UPDATE counter SET value = ? WHERE name = 'range'", (next_id,))
            self._next("layout")
        return current


def _rid_text(octets: bytes) -> str:
    return base64.b64encode(octets).decode().replace("/", "-")

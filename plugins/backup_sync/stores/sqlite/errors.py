"""SQLite's errors → what should happen next.

SQLite's own texts name tables, columns and files, never values. A trigger's text is whatever its author wrote, and may
well quote the row: it is dropped.
"""

from __future__ import annotations

import re
import sqlite3

from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, FatalError, RetriableError

# Python 3.10 does not pass the error's name on; its text does as well (sqlite3ErrStr in SQLite's main.c).
NAMES = {
    "database is locked": "SQLITE_BUSY",
    "database table is locked": "SQLITE_LOCKED",
    "database or disk is full": "SQLITE_FULL",
    "disk I/O error": "SQLITE_IOERR",
    "unable to open database file": "SQLITE_CANTOPEN",
    "attempt to write a readonly database": "SQLITE_READONLY",
    "access permission denied": "SQLITE_PERM",
    "file is not a database": "SQLITE_NOTADB",
}
RETRIABLE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")
CONFIGURATION = ("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_AUTH", "SQLITE_NOTADB")
CONSTRAINT = re.compile(r"(UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed|datatype mismatch")
COLLATION = re.compile(r"no such collation sequence: (.*)")
TRIGGER = "SQLITE_CONSTRAINT_TRIGGER"


class UnknownCollation(ConfigurationError):
    """Something is ordered by a collation that only another program has."""


class NotJson(FatalError):
    """A row holds what JSON cannot."""


class Conflict(FatalError):
    """A row breaks a constraint of its table: most likely a key that is there already."""


def translate(label: str, error: sqlite3.Error) -> BackupSyncError:
    """The error of our own that stands for a driver error. ``label``: the connection id."""
    text = str(error).partition("\n")[0]
    if unknown := COLLATION.match(text):
        return UnknownCollation(
            f"{label}: a key column or an index is ordered by the collation {unknown[1]}, which SQLite itself does not know; back "
            "up a view that has the key COLLATE BINARY, and put no such index on the copy"
        )
    if text == "JSON cannot hold BLOB values":
        return NotJson(f"{label}: SQLite reports: {text}")
    name = getattr(error, "sqlite_errorname", "") or NAMES.get(text, type(error).__name__)
    if name == TRIGGER or (isinstance(error, sqlite3.IntegrityError) and not CONSTRAINT.match(text)):
        return FatalError(f"{label}: a trigger of the table refused a row; remove the trigger")
    if name.startswith(RETRIABLE):
        return RetriableError(f"{label}: SQLite reports {name}: {text}")
    if name.startswith(CONFIGURATION):
        return ConnectionMistake(f"{label}: SQLite reports {name}: {text}; correct the path or its permissions")
    kind = Conflict if isinstance(error, sqlite3.IntegrityError) else FatalError
    return kind(f"{label}: SQLite reports {name}: {text}")

"""SQL Server's error numbers → what should happen next.

The texts of SQL Server's messages are passed on only where they name objects; many others quote a row's values
(``The duplicate key value is (…)``), so for those there is a sentence of our own.
Numbers: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
"""

from __future__ import annotations

import re
from typing import Any

from backup_sync.core.errors import BackupSyncError, ConfigurationError, FatalError, RetriableError

RETRIABLE = {
    # No errors by themselves (a login sets database and language): the last that was heard of a connection cut there.
    5701: "cut the connection off during the login",
    5703: "cut the connection off during the login",
    1205: "was chosen as deadlock victim",
    1222: "waited too long for a lock",
    3960: "met an update conflict under snapshot isolation",
    1204: "has run out of locks",
    1101: "has no room left in the database's files",
    1105: "has no room left in the database's files",
    9002: "has a full transaction log",
    701: "is out of memory",
    802: "is out of memory",
    8645: "waited too long for memory",
    596: "ended the session",
    10928: "has reached a resource limit",
    10929: "is too busy",
    40197: "met an error while processing the request",
    40501: "is too busy",
    40613: "is not available at the moment",
    49918: "is too busy",
    49919: "is too busy",
    49920: "is too busy",
    6005: "is shutting down",
    942: "has the database offline",
    17142: "is paused",
    922: "is recovering the database",
    927: "is restoring the database",
    983: "has the database offline on this replica",
    18401: "is being upgraded",
}

CONFIGURATION = {
    18456: "refused the login; correct login and password of the connection",
    18452: "refused the login; correct login and password of the connection",
    18470: "refused the login: the account is disabled",
    18487: "refused the login: the password has expired",
    18488: "refused the login: the password must be changed",
    4060: "cannot open the database; correct 'schema' of the connection (the database's name) or grant access to it",
    911: "has no such database; correct 'schema' of the connection",
    229: "denied a permission; grant what README.md lists for this connection",
    230: "denied a permission on a column; grant what README.md lists for this connection",
    262: "denied a permission; grant what README.md lists for this connection",
    297: "denied a permission; grant what README.md lists for this connection",
    3906: "has the database read-only; name the one that is to be written, or make it writable",
    916: "does not let this login into the database; create a user for it there",
    207: "does not know a column",
    208: "does not know a table",
}

FATAL = {
    2627: "found a key there twice",
    2601: "found a value there twice that a unique index forbids",
    515: "was given NULL for a column that is NOT NULL",
    547: "has a foreign key or check constraint that forbids a row",
    2628: "found a value too long for its column",
    8152: "found a value too long for its column",
    245: "could not convert a value",
    8114: "could not convert a value",
    8115: "found a number too large for its column",
    241: "could not read a date",
    242: "found a date out of range",
}

# DB-Library's own numbers (sybdb.h): what the client library says when the connection goes.
TIMED_OUT = 20003
CONNECTION = {20002, 20004, 20006, 20009, 20017, 20020, 20047, 20056}
SERVER_SAID = 20018
"""DB-Library's number for "the server reported an error", which is the one that the driver names."""


def number_of(error: BaseException) -> int | None:
    """The error number in a pymssql exception (its first argument, at times nested); None if it is not one.

    Where no connection was made, the driver names the last number that *any* connection of this process was told: a
    server that is away shows as the refused login of an hour ago. What DB-Library itself said stands in the text.
    """
    if not type(error).__module__.startswith("pymssql"):
        return None
    found: Any = error.args
    while isinstance(found, tuple) and len(found) == 1:
        found = found[0]
    number, text = found if isinstance(found, tuple) and len(found) == 2 else (found, b"")
    said = [
        int(digits) for digits in re.findall(rb"DB-Lib error message (\d+)", text if isinstance(text, bytes) else b"")
    ]
    if said and SERVER_SAID not in said:
        return said[0]
    return number if isinstance(number, int) else 0


def translate(where: str, number: int, error: BaseException) -> BackupSyncError:
    """The error of our own that stands for a driver error. ``where``: the connection id."""
    if number in CONFIGURATION:
        return ConfigurationError(f"{where}: SQL Server {CONFIGURATION[number]} (error {number})")
    if number in RETRIABLE:
        return RetriableError(f"{where}: SQL Server {RETRIABLE[number]} (error {number})")
    if number in FATAL:
        return FatalError(f"{where}: SQL Server {FATAL[number]} (error {number})")
    if number == TIMED_OUT:
        return RetriableError(
            f"{where}: SQL Server did not answer in time (DB-Library {number}); 'login_timeout' and 'timeout' in the "
            "connection's extra say how long is waited"
        )
    if number in CONNECTION:
        return RetriableError(f"{where}: cannot reach SQL Server, or the connection was cut (DB-Library {number})")
    name = type(error).__name__
    if not number and name in ("OperationalError", "InterfaceError"):
        # What the server refuses has a number; without one the client itself found the connection gone.
        return RetriableError(f"{where}: cannot reach SQL Server, or the connection was cut ({name})")
    return FatalError(f"{where}: SQL Server reports error {number or name}")

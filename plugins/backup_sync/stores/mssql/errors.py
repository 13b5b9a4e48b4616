"""SQL Server's error numbers → what should happen next.

The texts of SQL Server's messages are passed on only where they name objects; many others quote a row's values
(``The duplicate key value is (…)``), so for those there is a sentence of our own.

What is transient is taken from the lists that Microsoft keeps for its own clients, and from the numbers' own texts:

* Microsoft.Data.SqlClient, ``SqlConfigurableRetryFactory.BaselineTransientErrors``
  (https://learn.microsoft.com/dotnet/api/microsoft.data.sqlclient.sqlconfigurableretryfactory.baselinetransienterrors)
* Entity Framework Core, ``SqlServerTransientExceptionDetector``
  (https://github.com/dotnet/efcore/blob/main/src/EFCore.SqlServer/Storage/Internal/SqlServerTransientExceptionDetector.cs)
* Azure SQL, "transient fault error messages" and what they may embed
  (https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues)
* https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors

Not taken from those lists: 4060 (no such database, or not for this login: far more often a mistake in the connection
than a failover, and a failover has other numbers) and 20 (no encryption, which the server does not learn overnight).
"""

from __future__ import annotations

import re
from typing import Any

from backup_sync.model.errors import BackupSyncError, ConfigurationError, ConnectionMistake, FatalError, RetriableError

PASSING: dict[str, tuple[int, ...]] = {
    # Not errors as such (a login sets database and language): the last that was heard of a connection cut there.
    "cut the connection off during the login": (5701, 5703),
    "was chosen as deadlock victim": (1205,),
    "waited too long for a lock: another session holds one on the table, or on what belongs to it": (1222,),
    "is in the middle of other work on the table's locks": (1203, 1215, 1216, 1221, 1232),
    "has run out of locks": (1204, 22335),
    "met an update conflict under snapshot isolation": (3960,),
    "could not keep the row versions that the transaction needed": (3947, 3948, 3950, 3953, 3957, 3966),
    "undid a transaction that met another one": (41301, 41302, 41305, 41325, 41339, 41839),
    "found the table altered while it read or wrote it": (539, 2021, 2816, 3941, 4117, 4184, 9515, 11539),
    "found the rows moved while it read them": (601, 617, 669),
    "has no room left in the database's files": (1101, 1105),
    "has a full transaction log": (9002,),
    "is shrinking the transaction log": (9020,),
    "is out of memory": (701, 802, 41823, 41840),
    "waited too long for memory": (8645, 8651),
    "waited too long to plan the query": (8628,),
    "ended the session": (596, 3980),
    "has reached a resource limit": (10928, 10936, 17889, 22498, 40189, 40648),
    "is too busy": (10929, 10930, 17197, 40501, 40642, 40675, 40903, 49918, 49919, 49920),
    "is busy with another operation on the database": (
        *(1807, 10922, 40671, 40890, 40918, 40938, 45153, 45156, 45157, 45161, 45179, 45182, 45319, 45547),
        *(37202, 49510, 49977, 49983),
    ),
    "met an error while processing the request": (
        *(16528, 16554, 16555, 22225, 22226, 22353, 22355, 22358, 22427, 22491, 22493),
        *(40020, 40106, 40143, 40166, 40197, 40540, 42029),
    ),
    "met an error of its own that may be one of timing": (3635, 17065, 17066, 17067),
    "is not available at the moment": (22430, 40613, 41700, 41701, 49802),
    "has the database offline": (615, 941, 942),
    # On one's own server 926 stays until somebody repairs the database, and the retries end with this sentence.
    "could not recover the database": (926,),
    "is recovering the database": (921, 922),
    "is restoring the database": (927,),
    "has the database in transition": (952,),
    "has the database offline on this replica": (983,),
    "does not let anybody into the database on this replica": (976, 982, 4221),
    "lacks a quorum of replicas": (988,),
    "is warming up": (42109,),
    "has the SQL pool paused": (42108,),
    "is shutting down": (6005,),
    "is paused": (17142,),
    "is being upgraded": (18401,),
    "lost the connection": (64, 121, 203, 233, 997, 10053, 10054, 10060, 11001),
    # Published as passing as well, from parts of the server that a backup does not call; a trigger may.
    "asks for the same again later": (
        *(1404, 1413, 1421, 1438, 1532, 1533, 1534, 1535, 3429, 3935, 5280, 5529, 6292, 7951, 9985, 14355, 14817),
        *(14868, 14906, 18858, 19413, 19416, 19494, 20041, 21503, 22754, 22758, 22759, 22760, 22984, 25003, 25738),
        *(25740, 30080, 30085, 33123, 35216, 35218, 35256, 35293, 37327, 39025, 39108, 39110, 39151, 39152, 40623),
        *(41383, 41614, 41619, 41640, 47132, 47137, 47139),
    ),
}
RETRIABLE = {number: words for words, numbers in PASSING.items() for number in numbers}

CONFIGURATION = {
    18456: "refused the login; correct login and password of the connection",
    18452: "refused the login; correct login and password of the connection",
    18470: "refused the login: the account is disabled",
    18487: "refused the login: the password has expired",
    18488: "refused the login: the password must be changed",
    4060: "cannot open the database; correct 'schema' of the connection (the database's name) or grant access to it",
    911: "has no such database; correct 'schema' of the connection",
    229: "denied a permission; grant what docs/connections.md lists for this connection",
    230: "denied a permission on a column; grant what docs/connections.md lists for this connection",
    262: "denied a permission; grant what docs/connections.md lists for this connection",
    297: "denied a permission; grant what docs/connections.md lists for this connection",
    3906: "has the database read-only; name the one that is to be written, or make it writable",
    916: "does not let this login into the database; create a user for it there",
    207: "does not know a column",
    208: "does not know a table",
}
UNKNOWN = {207, 208}
"""Of these, what is no mistake in the connection or its grants: a name in the services file."""

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
    605: "found a damaged page in the database's files; let its administrator run DBCC CHECKDB",
    823: "could not read or write the database's files; let its administrator look at the disk and run DBCC CHECKDB",
    824: "found a damaged page in the database's files; let its administrator run DBCC CHECKDB",
}

RESOURCES = {17, 19}
ENDS_THE_SESSION = 20
COMMUNICATION = 9
"""Severities, for numbers that are not known here: 17 and 19 say that something has run out, and from 20 on the server
ends the session. 9 is the client library's own for a lost line (sybdb.h: EXCOMM); no error of a server has it.
https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-error-severities"""

# DB-Library's own numbers (sybdb.h): what the client library says when the connection goes.
TIMED_OUT = 20003
CONNECTION = {20001, 20002, 20004, 20006, 20008, 20009, 20013, 20017, 20020, 20047, 20056}
SERVER_SAID = 20018
"""DB-Library's number for "the server reported an error", which is the one that the driver names."""


def number_of(error: BaseException) -> int | None:
    """The error number in a pymssql exception (its first argument, at times nested); None if it is not one.

    Where no connection was made, the driver names the last number that *any* connection of this process received: a
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


def severity_of(error: BaseException, number: int) -> int:
    """The severity of this error: what the server gave it (0..25), or else the client library; 0 where there is none.

    The driver's DB-API exceptions are raised from one that knows it. It stands in the text as well: the client library
    reports "the server said something" with the severity of what was said.
    """
    for known in (error, error.__context__):
        severity = getattr(known, "severity", None)
        if isinstance(severity, int) and getattr(known, "number", None) == number:
            return severity
    found = re.findall(r"DB-Lib error message (\d+), severity (\d+)", repr(error.args))
    return max((int(severity) for said, severity in found if int(said) in (SERVER_SAID, number)), default=0)


def translate(label: str, number: int, error: BaseException, address: str = "") -> BackupSyncError:
    """The error of our own that stands for a driver error. ``label``: the connection id; ``address``: host and port."""
    at = f" at {address}" if address else ""
    if number in CONFIGURATION:
        kind = ConfigurationError if number in UNKNOWN else ConnectionMistake
        return kind(f"{label}: SQL Server {CONFIGURATION[number]} (error {number})")
    if number in RETRIABLE:
        return RetriableError(f"{label}: SQL Server {RETRIABLE[number]} (error {number})")
    if number in FATAL:
        return FatalError(f"{label}: SQL Server {FATAL[number]} (error {number})")
    if number == TIMED_OUT:
        return RetriableError(
            f"{label}: SQL Server{at} did not answer in time (DB-Library {number}); raise 'login_timeout' or 'timeout' in the "
            "connection's extra to wait longer"
        )
    if number in CONNECTION:
        return RetriableError(f"{label}: cannot reach SQL Server{at}, or the connection was cut (DB-Library {number})")
    name = type(error).__name__
    if not number and name in ("OperationalError", "InterfaceError"):
        # What the server refuses has a number; without one the client itself found the connection gone.
        return RetriableError(f"{label}: cannot reach SQL Server{at}, or the connection was cut ({name})")
    severity = severity_of(error, number)
    if severity == COMMUNICATION:
        return RetriableError(f"{label}: cannot reach SQL Server{at}, or the connection was cut (DB-Library {number})")
    if severity in RESOURCES:
        return RetriableError(f"{label}: SQL Server has run out of something (error {number}, severity {severity})")
    if severity >= ENDS_THE_SESSION:
        return RetriableError(f"{label}: SQL Server ended the session (error {number}, severity {severity})")
    return FatalError(f"{label}: SQL Server reports error {number or name}")

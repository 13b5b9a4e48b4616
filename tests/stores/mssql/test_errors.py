"""Which errors of SQL Server are tried again, and how they are told from those that a person has to look at."""

from __future__ import annotations

import pymssql
import pytest

from backup_sync.model.errors import BackupSyncError, ConnectionMistake, FatalError, RetriableError
from backup_sync.stores.mssql.errors import CONFIGURATION, CONNECTION, FATAL, PASSING, RETRIABLE, number_of, translate

# Microsoft.Data.SqlClient 7.0, SqlConfigurableRetryFactory.BaselineTransientErrors, and what Azure SQL documents.
SQLCLIENT = [
    *(233, 997, 1204, 1205, 1222, 4221, 10053, 10054, 10060, 10928, 10929, 40143, 40197, 40501, 40540, 40613),
    *(42108, 42109, 49918, 49919, 49920),
]
AZURE = [615, 926, 4221, 40020, 40143, 40166, 40197, 40501, 40540, 40613, 49918, 49919, 49920]
# A sample of Entity Framework Core's SqlServerTransientExceptionDetector, from each part of it.
EFCORE = [
    *(64, 121, 601, 617, 669, 921, 941, 952, 988, 1203, 1221, 1807, 3935, 3957, 3960, 3966, 8628, 8645, 8651, 9020),
    *(10922, 10930, 10936, 11001, 14355, 14868, 17197, 18401, 20041, 35293, 40189, 40642, 41301, 41302, 41305, 41325),
    *(41839, 45157, 49802, 49977, 49983),
]


def server_says(number: int, severity: int, text: bytes = b"hunter2") -> bytes:
    return text + b"DB-Lib error message 20018, severity %d:\nGeneral SQL Server error\n" % severity


def translated(error: Exception) -> BackupSyncError:
    number = number_of(error)
    assert number is not None
    return translate("customer_backup", number, error)


@pytest.mark.parametrize("number", sorted({*SQLCLIENT, *AZURE, *EFCORE}))
def test_what_microsoft_says_passes_by_itself_is_tried_again(number):
    error = translated(pymssql.OperationalError(number, server_says(number, 16)))
    assert type(error) is RetriableError
    assert str(error).endswith(f"(error {number})")


def test_no_number_is_in_two_lists():
    listed = [number for numbers in PASSING.values() for number in numbers]
    assert len(listed) == len(set(listed)) == len(RETRIABLE)
    assert not set(RETRIABLE) & (set(CONFIGURATION) | set(FATAL) | CONNECTION)
    assert not set(CONFIGURATION) & set(FATAL)


@pytest.mark.parametrize("number", [4060, 18456])
def test_a_database_or_login_that_is_refused_is_a_mistake_in_the_connection_whatever_its_severity(number):
    assert type(translated(pymssql.OperationalError(number, server_says(number, 20)))) is ConnectionMistake


@pytest.mark.parametrize("severity", [11, 13, 14, 15, 16, 18])
def test_an_unknown_error_of_a_statement_is_for_a_person(severity):
    error = translated(pymssql.OperationalError(50412, server_says(50412, severity)))
    assert type(error) is FatalError
    assert str(error) == "customer_backup: SQL Server reports error 50412"


@pytest.mark.parametrize(
    "severity, sentence",
    [
        (17, "has run out of something"),
        (19, "has run out of something"),
        (20, "ended the session"),
        (21, "ended the session"),
        (25, "ended the session"),
    ],
)
def test_an_unknown_error_of_the_server_or_the_session_is_tried_again(severity, sentence):
    error = translated(pymssql.OperationalError(50412, server_says(50412, severity)))
    assert type(error) is RetriableError
    assert str(error) == f"customer_backup: SQL Server {sentence} (error 50412, severity {severity})"


class DriversOwn(Exception):
    """As ``_mssql.MSSQLDatabaseException``, whose severity cannot be set from here; none is in the text."""

    __module__ = "pymssql._mssql"

    def __init__(self, number: int, severity: int) -> None:
        super().__init__((number, b"hunter2"))
        self.number, self.severity = number, severity


def wrapped(earlier: Exception, number: int, text: bytes) -> Exception:
    """As the driver wraps its own exceptions in those of the DB-API."""
    error = pymssql.OperationalError(number, text)
    error.__context__ = earlier
    return error


def test_the_severity_is_taken_from_the_exception_that_the_driver_began_with():
    own = DriversOwn(50412, 21)
    assert type(translated(own)) is RetriableError  # of a bulk copy, which the driver does not wrap
    assert type(translated(wrapped(own, 50412, b"hunter2"))) is RetriableError


def test_the_severity_of_an_earlier_error_is_not_taken_for_that_of_a_later_one():
    assert type(translated(wrapped(DriversOwn(50413, 21), 50412, server_says(50412, 16)))) is FatalError


@pytest.mark.parametrize("number", sorted({*CONNECTION, 20199}))
def test_whatever_the_client_library_says_of_a_lost_line_is_tried_again(number):
    text = b"DB-Lib error message %d, severity 9:\nsomething about the line\n" % number
    error = translated(pymssql.OperationalError(number, text))
    assert type(error) is RetriableError
    assert str(error) == f"customer_backup: cannot reach SQL Server, or the connection was cut (DB-Library {number})"


@pytest.mark.parametrize("severity", [9, 16, 17, 24])
def test_every_error_becomes_one_sentence_that_quotes_nothing(severity):
    for number in (*RETRIABLE, *CONFIGURATION, *FATAL, 50412):
        said = str(translated(pymssql.OperationalError(number, server_says(number, severity, b"key (hunter2)\n"))))
        assert said.startswith("customer_backup: ")
        assert str(number) in said
        assert "hunter2" not in said
        assert "\n" not in said
        assert not said.endswith(".")

"""A network that cuts, delays, truncates and refuses, between the product and either of its ends."""

from __future__ import annotations

import os

import pymssql
import pytest

from backup_sync.model.errors import RetriableError
from backup_sync.stores.mssql.errors import translate
from tests.reliability.conftest import Case
from tests.reliability.proxy import Fault

SEEDS = int(os.environ.get("BACKUP_SYNC_TEST_NETWORKS", "4"))


@pytest.mark.parametrize(
    "number, error", [(0, pymssql.OperationalError()), (0, pymssql.InterfaceError()), (5703, OSError())]
)
def test_a_connection_to_sql_server_that_is_gone_is_retried_also_if_the_driver_says_little(
    number: int, error: Exception
) -> None:
    assert isinstance(translate("source", number, error), RetriableError)


@pytest.mark.parametrize("number", range(SEEDS))
def test_a_bad_network_to_cosmos_ends_in_equal_contents_or_in_one_clear_sentence(
    cosmos_network: Case, number: int
) -> None:
    cosmos_network.backend.small(lease_seconds=3.0)
    cosmos_network.weather(number, connections=30, size=200_000)


@pytest.mark.parametrize("number", range(SEEDS))
def test_a_bad_network_to_sql_server_ends_in_equal_contents_or_in_one_clear_sentence(
    mssql_network: Case, number: int
) -> None:
    mssql_network.weather(number, connections=4, size=60_000)


def test_a_cosmos_server_that_refuses_every_connection_is_one_clear_sentence(
    cosmos_network: Case,
) -> None:
    cosmos_network.backend.small(lease_seconds=3.0)
    cosmos_network.prepare()
    was = cosmos_network.backend.backup_rows()
    cosmos_network.proxies[0].cut()
    cosmos_network.proxies[0].faults += [Fault(refuse=True)] * 1_000
    with pytest.raises(RetriableError, match="source: cannot reach Cosmos DB"):
        cosmos_network.backend.sync(service=cosmos_network.service())
    assert cosmos_network.backend.backup_rows() == was

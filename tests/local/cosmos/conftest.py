"""One server for most tests, with a container of its own for each test; a server of its own where faults are ordered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, DatabaseProxy, PartitionKey

from local.cosmos import EmbeddedCosmos

_HERE = Path(__file__).parent
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In this folder a warning is a failure."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCosmos]:
    with EmbeddedCosmos(tmp_path_factory.mktemp("cosmos") / "shared.sqlite") as running:
        yield running
        assert running.log.read_text() == ""


@pytest.fixture(scope="session")
def database(server: EmbeddedCosmos) -> Iterator[DatabaseProxy]:
    with CosmosClient(server.endpoint, server.key) as client:
        yield client.create_database("orders")


@pytest.fixture
def container(database: DatabaseProxy) -> ContainerProxy:
    return database.create_container(f"c{next(_numbers)}", PartitionKey("/pk"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedCosmos]:
    with EmbeddedCosmos(tmp_path / "own.sqlite") as running:
        yield running
        assert running.log.read_text() == "", "the server wrote errors"


@pytest.fixture
def own_container(own_server: EmbeddedCosmos) -> Iterator[ContainerProxy]:
    """A container of the server of its own, through a client that does not retry by itself."""
    with CosmosClient(own_server.endpoint, own_server.key, retry_total=0) as client:
        yield client.create_database("orders").create_container("orders", PartitionKey("/pk"))


def without_system_properties(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if not name.startswith("_")}

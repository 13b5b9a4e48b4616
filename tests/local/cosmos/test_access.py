"""Tokens and roles: who is let in, what a role covers, and the answers that the service gives to all others."""

from __future__ import annotations

import base64
import json
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncClient
from azure.cosmos.exceptions import CosmosHttpResponseError

from local.cosmos import EmbeddedCosmos
from local.cosmos.access import ROLES
from local.cosmos.certificate import certificate_of
from local.cosmos.tokens import ANY_ACCOUNT, issue

ME = "3f2b6c1e-0000-4000-8000-000000000001"
HERE = "https://127.0.0.1"

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # the SDK's own doing, for this machine


class Bearer:
    """What the SDK takes for a credential."""

    def __init__(self, make: Callable[[str], str]) -> None:
        self._make = make
        self.scopes: list[tuple[str, ...]] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes.append(scopes)
        return AccessToken(self._make(scopes[0].removesuffix("/.default")), int(time.time()) + 3600)


class AsyncBearer(Bearer):
    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
        return super().get_token(*scopes, **options)

    async def close(self) -> None: ...

    async def __aenter__(self) -> AsyncBearer:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCosmos]:
    with EmbeddedCosmos(tmp_path_factory.mktemp("access") / "tls.sqlite", tls=True) as server:
        with CosmosClient(server.endpoint, server.key) as client:
            container = client.create_database("orders").create_container("orders", PartitionKey("/pk"))
            container.create_item({"id": "1", "pk": "a"})
        yield server
        assert server.log.read_text() == ""


@pytest.fixture
def tls(running: EmbeddedCosmos) -> Iterator[EmbeddedCosmos]:
    yield running
    running.grant(ME, None)
    running.take_keys(True)


def mine(audience: str) -> str:
    return issue(ME, audience)


def opened(server: EmbeddedCosmos, make: Callable[[str], str] = mine) -> ContainerProxy:
    client = CosmosClient(server.endpoint, Bearer(make))
    return client.get_database_client("orders").get_container_client("orders")


def refused(request: Callable[[], Any]) -> CosmosHttpResponseError:
    with pytest.raises(CosmosHttpResponseError) as caught:
        request()
    return caught.value


READS: dict[str, Callable[[ContainerProxy], Any]] = {
    "read": lambda container: container.read_item("1", "a"),
    "query": lambda container: list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True)),
    "list": lambda container: list(container.read_all_items()),
    "changes": lambda container: list(container.query_items_change_feed(start_time="Beginning")),
    "properties": lambda container: container.read(populate_quota_info=True),
    "ranges": lambda container: list(container.read_feed_ranges()),
}
WRITES: dict[str, Callable[[ContainerProxy], Any]] = {
    "create": lambda container: container.create_item({"id": f"{time.time_ns()}", "pk": "a"}),
    "upsert": lambda container: container.upsert_item({"id": "2", "pk": "a"}),
    "replace": lambda container: container.replace_item("1", {"id": "1", "pk": "a"}),
    "patch": lambda container: container.patch_item("1", "a", [{"op": "set", "path": "/n", "value": 1}]),
    "batch": lambda container: container.execute_item_batch([("upsert", ({"id": "3", "pk": "a"},))], "a"),
    "delete": lambda container: container.delete_item("2", "a"),
}


# roles


def test_a_reader_reads_everything_and_writes_nothing(tls: EmbeddedCosmos) -> None:
    tls.grant(ME, "reader")
    container = opened(tls)
    for read in READS.values():
        assert read(container)
    before = READS["list"](container)
    for name, write in WRITES.items():
        problem = refused(lambda write=write: write(container))
        assert (problem.status_code, problem.sub_status) == (403, 5301), name
        assert f"principal [{ME}] does not have required RBAC permissions to perform action [" in str(problem)
    assert READS["list"](container) == before


def test_a_contributor_does_all_there_is_to_do_with_documents(tls: EmbeddedCosmos) -> None:
    tls.grant(ME, "contributor")
    container = opened(tls)
    for name, request in {**READS, **WRITES}.items():
        assert request(container) is not None or name == "delete"


@pytest.mark.parametrize("role", ROLES)
def test_no_role_covers_databases_and_containers_nor_throughput(tls: EmbeddedCosmos, role: str) -> None:
    tls.grant(ME, role)
    client = CosmosClient(tls.endpoint, Bearer(mine))
    database = client.get_database_client("orders")
    container = database.get_container_client("orders")
    asked: dict[str, Callable[[], Any]] = {
        "POST /dbs": lambda: client.create_database("more"),
        "POST /dbs/orders/colls": lambda: database.create_container("more", PartitionKey("/pk")),
        "PUT /dbs/orders/colls/orders": lambda: database.replace_container(container, PartitionKey("/pk")),
        "DELETE /dbs/orders/colls/orders": lambda: database.delete_container("orders"),
        "DELETE /dbs/orders": lambda: client.delete_database("orders"),
        "POST /offers": container.get_throughput,
    }
    for request, ask in asked.items():
        problem = refused(ask)
        assert (problem.status_code, problem.sub_status) == (403, 5300), request
        assert f"The given request [{request}] cannot be authorized by AAD token in data plane." in str(problem)
    assert [one["id"] for one in client.list_databases()] == ["orders"], "nothing came of it"
    assert container.read()["id"] == "orders"


def test_a_principal_without_a_role_sees_nothing_and_one_that_lost_it_no_more(tls: EmbeddedCosmos) -> None:
    problem = refused(lambda: opened(tls))
    assert (problem.status_code, problem.sub_status) == (403, 5301)
    assert "perform action [Microsoft.DocumentDB/databaseAccounts/readMetadata] on resource [/]" in str(problem)
    tls.grant(ME, "reader")
    container = opened(tls)
    assert READS["read"](container)
    tls.grant(ME, None)
    assert refused(lambda: READS["read"](container)).status_code == 403


def test_a_role_that_is_none_is_refused(tls: EmbeddedCosmos) -> None:
    with pytest.raises(RuntimeError, match="no role owner; there are reader, contributor"):
        tls.grant(ME, "owner")


async def _both(server: EmbeddedCosmos) -> None:
    async with AsyncClient(server.endpoint, AsyncBearer(mine)) as client:
        container = client.get_database_client("orders").get_container_client("orders")
        assert (await container.read_item("1", "a"))["id"] == "1"
        with pytest.raises(CosmosHttpResponseError) as caught:
            await container.upsert_item({"id": "1", "pk": "a"})
        assert (caught.value.status_code, caught.value.sub_status) == (403, 5301)


def test_the_asynchronous_client_gets_the_same_answers(tls: EmbeddedCosmos) -> None:
    import asyncio

    tls.grant(ME, "reader")
    asyncio.run(_both(tls))


def test_the_role_that_the_docs_define_allows_what_a_backup_does_and_no_more() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "connections.md").read_text(encoding="utf-8")
    [definition] = re.findall(r"<<'END'\n(\{.*?\n\})\nEND", text, re.DOTALL)
    [permission] = json.loads(definition)["Permissions"]
    allowed = permission["DataActions"]
    assert {action for action in ROLES["contributor"] if any(fnmatchcase(action, one) for one in allowed)} == ROLES[
        "contributor"
    ]
    assert all(any(fnmatchcase(action, one) for action in ROLES["contributor"]) for one in allowed)


# tokens


def test_a_token_is_asked_for_the_account_itself_and_one_for_all_accounts_counts_too(tls: EmbeddedCosmos) -> None:
    tls.grant(ME, "reader")
    bearer = Bearer(mine)
    CosmosClient(tls.endpoint, bearer)
    assert set(bearer.scopes) == {(f"{HERE}/.default",)}
    assert READS["read"](opened(tls, lambda _: issue(ME, ANY_ACCOUNT)))


def tampered(audience: str) -> str:
    """Somebody else's token, made mine without the key."""
    header, body, signature = issue("somebody", audience).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64.urlsafe_b64encode(json.dumps(claims | {"oid": ME}).encode()).rstrip(b"=").decode()
    return f"{header}.{other}.{signature}"


@pytest.mark.parametrize(
    "make, sub_status, says",
    [
        (lambda audience: issue(ME, audience, -5), None, "Provided AAD token has been expired since ["),
        (lambda audience: issue(ME, f"{audience}/"), 5008, f"Provided AAD token is intended for [{HERE}/]"),
        (lambda audience: issue(ME, "https://vault.azure.net"), 5008, "intended for [https://vault.azure.net]"),
        (tampered, None, "cannot be authenticated"),
        (lambda audience: "no.token.atall", None, "cannot be authenticated"),
        (lambda audience: "", None, "cannot be authenticated"),
    ],
)
def test_a_token_that_is_over_or_meant_for_others_or_made_up_is_none(
    tls: EmbeddedCosmos, make: Callable[[str], str], sub_status: int | None, says: str
) -> None:
    tls.grant(ME, "contributor")
    problem = refused(lambda: opened(tls, make))
    assert problem.status_code == 401
    assert (problem.sub_status or None) == sub_status
    assert says in str(problem)


def test_a_token_that_ends_while_it_is_used_is_refused_from_then_on(tls: EmbeddedCosmos) -> None:
    tls.grant(ME, "reader")
    made: list[str] = []

    def once(audience: str) -> str:
        made.append(issue(ME, audience, 2 if not made else 3600))
        return made[-1]

    container = opened(tls, once)
    assert READS["read"](container)
    time.sleep(2.1)
    assert refused(lambda: READS["read"](container)).status_code == 401
    assert READS["read"](container), "the SDK drops a token that is refused, and asks for another"
    assert len(made) == 2


# keys


def test_keys_are_taken_until_they_are_switched_off_and_then_only_tokens(tls: EmbeddedCosmos) -> None:
    tls.grant(ME, "reader")
    client = CosmosClient(tls.endpoint, tls.key)
    assert list(client.list_databases())
    tls.take_keys(False)
    problem = refused(lambda: list(client.list_databases()))
    assert (problem.status_code, problem.sub_status) == (401, 5202)
    assert "Local Authorization is disabled. Use an AAD token to authorize all requests." in str(problem)
    assert READS["read"](opened(tls))


def test_a_server_that_granted_nothing_takes_no_token(own_server: EmbeddedCosmos) -> None:
    import urllib.error
    import urllib.request

    header = {"authorization": f"type%3Daad%26ver%3D1.0%26sig%3D{mine('http://127.0.0.1')}"}
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(own_server.endpoint, headers=header))
    with caught.value as problem:
        assert problem.code == 401, "a token for https does not count for http"


# https


def test_the_certificate_is_good_for_this_machine_and_its_key_for_nobody_else(tls: EmbeddedCosmos) -> None:
    file = certificate_of(tls.data)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Control routes go through a client that checks it.
    assert "requests" in tls.stats()


def test_https_is_on_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.cosmos", "--port", "0", "--data", str(tmp_path / "c.sqlite"), "--tls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "ready on https://127.0.0.1:" in process.stdout.readline()
        finally:
            process.terminate()

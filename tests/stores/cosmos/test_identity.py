"""Getting a token: by azure-identity itself from an endpoint on this machine, and what is said where there is none.

A tenant of Entra ID is nowhere in here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backup_sync.model.errors import BackupSyncError, ConnectionMistake, RetriableError
from backup_sync.stores.cosmos import identity as cosmos_identity
from backup_sync.stores.cosmos.identity import Identity, NoToken, Tokens
from tests.entra import IdentityEndpoint, Known, forget

SCOPE = "https://orders.documents.azure.com/.default"
CLIENT = "11111111-2222-3333-4444-555555555555"
SECRET = "hunter2-is-the-secret"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    monkeypatch.setattr(cosmos_identity, "PATIENCE", {"retry_total": 0, "connection_timeout": 1, "read_timeout": 1})
    with IdentityEndpoint({"": "system", CLIENT: "user"}) as found:
        found.use(monkeypatch)
        yield found


def asked(identity: Any, times: int = 1) -> list[Any]:
    """The tokens that one connection gets."""

    async def scene() -> list[Any]:
        tokens = Tokens(identity, "order_backup")
        try:
            return [await tokens.get_token_info(SCOPE) for _ in range(times)]
        finally:
            await tokens.close()

    return asyncio.run(scene())


def problem_of(identity: Any) -> BackupSyncError:
    with pytest.raises(NoToken) as caught:
        asked(identity)
    assert str(caught.value.problem).startswith("order_backup: ")
    assert caught.value.__cause__ is None, "what the library said is not passed on"
    return caught.value.problem


def test_a_managed_identity_gets_a_token_for_the_account_itself(endpoint: IdentityEndpoint) -> None:
    [token] = asked(Identity())
    assert token.token == endpoint.given[-1]
    assert endpoint.asked == [{"api-version": "2019-08-01", "resource": "https://orders.documents.azure.com"}]


@pytest.mark.parametrize("tenant", [None, "99999999-2222-3333-4444-555555555555"])
def test_the_client_id_of_the_connection_chooses_the_identity(endpoint: IdentityEndpoint, tenant: str | None) -> None:
    asked(Identity(CLIENT, tenant))
    assert endpoint.asked[0]["client_id"] == CLIENT


def test_the_identity_of_a_virtual_machine_gets_a_token(
    endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.use_as_a_machine(monkeypatch)
    [token] = asked(Identity(CLIENT))
    assert token.token == endpoint.given[-1]
    assert {one["client_id"] for one in endpoint.asked} == {CLIENT}


def test_a_virtual_machine_without_that_identity_is_a_mistake_and_one_in_trouble_is_not(
    endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.use_as_a_machine(monkeypatch)
    problem = problem_of(Identity("66666666-2222-3333-4444-555555555555"))
    assert type(problem) is ConnectionMistake
    assert "since ManagedIdentityCredential was refused (400)" in str(problem)
    endpoint.status = 503
    assert type(problem_of(Identity())) is RetriableError


def test_the_library_keeps_a_token_and_asks_once(endpoint: IdentityEndpoint) -> None:
    assert len({token.token for token in asked(Identity(), 5)}) == 1
    assert len(endpoint.asked) == 1


def test_the_tenant_of_the_connection_is_the_one_of_a_workload_identity(
    endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("a token of the cluster")
    forget(monkeypatch)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    members = {type(one).__name__: one for one in Identity(CLIENT, "our-tenant").credential().credentials}
    workload = members["WorkloadIdentityCredential"]
    assert (workload._client._tenant_id, workload._client._client_id) == ("our-tenant", CLIENT)


# none


def test_a_worker_without_any_identity_is_a_mistake_of_its_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", "http://127.0.0.1:1")
    problem = problem_of(Identity())
    assert type(problem) is ConnectionMistake
    assert "the connection has no password, and nothing on this worker can get a token" in str(problem)


@pytest.mark.parametrize("named_by", ["client id", "AZURE_CLIENT_ID", "AZURE_TOKEN_CREDENTIALS", "an earlier token"])
def test_an_identity_that_was_named_and_is_not_heard_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    forget(monkeypatch)
    monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", "http://127.0.0.1:1")
    monkeypatch.setattr(cosmos_identity, "PATIENCE", {"retry_total": 0, "connection_timeout": 1, "read_timeout": 1})
    if named_by.startswith("AZURE"):
        monkeypatch.setenv(named_by, {"AZURE_CLIENT_ID": CLIENT}.get(named_by, "ManagedIdentityCredential"))

    async def scene() -> BackupSyncError:
        tokens = Tokens(Identity(CLIENT if named_by == "client id" else None), "order_backup")
        tokens._had = named_by == "an earlier token"
        try:
            with pytest.raises(NoToken) as caught:
                await tokens.get_token_info(SCOPE)
            return caught.value.problem
        finally:
            await tokens.close()

    problem = asyncio.run(scene())
    assert type(problem) is RetriableError
    assert "since ManagedIdentityCredential got no answer" in str(problem)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_in_trouble_is_asked_again_later(endpoint: IdentityEndpoint, status: int) -> None:
    endpoint.status, endpoint.reason = status, SECRET
    problem = problem_of(Identity())
    assert type(problem) is RetriableError
    assert f"ManagedIdentityCredential was answered {status}" in str(problem)


def test_an_endpoint_that_never_answers_is_asked_again_later(endpoint: IdentityEndpoint) -> None:
    endpoint.delay = 1.5
    problem = problem_of(Identity())
    assert type(problem) is RetriableError
    assert "since ManagedIdentityCredential got no answer (" in str(problem)


def test_an_endpoint_that_is_away_is_asked_again_later(
    endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        assert type(problem_of(Identity())) is RetriableError


def test_an_identity_that_the_endpoint_does_not_know_is_a_mistake(endpoint: IdentityEndpoint) -> None:
    problem = problem_of(Identity("66666666-2222-3333-4444-555555555555"))
    assert type(problem) is ConnectionMistake
    assert "no token of Microsoft Entra ID, since ManagedIdentityCredential was refused (400)" in str(problem)
    assert "'managed_identity_client_id'" in str(problem)


@pytest.mark.parametrize(
    "status, error, kind, says",
    [
        (401, "AADSTS7000215: Invalid client secret provided", ConnectionMistake, "was refused (401, AADSTS7000215)"),
        (400, "AADSTS700016: application not found", ConnectionMistake, "was refused (400, AADSTS700016)"),
        (503, "the service is away", RetriableError, "was answered 503"),
    ],
)
def test_what_entra_itself_refuses_is_told_by_its_number_alone(
    caplog: pytest.LogCaptureFixture,
    status: int,
    error: str,
    kind: type[BackupSyncError],
    says: str,
) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    class EnvironmentCredential:
        async def get_token_info(self, *_: Any, **__: Any) -> Any:
            failed = ClientAuthenticationError(message=f"{error}, {SECRET}")
            failed.status_code = status
            raise failed

        async def close(self) -> None: ...

    class Mine:
        def credential(self) -> Any:
            return EnvironmentCredential()

    with caplog.at_level(logging.DEBUG):
        problem = problem_of(Mine())
    assert type(problem) is kind
    assert f"EnvironmentCredential {says}" in str(problem)
    assert SECRET not in str(problem) + caplog.text


def test_a_file_that_is_missing_is_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget(monkeypatch)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "nothing"))
    problem = problem_of(Identity(CLIENT, "our-tenant"))
    assert type(problem) is ConnectionMistake
    assert "WorkloadIdentityCredential is not set up as it has to be (FileNotFoundError)" in str(problem)


def test_an_account_that_is_no_resource_of_the_tenant_is_left_to_the_sdk() -> None:
    from azure.core.exceptions import ClientAuthenticationError

    def make(audience: str) -> str:
        raise ClientAuthenticationError(message=f"AADSTS500011: {audience} was not found")

    with pytest.raises(ClientAuthenticationError) as caught:
        asked(Known(make))
    assert not isinstance(caught.value, NoToken), "the SDK asks again, for all of Cosmos DB"


# secrets


@contextmanager
def all_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "azure"):
        yield


@pytest.mark.parametrize("fails", [False, True])
def test_no_token_and_no_secret_is_told(
    endpoint: IdentityEndpoint, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    told = ""
    with all_logs(caplog):
        [first] = asked(Identity())
        if fails:
            endpoint.status, endpoint.reason = 500, f"{SECRET} {first.token}"
            told = str(problem_of(Identity(CLIENT)))
    for secret in (SECRET, endpoint.secret, *endpoint.given):
        assert secret not in caplog.text + told


def test_a_credential_is_closed_whatever_happened() -> None:
    identity = Known(lambda audience: "token")
    asked(identity)
    broken = Known(lambda audience: str(1 / 0))
    problem_of(broken)
    assert [one.closed for one in identity.credentials + broken.credentials] == [1, 1]


def test_a_token_is_believed_for_as_long_as_it_says() -> None:
    [token] = asked(Known(lambda audience: "token", believed=50))
    assert 40 < token.expires_on - time.time() <= 50

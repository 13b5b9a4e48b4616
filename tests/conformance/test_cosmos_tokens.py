"""Cosmos DB with tokens of Microsoft Entra ID and no key: what works, and what is said where it cannot.

Two servers by https. Each end has an identity of its own (``reader`` on the source, ``contributor`` on the backup), given
tokens by a credential that asks nobody; the ones that go all the way through azure-identity ask an endpoint on this machine.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import re
import shlex
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.cosmos import PartitionKey

from backup_sync.__main__ import main
from backup_sync.model import faults
from backup_sync.model.errors import ConnectionMistake, RetriableError
from backup_sync.model.result import SyncResult, sync_id
from backup_sync.model.service import Service
from backup_sync.model.wish import Wish
from backup_sync.stores.base import Store
from backup_sync.stores.cosmos import identity as cosmos_identity
from backup_sync.stores.cosmos.account import CosmosError, all_of
from backup_sync.walk.drill import drill
from backup_sync.walk.restore import plan, restore
from local.cosmos import EmbeddedCosmos
from local.cosmos.tokens import issue
from tests.conformance.backends import CosmosBackend, OddKeyBackend
from tests.entra import IdentityEndpoint, Known, forget

pytestmark = pytest.mark.filterwarnings(
    "ignore:Unverified HTTPS request"
)  # of the tests' own clients, for this machine

READER, WRITER = "source-reader", "backup-writer"
CLIENT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[EmbeddedCosmos]]:
    folder = tmp_path_factory.mktemp("tokens")
    with (
        EmbeddedCosmos(folder / "source.sqlite", partitions=3, tls=True) as source,
        EmbeddedCosmos(folder / "backup.sqlite", partitions=2, tls=True) as backup,
    ):
        yield [source, backup]


def token_of(principal: str) -> Known:
    return Known(lambda audience: issue(principal, audience))


class Ends(CosmosBackend):
    """``keys``: what each end opens its account with, a key or who asks for tokens; looking at them goes by the keys."""

    keys: list[Any]

    def open(self, service: Service) -> tuple[Store, Store]:
        return self.store(0, service), self.store(1, service)

    def store(self, end: int, service: Service, container: str = "") -> Store:
        from backup_sync.stores.cosmos.account import Account
        from backup_sync.stores.cosmos.store import cosmos_store

        database = (self.source_database, self.backup_database)[end]
        account = Account(self.endpoints[end][0], self.keys[end], database, container or self.container, self.options)
        label = ("source", "backup")[end]
        return cosmos_store(service, account, label, copy=end == 1 and not container, limits=self.limits)

    def make_backup(self, *containers: str) -> None:
        """As somebody with the account's key does it."""
        database = self.clients[1].create_database_if_not_exists(self.backup_database)
        database.create_container_if_not_exists(self.container, self.definition)
        database.create_container_if_not_exists(self.history, PartitionKey("/serviceName"))
        for name in containers:
            database.create_container_if_not_exists(name, self.definition)

    def made(self) -> set[str]:
        if self.backup_database not in [one["id"] for one in self.clients[1].list_databases()]:
            return set()
        return {one["id"] for one in self.clients[1].get_database_client(self.backup_database).list_containers()}


class OddEnds(Ends, OddKeyBackend):
    pass


def opened(kind: type[Ends], pair: list[EmbeddedCosmos]) -> Ends:
    found = kind("own", *[(server.endpoint, server.key) for server in pair])
    found.keys = [token_of(READER), token_of(WRITER)]
    found.backup_database = f"backup-{found.container}"
    pair[0].grant(READER, "reader")
    pair[1].grant(WRITER, "contributor")
    return found


@pytest.fixture
def own(pair: list[EmbeddedCosmos]) -> Iterator[Ends]:
    found = opened(Ends, pair)
    found.put(*((key, 1, "text") for key in range(20)))
    yield found
    found.close()
    for server in pair:
        server.take_keys(True)
        server.reset_faults()


def commands_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [line for record in caplog.records for line in record.getMessage().splitlines()]
    return [line for line in lines if line.startswith(("az ", "New-Az"))]


# what works


@pytest.mark.parametrize("ends", ["both by token", "source by token", "backup by token"])
def test_each_end_is_by_token_or_by_key_of_its_own(own: Ends, pair: list[EmbeddedCosmos], ends: str) -> None:
    own.make_backup(f"{own.container}-undo")
    if ends == "backup by token":
        own.keys[0] = pair[0].key
    if ends == "source by token":
        own.keys[1] = pair[1].key
    service = own.service(keep_history="7d")
    assert own.initialize(service=service) == []
    assert own.sync(service=service).inserted == 20
    own.put((3, 2, "changed"), (40, 1, "new"))
    own.remove(5)
    run = own.sync(service=service)
    assert (run.inserted, run.updated, run.deleted) == (1, 1, 1)
    assert own.backup_rows() == own.source_rows()
    verified = own.verify(service)
    assert (verified.drift, verified.error_message) == (0, None)
    assert len(own.undo_rows()) == 3


def test_an_account_that_takes_no_keys_is_synced_by_tokens_and_a_key_is_told_so(
    own: Ends, pair: list[EmbeddedCosmos]
) -> None:
    own.make_backup()
    for server in pair:
        server.take_keys(False)
    own.initialize()
    assert own.sync().inserted == 20
    own.keys[0] = pair[0].key
    with pytest.raises(ConnectionMistake, match=r"source: the account takes no keys \(401, sub-status 5202\)"):
        own.sync()


def test_each_connection_has_one_credential_and_closes_it(own: Ends) -> None:
    own.make_backup()
    own.initialize()
    own.sync()
    for identity in own.keys:
        assert len(identity.credentials) == 2, "one of each run"
        assert [(one.asked, one.closed) for one in identity.credentials] == [(1, 1), (1, 1)]


def test_the_lease_is_renewed_by_a_token_too(own: Ends) -> None:
    own.make_backup()
    own.initialize()
    own.small(lease_seconds=3)
    own.keys[1] = token_of(WRITER)

    def act(name: str) -> None:
        if name == "before apply":
            time.sleep(4)

    with faults.installed(act):
        assert own.sync().inserted == 20
    # The thread that renews it has a loop of its own, to which a credential belongs.
    assert [(one.asked, one.closed) for one in own.keys[1].credentials] == [(1, 1), (1, 1)]


def test_a_connection_by_https_leaves_no_socket_behind(own: Ends) -> None:
    for _ in range(5):
        with closing(own.store(1, own.service())) as store:
            connection = store.catalog.connection
            databases = [connection.client().get_database_client(f"none-{number}") for number in range(8)]

            async def ask(connection: Any = connection, databases: Any = databases) -> None:
                # The first 404 gives up the others while they still shake hands.
                await all_of(connection.call(database.read) for database in databases)

            with pytest.raises(CosmosError):
                connection.run(ask())
        del store, connection, databases, ask
        gc.collect()  # what was not closed is a warning now, which fails the test


# tokens that end


def test_a_token_that_ends_during_a_run_is_renewed(own: Ends) -> None:
    own.make_backup()
    own.initialize()
    own.keys[1] = Known(lambda audience: issue(WRITER, audience, 60), believed=3)

    def act(name: str) -> None:
        if name == "before apply":
            time.sleep(3.1)

    with faults.installed(act):
        assert own.sync().inserted == 20
    assert own.keys[1].credentials[0].asked == 2


def test_a_token_that_the_account_takes_no_longer_is_replaced_within_the_run(own: Ends) -> None:
    made: list[str] = []

    def make(audience: str) -> str:
        made.append(issue(WRITER, audience, 1.5 if not made else 3600))
        return made[-1]

    own.make_backup()
    own.initialize()
    own.keys[1] = Known(make)

    def act(name: str) -> None:
        if name == "before apply":
            time.sleep(2.6)

    with faults.installed(act):
        assert own.sync().inserted == 20
    assert own.backup_rows() == own.source_rows()
    assert len(made) == 2


# what cannot be


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda audience: issue(WRITER, audience, -10), "backup: Cosmos DB refused the token; correct the endpoint"),
        (lambda audience: issue(WRITER, "https://other"), "backup: Cosmos DB refused the token; correct the endpoint"),
        (lambda audience: issue("nobody", audience), r"backup: .* \(403, sub-status 5301\).* lacks a data-plane role"),
    ],
)
def test_a_token_that_is_refused_is_one_clear_sentence(
    own: Ends, caplog: pytest.LogCaptureFixture, make: Any, says: str
) -> None:
    own.make_backup()
    tokens: list[str] = []

    def kept(audience: str) -> str:
        tokens.append(make(audience))
        return tokens[-1]

    own.keys[1] = Known(kept)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionMistake, match=says) as caught:
        own.initialize()
    assert tokens
    for token in tokens:
        assert token not in str(caught.value) + caplog.text


def test_a_backup_whose_identity_may_only_read_writes_nothing_and_says_which_role_lacks(
    own: Ends, pair: list[EmbeddedCosmos]
) -> None:
    own.make_backup()
    own.initialize()
    pair[1].grant(WRITER, "reader")
    with pytest.raises(
        ConnectionMistake, match=r"\(403, sub-status 5301\): the connection's identity lacks a data-plane"
    ):
        own.sync()
    assert own.backup_rows() == []


def test_an_identity_that_is_not_heard_for_a_moment_ends_no_run(own: Ends) -> None:
    own.make_backup()
    own.initialize()
    failures = [OSError("refused"), OSError("refused"), OSError("refused")]

    def make(audience: str) -> str:
        if failures:
            raise failures.pop()
        return issue(WRITER, audience)

    own.keys[1] = Known(make)
    assert own.sync().inserted == 20
    assert failures == []


def test_an_identity_that_is_not_heard_for_long_is_worth_a_retry(own: Ends) -> None:
    own.make_backup()

    def make(_: str) -> str:
        raise OSError("refused")

    own.keys[1] = Known(make)
    begun = time.monotonic()
    with pytest.raises(RetriableError, match=r"backup: no token of .* at the moment, since Credential got no answer"):
        own.initialize(service=own.service(retry_seconds=1))
    assert time.monotonic() - begun < 20


# making containers


@pytest.mark.parametrize("kind", [Ends, OddEnds])
def test_initialize_names_all_that_is_to_be_made_and_the_commands_that_make_it(
    pair: list[EmbeddedCosmos], caplog: pytest.LogCaptureFixture, kind: type[Ends]
) -> None:
    with closing(opened(kind, pair)) as own:
        own.put(*((key, 1, "text") for key in range(5)))
        service = own.service(keep_history="7d")
        with pytest.raises(ConnectionMistake) as caught:
            own.initialize(service=service)
        names = [own.container, own.history, f"{own.container}-undo"]
        assert str(caught.value) == (
            "backup: Cosmos DB lets this connection create no database and no container (403), and there is no database "
            f"{own.backup_database}, no container {names[0]}, no container {names[1]}, no container {names[2]} yet; create that "
            "with the commands in the log, or give the connection a key that may"
        )
        assert own.made() == set(), "nothing was made"
        follow(own, commands_in(caplog))
        assert own.made() == set(names)
        assert own.initialize(service=service) == []
        assert own.sync(service=service).inserted == 5


def follow(own: Ends, commands: list[str]) -> None:
    """Do what the commands say, with a key, as Azure's tools would."""
    client = own.clients[1]
    for command in commands:
        words = shlex.split(command.replace("@(", "").replace("')", "'"), posix=True)
        given = dict(itertools.pairwise(words))
        if command.startswith("az cosmosdb sql database create"):
            assert (given["--resource-group"], given["--account-name"]) == ("<resource-group>", "127")
            client.create_database(given["--name"])
        elif command.startswith("az cosmosdb sql container create"):
            key = PartitionKey(given["--partition-key-path"], version=int(given["--partition-key-version"]))
            client.get_database_client(given["--database-name"]).create_container(given["--name"], key)
        else:
            assert words[0] == "New-AzCosmosDBSqlContainer"
            paths = given["-PartitionKeyPath"].split(",")
            kind: Any = given["-PartitionKeyKind"]
            key = PartitionKey(paths, kind=kind, version=int(given["-PartitionKeyVersion"]))
            client.get_database_client(given["-DatabaseName"]).create_container(given["-Name"], key)


def test_only_what_is_missing_is_named(own: Ends, caplog: pytest.LogCaptureFixture) -> None:
    own.make_backup()
    service = own.service(keep_history="7d")
    with pytest.raises(ConnectionMistake, match=f"and there is no container {own.container}-undo yet;"):
        own.initialize(service=service)
    [command] = commands_in(caplog)
    assert f"--name {own.container}-undo --partition-key-path /group --partition-key-version 2" in command


def test_a_key_that_may_not_make_containers_is_told_the_same(
    own: Ends, pair: list[EmbeddedCosmos], caplog: pytest.LogCaptureFixture
) -> None:
    own.keys[1] = pair[1].key
    pair[1].fail(403, count=9, method="POST", path_contains="/dbs", operation="CreateDatabase")
    with pytest.raises(ConnectionMistake, match=f"and there is no database {own.backup_database}, no container"):
        own.initialize()
    assert len(commands_in(caplog)) == 3


def test_a_restore_into_a_container_that_is_not_there_goes_on_when_somebody_has_made_it(
    own: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    own.make_backup(f"{own.container}-undo")
    service = own.service(keep_history="7d")
    own.initialize(service=service)
    own.sync(service=service)
    other = f"{own.container}-restored-here"

    def attempt() -> None:
        run = SyncResult(sync_id("dag", "restore", service.name), service.name, run_id="restore")
        source, backup = own.open(service)
        target = own.store(1, service.model_copy(update={"container": other}), container=other)
        with closing(source), closing(backup), closing(target):
            planned = plan(backup, target, run, Wish())
            restore(source, backup, target, run, Wish(), approved=planned.id)

    for missing in (f"{own.container}-restored", other):
        caplog.clear()
        with pytest.raises(ConnectionMistake, match=f"there is no container {re.escape(missing)} yet"):
            attempt()
        follow(own, commands_in(caplog))
    attempt()
    assert own.rows(1, other) == own.source_rows()


def test_a_drill_without_a_key_says_what_it_needs(own: Ends, caplog: pytest.LogCaptureFixture) -> None:
    own.make_backup()
    own.initialize()
    own.sync()
    other = f"{own.container}_drill_1"

    def attempt() -> None:
        _, backup = own.open(own.service())
        scratch = own.store(1, own.service(), container=other)
        run = SyncResult(sync_id("dag", "drill", "thing"), "thing", run_id="drill")
        with closing(backup), closing(scratch):
            drill(backup, scratch, run)

    with pytest.raises(ConnectionMistake, match=f"there is no container {other} yet; .*or give the connection a key"):
        attempt()
    follow(own, commands_in(caplog))
    caplog.clear()
    with pytest.raises(ConnectionMistake, match=f"does not let this connection drop container {other}"):
        attempt()
    assert commands_in(caplog) == [
        f"az cosmosdb sql container delete --resource-group '<resource-group>' --account-name 127 --database-name "
        f"{own.backup_database} --name {other}"
    ]


# all the way: connections of Airflow, azure-identity and an endpoint of this machine


@pytest.fixture
def entra(pair: list[EmbeddedCosmos], monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    monkeypatch.setattr(cosmos_identity, "PATIENCE", {"retry_total": 0, "connection_timeout": 1, "read_timeout": 5})
    with IdentityEndpoint({"": READER, CLIENT: WRITER}) as found:
        found.use(monkeypatch)
        yield found


@pytest.fixture
def services(own: Ends, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The services file of a pair of connections without passwords; the backup's names its identity."""
    for end, name, more in ((0, "SOURCE", {}), (1, "BACKUP", {"managed_identity_client_id": CLIENT})):
        extra = {"database_name": (own.source_database, own.backup_database)[end], **more}
        value = {"conn_type": "azure_cosmos", "login": own.endpoints[end][0], "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(value))
    file = tmp_path / "services.yaml"
    entry = {"source": "source", "backup": "backup", "retry_seconds": 2, **own.settings}
    file.write_text(yaml.safe_dump({"services": {"thing": entry}}))
    return file


def test_check_looks_at_both_ends_with_the_identities_that_the_connections_name(
    own: Ends, entra: IdentityEndpoint, services: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own.make_backup()
    assert main(["check", str(services), "--connections"]) == 0, capsys.readouterr().err
    assert [one.get("client_id") for one in entra.asked] == [CLIENT, None], "the backup is looked at first"
    assert {one["resource"] for one in entra.asked} == {"https://127.0.0.1"}


def test_check_says_in_one_sentence_what_is_wrong_with_an_identity(
    own: Ends,
    pair: list[EmbeddedCosmos],
    entra: IdentityEndpoint,
    services: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own.make_backup()

    def said() -> str:
        assert main(["check", str(services), "--connections"]) == 1
        return capsys.readouterr().err.strip()

    pair[1].grant(WRITER, None)
    assert said().startswith(
        "thing: backup: Cosmos DB forbids this (403, sub-status 5301): the connection's identity lacks"
    )
    pair[1].grant(WRITER, "contributor")
    del entra.principals[CLIENT]
    assert "backup: no token of Microsoft Entra ID, since ManagedIdentityCredential was refused (400)" in said()
    entra.status = 503
    assert (
        "backup: no token of Microsoft Entra ID at the moment, since ManagedIdentityCredential was answered 503"
        in said()
    )
    forget(monkeypatch)
    monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", "http://127.0.0.1:1")
    assert (
        "backup: no token of Microsoft Entra ID at the moment, since ManagedIdentityCredential got no answer" in said()
    )


def test_a_run_of_the_tasks_goes_by_tokens_alone_and_tells_none_of_them(
    own: Ends,
    pair: list[EmbeddedCosmos],
    entra: IdentityEndpoint,
    services: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from backup_sync.hooks import open_stores
    from backup_sync.model.config import load_service
    from backup_sync.walk.initialize import initialize
    from backup_sync.walk.sync import Options, sync

    own.make_backup()
    for server in pair:
        server.take_keys(False)
    service = load_service(services, "thing")
    run = SyncResult(sync_id("dag", "tonight", "thing"), "thing", run_id="tonight")
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "azure"):
        source, backup = open_stores(service)
        with closing(source), closing(backup):
            assert initialize(source, backup) == []
            sync(service, source, backup, run, Options())
    assert run.inserted == 20
    assert len(entra.given) == 2
    for secret in (*entra.given, entra.secret):
        assert secret not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 500])
def test_nothing_that_an_identity_endpoint_says_is_told(
    own: Ends, entra: IdentityEndpoint, services: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    from structlog.tracebacks import ExceptionDictTransformer

    from backup_sync.hooks import open_stores
    from backup_sync.model.config import load_service
    from backup_sync.walk.initialize import initialize

    own.make_backup()
    entra.status, entra.reason = status, f"hunter2 {issue(WRITER, 'https://127.0.0.1')} {entra.secret}"
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "azure"):
        source, backup = open_stores(load_service(services, "thing"))
        with closing(source), closing(backup), pytest.raises((ConnectionMistake, RetriableError)) as caught:
            initialize(source, backup)
    error = caught.value
    told = "".join(traceback.format_exception(error))
    told += repr(ExceptionDictTransformer(show_locals=False)((type(error), error, error.__traceback__)))
    for secret in entra.reason.split():
        assert secret not in told + caplog.text

"""What Cosmos DB may answer to a request, what may answer in its place, and what a run makes of it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backup_sync.model import faults
from backup_sync.model.errors import ConfigurationError, RetriableError
from backup_sync.stores.cosmos.account import Account
from backup_sync.stores.cosmos.store import cosmos_store
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend

SOURCE, BACKUP = 0, 1
FOR_GOOD = 100_000
OPERATIONS = [
    (SOURCE, "QueryDocuments"),
    (BACKUP, "QueryDocuments"),
    (BACKUP, "UpsertDocument"),
    (BACKUP, "Batch"),
    (BACKUP, "DeleteDocument"),
]
ON = [f"{'source' if end == SOURCE else 'backup'} {operation}" for end, operation in OPERATIONS]
PASSING = [(408, None), (410, 1002), (410, 1007), (429, 3200), (449, None), (500, None), (503, None)]


def in_step(cosmos: CosmosBackend, run_id: str = "tonight") -> bool:
    """A run does all of the work and counts it; also if it is the retry of one that had done a part of it."""
    run = cosmos.sync(run_id=run_id)
    counted = [row.get("runId") for row in cosmos.history_rows()].count(run_id)
    done = (run.inserted, run.updated, run.deleted) == (14, 5, 5)
    return cosmos.backup_rows() == cosmos.source_rows() and done and counted == 1


@pytest.mark.parametrize(("end", "operation"), OPERATIONS, ids=ON)
def test_answers_that_may_pass_are_waited_out_whatever_was_asked(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos], end: int, operation: str
) -> None:
    for status, sub_status in PASSING:
        servers[end].fail(status, sub_status=sub_status, operation=operation, path_contains=cosmos.container)
    servers[end].reset_stats()
    assert in_step(cosmos)
    assert servers[end].stats()["requests"][operation] > len(PASSING), "too little was asked that could have failed"


@pytest.mark.parametrize(
    ("status", "on"),
    [(status, on) for status in (408, 410, 429, 503) for on in OPERATIONS if status == 503 or on in OPERATIONS[::2]],
)
def test_an_answer_that_does_not_pass_is_one_sentence_and_the_retry_finishes(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos], status: int, on: tuple[int, str]
) -> None:
    end, operation = on
    before = cosmos.backup_rows()
    servers[end].fail(status, count=FOR_GOOD, operation=operation, path_contains=cosmos.container)
    begun = time.monotonic()
    with pytest.raises(RetriableError) as caught:
        cosmos.sync(run_id="tonight", service=cosmos.service(retry_seconds=1))
    assert time.monotonic() - begun < 20
    servers[end].reset_faults()
    sentence = f"Cosmos DB keeps answering {status}"
    if status == 429:
        sentence = "Cosmos DB throttles requests (429) for longer than 1 s; raise its throughput or lower 'concurrency'"
    assert str(caught.value) == f"{'source' if end == SOURCE else 'backup'}: {sentence}"
    assert {row["id"] for row in before} <= {row["id"] for row in cosmos.backup_rows()}, "a delete too early"
    assert cosmos.sync(run_id="tonight").success
    assert cosmos.backup_rows() == cosmos.source_rows()


def test_a_source_that_fails_half_way_never_causes_a_delete(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos]
) -> None:
    """It answers the first of its pages, and then no more: what it did not tell is not taken to be gone."""
    cosmos.small(range_records=10)
    before = {row["id"] for row in cosmos.backup_rows()}
    for after in range(4):
        servers[SOURCE].fail(503, after=after, count=FOR_GOOD, operation="QueryDocuments")
        with pytest.raises(RetriableError, match=r"^source: Cosmos DB keeps answering 503$"):
            cosmos.sync(run_id="tonight", service=cosmos.service(retry_seconds=1))
        servers[SOURCE].reset_faults()
        assert before <= {row["id"] for row in cosmos.backup_rows()}
    assert in_step(cosmos)


def test_a_document_that_is_gone_before_its_delete_arrives_is_no_fault_and_not_counted(cosmos: CosmosBackend) -> None:
    database = cosmos.clients[BACKUP].get_database_client(cosmos.backup_database)
    container = database.get_container_client(cosmos.container)

    def forestall(name: str) -> None:
        if name == "before delete":
            container.delete_item("thing-10", "group-3")

    with faults.installed(forestall):
        run = cosmos.sync()
    assert (run.deleted, run.success) == (4, True)
    assert cosmos.backup_rows() == cosmos.source_rows()


def test_partitions_that_split_between_two_requests_of_a_run_lose_nothing(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos]
) -> None:
    cosmos.small(range_records=10)
    splits = []

    def split(name: str) -> None:
        if len(splits) < 3:
            splits.append(name)
            for server in servers:
                server.split()

    with faults.installed(split):
        assert in_step(cosmos)
    assert len(splits) == 3


def test_a_storm_of_throttling_on_both_sides_is_ridden_out(
    cosmos: CosmosBackend, servers: list[EmbeddedCosmos]
) -> None:
    cosmos.small(batch_from=101)
    cosmos.put(*((key, 2, "changed") for key in range(100, 300)))
    for server in servers:
        server.throttle(300)
    run = cosmos.sync()
    for server in servers:
        server.throttle(None)
    assert run.throttled > 10
    assert run.inserted == 214
    assert cosmos.backup_rows() == cosmos.source_rows()


# TLS


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Somebody with a certificate that nobody vouches for: its address, and what it was told. No localhost to the SDK."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    certificate = made.add_extension(address, critical=True).sign(key, hashes.SHA256())
    path = tmp_path / "certificate.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*plain))
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(str(self.headers))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Server(("127.0.0.2", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.2:{server.server_port}/", told
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("options", [{}, {"connection_verify": True}])
def test_a_certificate_that_nobody_vouches_for_ends_the_run_before_anything_is_told(
    stranger: tuple[str, list[str]], cosmos: CosmosBackend, options: dict[str, bool]
) -> None:
    endpoint, told = stranger
    begun = time.monotonic()
    with (
        closing(
            cosmos_store(cosmos.service(), Account(endpoint, "c2VjcmV0", "db", "things", options), "source", copy=False)
        ) as store,
        pytest.raises(ConfigurationError, match=r"^source: the certificate of Cosmos DB's endpoint is not trusted"),
    ):
        store.catalog.describe()
    assert time.monotonic() - begun < 10
    assert told == []


def test_a_certificate_is_not_looked_at_where_the_connection_says_so(
    stranger: tuple[str, list[str]], cosmos: CosmosBackend
) -> None:
    endpoint, told = stranger
    account = Account(endpoint, "c2VjcmV0", "db", "things", {"connection_verify": False})
    with (
        closing(cosmos_store(cosmos.service(), account, "source", copy=False)) as store,
        pytest.raises(ConfigurationError, match="refused the key"),
    ):
        store.catalog.describe()
    assert told
    assert "c2VjcmV0" not in "".join(told)

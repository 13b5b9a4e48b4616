"""The server as a process: start, end, persistence and the command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError

from local.cosmos import DEFAULT_KEY, EmbeddedCosmos

ROOT = Path(__file__).resolve().parents[3]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _gone(pid: int, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            # A child nobody waited for still has its number: look at its state as well.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_documents_survive_an_ordinary_restart_on_the_same_port(tmp_path: Path) -> None:
    server = EmbeddedCosmos(tmp_path / "kept.sqlite")
    with server, CosmosClient(server.endpoint, server.key) as client:
        container = client.create_database("d").create_container("c", PartitionKey("/pk"), default_ttl=5)
        stored = container.create_item({"id": "1", "pk": "a", "n": 2**70})
        port = server.port
        server.stop()
        assert not _answers(port)
        server.start()
        assert server.port == port
        assert container.read_item("1", "a") == stored
        assert container.read()["defaultTtl"] == 5


def test_a_killed_server_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    server = EmbeddedCosmos(tmp_path / "killed.sqlite")
    acknowledged: list[str] = []
    with server:
        with CosmosClient(server.endpoint, server.key, retry_total=0) as client:
            container = client.create_database("d").create_container("c", PartitionKey("/pk"))

            def write(worker: int) -> None:
                for n in range(10_000):
                    name = f"{worker}-{n}"
                    try:
                        container.create_item({"id": name, "pk": name})
                    except Exception:
                        return
                    acknowledged.append(name)

            with ThreadPoolExecutor(4) as pool:
                for worker in range(4):
                    pool.submit(write, worker)
                while len(acknowledged) < 200:
                    time.sleep(0.01)
                server.kill()
        server.start()
        with CosmosClient(server.endpoint, server.key) as client:
            again = client.get_database_client("d").get_container_client("c")
            found = {one["id"] for one in again.read_all_items()}
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= found
    assert len(found) <= len(acknowledged) + 4


def test_a_split_survives_a_restart(tmp_path: Path) -> None:
    server = EmbeddedCosmos(tmp_path / "split.sqlite", partitions=2)
    with server:
        server.split()
        server.stop()
        server.start()
        with CosmosClient(server.endpoint, server.key) as client:
            container = client.create_database("d").create_container("c", PartitionKey("/pk"))
            assert len(list(container.read_feed_ranges())) == 4


def test_the_server_ends_with_the_block(tmp_path: Path) -> None:
    with EmbeddedCosmos(tmp_path / "block.sqlite") as server:
        pid, port = server.pid, server.port
        assert _answers(port)
    assert pid is not None
    assert _gone(pid)
    assert not _answers(port)


def test_the_server_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from local.cosmos import EmbeddedCosmos\n"
        "server = EmbeddedCosmos(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "orphan.sqlite")], stdout=subprocess.PIPE, cwd=ROOT
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert _gone(pid)


def test_the_command_line_says_when_it_is_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.cosmos", "--port", "0", "--data", str(tmp_path / "deep" / "cli.sqlite")]
    process = subprocess.Popen(
        [*command, "--partitions", "3", "--throughput", "1000"], stdout=subprocess.PIPE, cwd=ROOT
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        endpoint = next(word for word in line.split() if word.startswith("http"))
        with CosmosClient(endpoint, DEFAULT_KEY) as client:
            container = client.create_database("d").create_container("c", PartitionKey("/pk"))
            assert len(list(container.read_feed_ranges())) == 3
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b""
    assert process.returncode in (0, -signal.SIGTERM)


def test_a_port_in_use_is_told_in_one_sentence(server: EmbeddedCosmos, tmp_path: Path) -> None:
    other = EmbeddedCosmos(tmp_path / "second.sqlite", port=server.port)
    with pytest.raises(RuntimeError, match="in use"):
        other.start()
    assert other.pid is None


def test_a_key_of_ones_own_is_the_only_one_accepted(tmp_path: Path) -> None:
    own = "b3du" * 16
    with EmbeddedCosmos(tmp_path / "key.sqlite", key=own) as server:
        with CosmosClient(server.endpoint, own) as client:
            client.create_database("d")
        with pytest.raises(CosmosHttpResponseError) as caught, CosmosClient(server.endpoint, DEFAULT_KEY) as client:
            client.create_database("e")
    assert caught.value.status_code == 401


@pytest.mark.slow
def test_32_clients_at_once_neither_lose_nor_mix_anything(container: ContainerProxy) -> None:
    def work(worker: int) -> int:
        for n in range(15):
            name = f"{worker}-{n}"
            container.create_item({"id": name, "pk": f"p{worker}", "n": n})
            assert container.read_item(name, f"p{worker}")["n"] == n
        return len(list(container.query_items("SELECT * FROM c", partition_key=f"p{worker}")))

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(work, range(32))) == [15] * 32
    assert len(list(container.read_all_items())) == 32 * 15

"""What the Cosmos store promises about documents, partition keys and a service that pushes back."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from typing import Any

import pytest
from azure.cosmos import PartitionKey

from backup_sync.model.errors import ConfigurationError, FatalError, RetriableError
from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend, Row

DOCUMENTS: list[Row] = [
    {"id": "numbers", "group": "a", "big": 2**63 + 1, "float": 1e300, "small": 5e-324, "int": 0, "neg": -1.5},
    {"id": "null and missing", "group": "a", "present": None, "empty": {}, "list": [], "text": ""},
    {"id": "nested", "group": "b", "deep": json.loads("[" * 60 + "1" + "]" * 60)},
    {"id": "ünïcödé 漢字 🎁", "group": "ключ", "text": "\u0000\u001f \u2028 🎁 \\ \" '"},
    {"id": " spaces and 'quotes'", "group": " ", "true": True, "false": False},
    {"id": "percent %41 and +", "group": "a&b=c", "order": {"z": 1, "a": 2, "M": 3}},
    {"id": "large", "group": "b", "text": "x" * 1_200_000},
    {"id": "lastModified", "group": "c", "lastModified": "2024-01-01T00:00:00.1234567Z", "_custom": "kept", "ttl": 5},
]


def document(**changes: Any) -> Row:
    return {"type": "Thing", "version": 1, "state": "new", **changes}


def put(backend: CosmosBackend, *documents: Row) -> None:
    """Into a container whose partition key is /group."""
    backend.put_documents(*((item["group"], item) for item in documents))


def test_documents_are_copied_verbatim(cosmos: CosmosBackend) -> None:
    if cosmos.name == "cosmos-npm":
        pytest.skip("that server keeps numbers as JavaScript does and loses key order")
    put(cosmos, *(document(**item) for item in DOCUMENTS))
    cosmos.initialize()
    assert cosmos.counts() == (len(DOCUMENTS), 0, 0, 0)
    source, backup = cosmos.source_rows(), cosmos.backup_rows()
    assert backup == source
    assert [list(row) for row in backup] == [list(row) for row in source]
    assert cosmos.counts(force=True) == (0, len(DOCUMENTS), 0, 0)
    assert cosmos.backup_rows() == source


def test_only_documents_of_the_service_are_copied_and_one_that_stops_being_one_is_deleted(
    cosmos: CosmosBackend,
) -> None:
    put(cosmos, document(id="1", group="a"), document(id="2", group="a"), {"id": "3", "group": "a", "type": "Other"})
    cosmos.initialize()
    assert cosmos.counts() == (2, 0, 0, 0)
    put(cosmos, {"id": "2", "group": "a", "type": "Other"})
    assert cosmos.counts() == (0, 0, 1, 1)
    assert [row["id"] for row in cosmos.backup_rows()] == ["1"]


def test_the_same_id_under_two_partition_keys_is_two_documents(cosmos: CosmosBackend) -> None:
    put(cosmos, document(id="1", group="a", n=1), document(id="1", group="b", n=2))
    cosmos.initialize()
    assert cosmos.counts() == (2, 0, 0, 0)
    cosmos.source.delete_item("1", "a")
    put(cosmos, document(id="1", group="b", n=3, version=2))
    assert cosmos.counts() == (0, 1, 1, 0)
    assert cosmos.backup_rows() == cosmos.source_rows()


def test_a_change_of_either_stamp_is_enough_and_a_missing_one_is_no_change(cosmos: CosmosBackend) -> None:
    put(cosmos, document(id="1", group="a"), document(id="2", group="a"), {"id": "3", "group": "a", "type": "Thing"})
    cosmos.initialize()
    cosmos.sync()
    put(cosmos, document(id="1", group="a", version=2), document(id="2", group="a", state="old"))
    assert cosmos.counts() == (0, 2, 0, 1)
    assert cosmos.counts() == (0, 0, 0, 3)


def test_a_nested_property_may_choose_the_documents(cosmos: CosmosBackend) -> None:
    service = cosmos.service(where={"meta/kind": "Thing"})
    put(
        cosmos,
        *({"id": str(n), "group": "a", "meta": {"kind": "Thing"}, "version": 1, "state": "x"} for n in range(20)),
    )
    cosmos.initialize(service=service)
    assert cosmos.sync(service=service).inserted == 20
    put(cosmos, {"id": "3", "group": "a", "meta": {"kind": "Thing"}, "version": 2, "state": "x"})
    assert cosmos.sync(service=service).updated == 1


# From here on: what the independent server cannot do


@pytest.mark.parametrize("value", [1, 1.5, -0.5, True, False, None, "", "text"])
def test_a_partition_key_of_any_type_is_found_again(own: CosmosBackend, value: Any) -> None:
    put(own, document(id="1", group=value), document(id="2", group=value))
    own.initialize()
    assert own.counts() == (2, 0, 0, 0)
    put(own, document(id="1", group=value, version=2))
    own.source.delete_item("2", value if value is not None else None)
    assert own.counts() == (0, 1, 1, 0)
    assert own.backup_rows() == own.source_rows()


def test_hierarchical_partition_keys_are_kept(own: CosmosBackend) -> None:
    own.database.delete_container(own.container)
    key = PartitionKey(path=["/tenant", "/user"], kind="MultiHash")
    own.source = own.database.create_container(own.container, key)
    own.put_documents(*(([f"t{n % 3}", n], document(id=str(n), tenant=f"t{n % 3}", user=n)) for n in range(30)))
    own.initialize()
    assert own.counts() == (30, 0, 0, 0)
    own.put_documents((["t2", 5], document(id="5", tenant="t2", user=5, version=2)))
    own.source.delete_item("6", ["t0", 6])
    assert own.counts() == (0, 1, 1, 28)
    assert own.backup_rows() == own.source_rows()
    made = own.clients[1].get_database_client(own.backup_database).get_container_client(own.container).read()
    assert made["partitionKey"]["paths"] == ["/tenant", "/user"]


@pytest.mark.parametrize("limit", [200, 35])
def test_a_container_is_compared_in_pieces_of_the_hash_space(own: CosmosBackend, limit: int) -> None:
    own.small(range_records=limit)
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(300)))
    own.initialize()
    own.sync()
    put(own, *(document(id=str(n), group=f"g{n}", version=2) for n in range(0, 300, 40)), document(id="new", group="x"))
    own.source.delete_item("17", "g17")
    assert own.counts() == (1, 8, 1, 291)
    assert own.backup_rows() == own.source_rows()


@pytest.mark.parametrize("ends", [(0, 1), (0,), (1,)], ids=["both", "source", "backup"])
@pytest.mark.parametrize("limit", [50_000, 20])
def test_a_server_that_keeps_to_no_slices_is_read_in_one_piece(
    own: CosmosBackend,
    pair: list[EmbeddedCosmos],
    ends: tuple[int, ...],
    limit: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own.small(range_records=limit)
    for end in ends:
        pair[end].like_the_emulator()
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(100)))
    own.initialize()
    assert own.counts() == (100, 0, 0, 0)
    put(own, *(document(id=str(n), group=f"g{n}", version=2) for n in range(0, 100, 25)), document(id="new", group="x"))
    own.source.delete_item("17", "g17")
    assert own.counts() == (1, 4, 1, 95)
    assert own.counts() == (0, 0, 0, 100)
    assert own.backup_rows() == own.source_rows()
    told = {
        end
        for end in ends
        for message in caplog.messages
        if f"{('source', 'backup')[end]}: the server answers" in message
    }
    assert told == (set() if limit > 100 else set(ends[:1]))


def test_a_server_that_keeps_to_slices_is_not_taken_for_another(
    own: CosmosBackend, caplog: pytest.LogCaptureFixture
) -> None:
    own.small(range_records=20)
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(100)))
    own.initialize()
    own.sync()
    assert "the server answers" not in caplog.text


def test_a_container_of_the_first_hash_version_is_read_in_one_piece(own: CosmosBackend) -> None:
    own.database.delete_container(own.container)
    own.source = own.database.create_container(own.container, PartitionKey("/group", version=1))
    own.small(range_records=20, held_pairs=40)
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(200)))
    own.initialize()
    own.sync()
    put(own, *(document(id=str(n), group=f"g{n}", version=2) for n in range(0, 200, 40)))
    own.source.delete_item("17", "g17")
    assert own.counts() == (0, 5, 1, 194)
    assert own.backup_rows() == own.source_rows()


def test_a_run_reads_the_bodies_of_changed_documents_only_and_asks_nothing_twice(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(300)))
    own.initialize()
    own.sync()
    put(own, *(document(id=str(n), group=f"g{n}", version=2) for n in range(7)), document(id="new", group="x"))
    own.source.delete_item("17", "g17")
    for server in pair:
        server.reset_stats()
    assert own.counts() == (1, 7, 1, 292)
    assert pair[0].stats()["documents_read"] == 8
    for server in pair:
        server.reset_stats()
    assert own.counts() == (0, 0, 0, 300)
    source, backup = (server.stats() for server in pair)
    assert (source["documents_read"], source["requests"]["ReadContainer"]) == (0, 1)
    assert not {"QueryPlan", "CreateDocument"} & source["requests"].keys()
    assert sum(source["requests"].values()) <= 10
    assert "QueryPlan" not in backup["requests"]


@pytest.mark.parametrize(("where", "counted"), [({}, 0), ({"type": "Thing"}, 1)])
def test_documents_are_counted_only_if_others_may_be_many(
    own: CosmosBackend, where: Row, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.small(few_slices=3)
    service = own.service(where=where)
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(40)))
    own.initialize()
    source, backup = own.open(service)
    calls = []
    reader = source.reader(source.catalog.describe())
    count = reader.count
    monkeypatch.setattr(reader, "count", lambda: calls.append(1) or count())
    assert len(reader.cut(None, 10)) == 4
    assert len(reader.cut(None, 20)) == 2
    assert len(calls) == counted
    source.close()
    backup.close()


def test_documents_of_others_leave_a_backup_empty(own: CosmosBackend) -> None:
    own.initialize()
    put(own, {"id": "1", "group": "a", "type": "Other"})
    source, backup = own.open(own.service())
    reader = source.reader(source.catalog.describe())
    assert reader.empty()
    put(own, document(id="2", group="a"))
    assert not reader.empty()
    source.close()
    backup.close()


@pytest.mark.parametrize("which", ["copy", "history"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"default_ttl": 3600}, "has a time to live"),
        ({"default_ttl": -1}, "has a time to live"),
        (
            {"unique_key_policy": {"uniqueKeys": [{"paths": ["/email", "/meta/kind"]}]}},
            r"has unique keys \(/email, /meta/kind\)",
        ),
    ],
)
def test_a_container_that_would_lose_or_refuse_copies_is_refused(
    own: CosmosBackend, which: str, settings: dict[str, Any], said: str
) -> None:
    put(own, document(id="1", group="a"))
    name, path = (own.container, "/group") if which == "copy" else (own.history, "/serviceName")
    database = own.clients[1].create_database_if_not_exists(own.backup_database)
    database.create_container(name, PartitionKey(path), **settings)
    with pytest.raises(FatalError, match=rf"^backup: container {name} {said}"):
        own.initialize()
    assert own.backup_rows() == []


def test_a_backup_that_was_given_a_time_to_live_takes_no_more_copies(own: CosmosBackend) -> None:
    put(own, document(id="1", group="a"))
    own.initialize()
    database = own.clients[1].get_database_client(own.backup_database)
    database.replace_container(own.container, PartitionKey("/group"), default_ttl=60)
    with pytest.raises(FatalError, match="has a time to live"):
        own.sync()


def test_a_history_container_with_another_partition_key_is_refused(own: CosmosBackend) -> None:
    database = own.clients[1].create_database_if_not_exists(own.backup_database)
    database.create_container(own.history, PartitionKey("/other"))
    with pytest.raises(FatalError, match=r"is partitioned by /other and cannot hold the history"):
        own.initialize()


def test_a_backup_with_another_partition_key_is_refused(own: CosmosBackend) -> None:
    own.initialize()
    own.database.delete_container(own.container)
    own.source = own.database.create_container(own.container, PartitionKey("/other"))
    with pytest.raises(FatalError, match=r"is partitioned by /group .* and the source by /other"):
        own.initialize(accept_source=True)


def test_the_copy_does_not_expire_even_if_the_source_does(own: CosmosBackend) -> None:
    own.database.replace_container(own.container, PartitionKey("/group"), default_ttl=60)
    put(own, document(id="1", group="a"))
    own.initialize()
    assert own.counts() == (1, 0, 0, 0)
    made = own.clients[1].get_database_client(own.backup_database).get_container_client(own.container).read()
    assert "defaultTtl" not in made


def test_damaged_documents_are_counted_named_and_left_out(
    own: CosmosBackend, pair: list[EmbeddedCosmos], caplog: pytest.LogCaptureFixture
) -> None:
    put(own, document(id="good", group="a"))
    pair[0].put_raw(own.source_database, own.container, document(group="a", note="secret"))
    pair[0].put_raw(own.source_database, own.container, document(id="a\tb", group="a", note="secret"))
    pair[0].put_raw(own.source_database, own.container, document(id="a/b", group="a", note="secret"))
    pair[0].put_raw(own.source_database, own.container, document(id="blank ", group="a", note="secret"))
    own.initialize()
    with caplog.at_level(logging.INFO):
        run = own.sync()
    assert (run.inserted, run.rejected) == (1, 4)
    assert "document (no id) has no id" in caplog.text
    assert "document 'a\\tb' has an id with one of" in caplog.text
    assert "document a/b has an id with one of / \\ ? #" in caplog.text
    assert "secret" not in caplog.text
    # Seen again when there is something to compare with.
    again = own.sync()
    assert (again.skipped, again.rejected) == (1, 4)
    # A forced run compares and reads everything: it meets them twice, and they are still four.
    forced = own.sync(force=True)
    assert (forced.updated, forced.rejected) == (1, 4)


def test_a_document_that_the_backup_refuses_is_rejected_and_the_others_are_written(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(5)))
    own.initialize()
    pair[1].fail(413, count=1, operation="UpsertDocument", path_contains=own.container)
    run = own.sync()
    assert (run.inserted, run.rejected) == (4, 1)
    assert own.counts() == (1, 0, 0, 4)


def test_one_bad_document_of_a_transactional_batch_does_not_keep_out_the_others(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    put(own, *(document(id=str(n), group="same") for n in range(50)))
    own.initialize()
    pair[1].fail(413, count=1, operation="Batch", path_contains=own.container)
    assert own.counts() == (50, 0, 0, 0)
    assert own.backup_rows() == own.source_rows()


def test_an_oversized_document_in_a_batch_is_rejected_alone(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    put(own, *(document(id=str(n), group="same") for n in range(20)))
    own.initialize()
    pair[1].fail(400, count=2, operation="UpsertDocument", path_contains=own.container)
    pair[1].fail(400, count=1, operation="Batch", path_contains=own.container)
    run = own.sync()
    assert (run.inserted, run.rejected) == (18, 2)


def test_large_documents_go_in_batches_that_the_service_takes(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    put(own, *(document(id=str(n), group="same", text="x" * 300_000) for n in range(23)))
    own.initialize()
    pair[1].reset_stats()
    assert own.counts() == (23, 0, 0, 0)
    first = pair[1].stats()["requests"]
    assert own.backup_rows() == own.source_rows()
    pair[1].reset_stats()
    assert own.counts() == (0, 0, 0, 23)
    idle = pair[1].stats()["requests"]
    assert first["Batch"] - idle.get("Batch", 0) == 6  # of four documents, 1.2 MB
    # None was written by itself, as those of a batch that is refused are: what is more is the history's.
    assert first["UpsertDocument"] - idle["UpsertDocument"] < 4


def test_batches_stay_below_two_megabytes_whatever_the_script_and_however_uneven(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    texts = ["x", *["я" * 200_000] * 7, "x" * 1_400_000, *["語" * 150_000] * 3]
    put(own, *(document(id=f"{n:02}", group="same", text=text) for n, text in enumerate(texts)))
    own.initialize()
    pair[1].reset_stats()
    assert own.counts() == (len(texts), 0, 0, 0)
    first = pair[1].stats()["requests"]
    assert own.backup_rows() == own.source_rows()
    pair[1].reset_stats()
    assert own.counts() == (0, 0, 0, len(texts))
    idle = pair[1].stats()["requests"]
    assert first["Batch"] - idle.get("Batch", 0) >= 3
    assert first["UpsertDocument"] - idle["UpsertDocument"] < 4


def test_large_documents_are_read_and_written_few_at_a_time(
    own: CosmosBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.small(first_page=10, page_weight=30_000, batch_weight=60_000, page=4)
    put(own, *(document(id=str(n), group=f"g{n}", text="x" * 10_000) for n in range(30)))
    source, backup = own.open(own.service())
    with closing(source), closing(backup):
        reader = source.reader(source.catalog.describe())
        keys = [key for bundles in reader.pairs(None) for key, _ in reader.codec.open(set(bundles))]
        by_keys = [len(found) for found in reader.records_of([*keys[:15], ("gone", '["g"]'), *keys[15:]])]
        all_of_them = [len(found) for found in reader.records(None)]
    assert (sum(by_keys), max(by_keys)) == (30, 10)  # before the first have come, nobody knows what they hold
    assert max(by_keys[1:]) < 10
    assert (sum(all_of_them), max(all_of_them) <= 8) == (30, True)


@pytest.mark.slow
def test_throttling_is_waited_out_counted_and_loses_nothing(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(200)))
    own.initialize()
    pair[1].throttle(400)
    run = own.sync()
    pair[1].throttle(None)
    assert run.inserted == 200
    assert run.throttled > 0
    assert run.request_charge > 200
    recorded = next(row for row in own.history_rows() if row["id"] == str(run.sync_id))
    assert (recorded["throttledCount"], recorded["requestCharge"]) == (run.throttled, run.request_charge)
    assert own.backup_rows() == own.source_rows()


@pytest.mark.parametrize("status", [408, 449, 500, 503])
def test_passing_troubles_are_tried_again(own: CosmosBackend, pair: list[EmbeddedCosmos], status: int) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(20)))
    own.initialize()
    pair[1].fail(status, count=5, operation="UpsertDocument")
    assert own.counts() == (20, 0, 0, 0)
    assert own.backup_rows() == own.source_rows()


@pytest.mark.parametrize("after_apply", [False, True])
def test_cut_connections_are_tried_again(own: CosmosBackend, pair: list[EmbeddedCosmos], after_apply: bool) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(20)))
    own.initialize()
    own.sync()
    put(own, *(document(id=str(n), group=f"g{n}", version=2) for n in range(10)))
    own.source.delete_item("15", "g15")
    cut = pair[1].drop_after_apply if after_apply else pair[1].drop
    cut(count=3, operation="UpsertDocument")
    cut(count=1, operation="DeleteDocument")
    run = own.sync()
    assert run.updated == 10
    # A delete whose answer was lost is found done by the next try, and then nobody knows who did it.
    assert run.deleted == (0 if after_apply else 1)
    assert own.backup_rows() == own.source_rows()


def test_partitions_that_split_during_the_run_lose_nothing(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    put(own, *(document(id=str(n), group=f"g{n}") for n in range(100)))
    own.initialize()
    own.sync()
    for server in pair:
        server.split()
    put(own, document(id="5", group="g5", version=2))
    assert own.counts() == (0, 1, 0, 99)
    assert own.backup_rows() == own.source_rows()


def test_how_long_a_request_is_tried_again_is_a_setting_of_the_service(
    own: CosmosBackend, pair: list[EmbeddedCosmos]
) -> None:
    put(own, document(id="1", group="a"))
    own.initialize()
    pair[1].fail(449, count=1_000, operation="UpsertDocument", path_contains=own.container)
    begun = time.monotonic()
    with pytest.raises(RetriableError, match="backup: Cosmos DB keeps answering 449"):
        own.sync(service=own.service(retry_seconds=1))
    assert time.monotonic() - begun < 20


@pytest.mark.slow
def test_a_server_that_stays_away_is_a_retriable_error(own: CosmosBackend, pair: list[EmbeddedCosmos]) -> None:
    put(own, document(id="1", group="a"))
    own.initialize()
    source, backup = own.open(own.service(retry_seconds=1))
    pair[1].stop()
    try:
        with pytest.raises(RetriableError, match="backup: cannot reach Cosmos DB"):
            backup.catalog.exists()
    finally:
        source.close()
        backup.close()
        pair[1].start()


def test_a_wrong_key_is_a_configuration_error_that_does_not_show_it(pair: list[EmbeddedCosmos]) -> None:
    wrong = "d3Jvbmcgd3Jvbmc="
    found = CosmosBackend("own", *[(server.endpoint, server.key) for server in pair])
    found.endpoints = ((pair[0].endpoint, wrong), found.endpoints[1])
    with pytest.raises(ConfigurationError, match="refused the key") as caught:
        found.initialize()
    assert wrong not in str(caught.value)
    found.close()

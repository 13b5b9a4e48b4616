"""Values arrive as they left: what a JSON document can hold.

The embedded server keeps a number as the text in which it came. Cosmos DB itself keeps numbers as IEEE 754 doubles, so
a source there has rounded them before anybody reads it, and a double is what Python writes back digit for digit.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from local.cosmos import EmbeddedCosmos
from tests.conformance.backends import CosmosBackend
from tests.conformance.test_cosmos import document, put

NUMBERS = [
    *(2**53 + 1, -(2**63), 2**64, 10**40, 0, -1),
    *(0.1, 0.30000000000000004, 1.7976931348623157e308, 5e-324, -0.0, 1.0, 1e23, 123456789.12345679),
]
TEXTS = [
    "\ud800",
    "a\udc00b",
    "\udc00\ud800",
    "\0",
    "a\0b",
    "\x1f\x7f\x80",
    "\u2028\ufeff\uffff",
    "🎁",
    "e\u0301",
    "é",
    " x ",
    "",
]
IDS = [
    "é",
    "e\u0301",
    "E",
    "e",
    " e",
    "%20",
    "%2F",
    "a+b&c=d",
    "🎁",
    "x" * 255,
    "漢" * 341,
    "a\0b",
    "a:b",
    "...",
    ".a",
    "'",
    '"',
    "~",
]


def exact(rows: list[dict[str, Any]]) -> str:
    return repr(rows)  # tells -0.0 from 0.0, 1 from 1.0 and one order of properties from another


def in_step(own: CosmosBackend) -> None:
    assert exact(own.backup_rows()) == exact(own.source_rows())


def loaded_and_changed(own: CosmosBackend, *documents: dict[str, Any]) -> None:
    """A first load, the same again, and a change of each document."""
    put(own, *documents)
    own.initialize()
    assert own.counts() == (len(documents), 0, 0, 0)
    in_step(own)
    assert own.counts() == (0, 0, 0, len(documents))
    put(own, *({**item, "version": 2} for item in documents))
    assert own.counts() == (0, len(documents), 0, 0)
    in_step(own)


def test_numbers_of_any_size_arrive_with_all_their_digits(own: CosmosBackend) -> None:
    loaded_and_changed(own, document(id="1", group="a", numbers=NUMBERS))


def test_versions_beyond_2_to_the_53_that_differ_by_one_are_a_change(own: CosmosBackend) -> None:
    put(own, document(id="1", group="a", version=2**53), document(id="2", group="a", version=2**63))
    own.initialize()
    own.sync()
    put(own, document(id="1", group="a", version=2**53 + 1), document(id="2", group="a", version=2**63 + 1))
    assert own.counts() == (0, 2, 0, 0)


def test_half_a_surrogate_pair_and_nul_arrive_in_values_and_in_names(own: CosmosBackend) -> None:
    loaded_and_changed(own, *(document(id=str(n), group="a", text=t, **{f"p{t}": t}) for n, t in enumerate(TEXTS)))


def test_a_stamp_may_hold_any_text(own: CosmosBackend) -> None:
    put(own, *(document(id=str(n), group=f"g{n}", state=text) for n, text in enumerate(TEXTS)))
    own.initialize()
    assert own.counts() == (len(TEXTS), 0, 0, 0)
    assert own.counts() == (0, 0, 0, len(TEXTS))
    put(own, *(document(id=str(n), group=f"g{n}", state=text + "\ud800") for n, text in enumerate(TEXTS)))
    assert own.counts() == (0, len(TEXTS), 0, 0)
    in_step(own)


@pytest.mark.parametrize("depth", [100, 124])
def test_documents_as_deep_as_the_service_allows_arrive(own: CosmosBackend, depth: int) -> None:
    lists, objects = json.loads("[" * depth + "1" + "]" * depth), json.loads('{"a":' * depth + "1" + "}" * depth)
    loaded_and_changed(own, document(id="1", group="a", deep=lists), document(id="2", group="b", deep=objects))


@pytest.mark.parametrize("letter", ["x", "é", "漢", "🎁", '"'])
def test_documents_of_nearly_two_megabytes_arrive_in_no_larger_requests(
    pair: list[EmbeddedCosmos], letter: str
) -> None:
    sent: list[int] = []

    def watch(request: Any) -> None:
        sent.append(len(request.http_request.data or b""))

    own = CosmosBackend("own", *[(server.endpoint, server.key) for server in pair])
    own.options = {"raw_request_hook": watch}
    text = letter * (1_900_000 // len(json.dumps(letter, ensure_ascii=False).strip().encode()[1:-1]))
    loaded_and_changed(own, document(id="1", group="a", text=text))
    assert 1_900_000 - 10 < max(sent) < 2 * 1024 * 1024
    own.close()


def test_ids_that_look_alike_are_told_apart(own: CosmosBackend) -> None:
    put(own, *(document(id=id_, group="same") for id_ in IDS), *(document(id="1", group=id_) for id_ in IDS))
    own.initialize()
    assert own.counts() == (2 * len(IDS), 0, 0, 0)
    assert own.counts() == (0, 0, 0, 2 * len(IDS))
    put(own, document(id="e", group="same", version=2), document(id="1", group="e\u0301", version=2))
    for id_, group in (("é", "same"), ("a\0b", "same"), ("1", "E"), ("%20", "same")):
        own.source.delete_item(id_, group)
    assert own.counts() == (0, 2, 4, 2 * len(IDS) - 6)
    in_step(own)


def test_partition_keys_that_are_large_numbers_find_their_documents(own: CosmosBackend) -> None:
    keys = [2**53 + 2, -0.0, 1e300, 1.5, -(2**60), 5e-324]
    put(own, *(document(id=str(n), group=key) for n, key in enumerate(keys)))
    own.initialize()
    assert own.counts() == (len(keys), 0, 0, 0)
    own.source.delete_item("0", keys[0])
    put(own, document(id="2", group=keys[2], version=2))
    assert own.counts() == (0, 1, 1, len(keys) - 2)
    in_step(own)


@pytest.mark.parametrize("id_", ["a\tb", "a\nb", "a\r", ".", ".."])
def test_an_id_by_which_a_document_cannot_be_addressed_is_rejected_and_the_others_are_copied(
    own: CosmosBackend, pair: list[EmbeddedCosmos], id_: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(own, document(id="good", group="a"))
    pair[0].put_raw(own.source_database, own.container, document(id=id_, group="a"))
    own.initialize()
    with caplog.at_level(logging.WARNING):
        first, again, forced = own.sync(), own.sync(), own.sync(force=True)
    assert [(run.inserted, run.updated, run.skipped, run.rejected) for run in (first, again, forced)] == [
        (1, 0, 0, 1),
        (0, 0, 1, 1),
        (0, 1, 0, 1),
    ]
    shown = id_ if id_.isprintable() else ascii(id_)
    assert f"document {shown} has an id with one of" in caplog.text
    assert [row["id"] for row in own.backup_rows()] == ["good"]


def test_a_value_that_differs_in_any_way_is_drift_and_its_property_is_named(own: CosmosBackend) -> None:
    values: list[Any] = [*NUMBERS, *TEXTS, None, True, [], {}, [1], {"a": 1}, {"a": "1"}, [None], "1", "None"]
    put(own, *(document(id=f"d{number}", group="g", odd=value) for number, value in enumerate(values)))
    own.initialize()
    own.sync()
    service = own.service(verify_again_seconds=0)
    assert own.verify(service).success
    for number, value in enumerate(values):
        other = values[(number + 1) % len(values)]
        own.copy.upsert_item(document(id=f"d{number}", group="g", odd=other))
        run = own.verify(service)
        assert run.verified is not None
        assert run.verified["Drift"]["Fields"] == {"odd": 1}, (value, other)
        assert [key[0] for key in run.verified["Drift"]["Keys"]] == [f"d{number}"]
        own.copy.upsert_item(document(id=f"d{number}", group="g", odd=value))
    assert own.verify(service).success


def test_one_number_in_two_spellings_and_properties_in_another_order_are_the_same(own: CosmosBackend) -> None:
    put(own, document(id="d", group="g", odd=1, more={"a": [2, {"b": 3}], "c": None}))
    own.initialize()
    own.sync()
    own.copy.upsert_item(document(id="d", group="g", more={"c": None, "a": [2.0, {"b": 3.0}]}, odd=1.0))
    assert own.verify(own.service(verify_again_seconds=0)).success

"""What tells one account, database or container from another, by the server's own word; and its clock."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey

from local.cosmos import EmbeddedCosmos


def account(server: EmbeddedCosmos) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []
    with CosmosClient(server.endpoint, server.key) as client:
        client.get_database_account(
            raw_response_hook=lambda answer: seen.append(json.loads(answer.http_response.text()))
        )
    return seen[-1]


def rids(server: EmbeddedCosmos) -> tuple[str, str, str]:
    """The `_rid`s of a database, a container and a document, each made anew."""
    with CosmosClient(server.endpoint, server.key) as client:
        database = client.create_database("again")
        container = database.create_container("again", PartitionKey("/pk"))
        document = container.create_item({"id": "1", "pk": "a"})
        found = (database.read()["_rid"], container.read()["_rid"], document["_rid"])
        client.delete_database("again")
    return found


def test_an_account_keeps_its_own_id_and_no_other_account_has_it(server: EmbeddedCosmos, tmp_path: Path) -> None:
    first = EmbeddedCosmos(tmp_path / "first.sqlite")
    with first:
        before = account(first)
    with first:
        assert account(first)["id"] == before["id"]
    assert before["id"].startswith("local-")
    assert before["_rid"] == before["id"]
    assert account(server)["id"] != before["id"]


def test_what_is_made_anew_or_on_another_server_has_another_rid(server: EmbeddedCosmos, tmp_path: Path) -> None:
    with EmbeddedCosmos(tmp_path / "other.sqlite") as other:
        made = [rids(other), rids(other), rids(server)]
    for kind in zip(*made, strict=True):
        assert len(set(kind)) == 3
    for database, container, document in made:
        assert (len(database), len(container), len(document)) == (8, 12, 24)


def test_each_answer_has_the_date_of_the_servers_clock(server: EmbeddedCosmos, container: ContainerProxy) -> None:
    seen: list[Any] = []
    container.create_item({"id": "1", "pk": "a"}, raw_response_hook=lambda one: seen.append(one.http_response.headers))
    list(container.query_items("SELECT * FROM c", partition_key="a", raw_response_hook=lambda one: seen.append(
        one.http_response.headers)))  # fmt: skip
    for path in ("", "dbs/none", "_control/none"):
        try:
            with urllib.request.urlopen(server.endpoint + path) as answer:
                seen.append(answer.headers)
        except urllib.error.HTTPError as problem:
            with problem:
                seen.append(problem.headers)
    assert len(seen) == 5
    for headers in seen:
        dates = [value for name, value in headers.items() if name.lower() == "date"]
        assert len(dates) == 1
        assert dates[0].endswith(" GMT")
        assert abs(parsedate_to_datetime(dates[0]).timestamp() - time.time()) < 10


def test_the_first_answer_after_the_start_has_a_date(tmp_path: Path) -> None:
    for number in range(3):
        with EmbeddedCosmos(tmp_path / f"{number}.sqlite") as fresh:
            try:
                with urllib.request.urlopen(fresh.endpoint) as answer:
                    headers = answer.headers
            except urllib.error.HTTPError as problem:
                with problem:
                    headers = problem.headers
            assert headers["date"]

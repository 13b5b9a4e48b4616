"""Cosmos DB: two embedded servers, each in its own process."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

from backup_sync.stores.base import Store, batches
from bench import baseline
from bench.rig import Rig, in_threads
from local.cosmos import EmbeddedCosmos
from local.sample_data import order


class CosmosRig(Rig):
    name = "cosmos"
    settings: ClassVar = {
        "container": "orders",
        "where": {"type": "Order"},
        "changed": {"lastModified": "newer", "status": "different"},
    }

    def __init__(self, n: int, source: str, backup: str, key: str, per_customer: int) -> None:
        super().__init__(n)
        self.endpoints, self.key, self.per_customer = (source, backup), key, per_customer
        self.name = f"cosmos, {per_customer} a partition key"
        self.orders = f"orders{per_customer}"
        self.own_settings = {"container": self.orders, "history": f"history{per_customer}"}

    def document(self, number: int) -> dict[str, Any]:
        return order(number, max(1, self.n // self.per_customer))

    def container(self, end: int) -> Any:
        from azure.cosmos import CosmosClient

        client = CosmosClient(self.endpoints[end], self.key)
        return client.get_database_client("bench").get_container_client(self.orders)

    def stores(self) -> tuple[Store, Store]:
        from backup_sync.stores.cosmos.account import Account
        from backup_sync.stores.cosmos.store import cosmos_store

        def store(end: int, label: str) -> Store:
            account = Account(self.endpoints[end], self.key, "bench", self.orders)
            return cosmos_store(self.service, account, label, copy=label == "backup")

        return store(0, "source"), store(1, "backup")

    def beside(self) -> CosmosRig:
        other = copy(self)
        other.orders = "restored"
        other.own_settings = {**self.own_settings, "container": other.orders}
        return other

    def seed(self) -> None:
        from azure.cosmos import CosmosClient, PartitionKey

        from backup_sync.stores.cosmos.account import Account, Connection
        from backup_sync.stores.cosmos.writes import upsert_all

        self.drop(0)  # a smaller rig of this kind may have been here
        database = CosmosClient(self.endpoints[0], self.key).create_database("bench")
        database.create_container(self.orders, PartitionKey("/customerId"))
        connection = Connection(Account(self.endpoints[0], self.key, "bench", self.orders), "source", 8, 60)
        for numbers in batches(range(1, self.n + 1), 5_000):
            connection.run(upsert_all(connection, [self.document(number) for number in numbers], [("customerId",)]))
        connection.close()
        if len(self.ids()) != self.n:
            raise RuntimeError(f"{self.name}: the source holds {len(self.ids())} documents instead of {self.n}")

    def reset_backup(self) -> None:
        self.drop(1)

    def drop(self, end: int) -> None:
        from azure.cosmos import CosmosClient
        from azure.cosmos.exceptions import CosmosResourceNotFoundError

        client = CosmosClient(self.endpoints[end], self.key)
        try:
            client.delete_database("bench")
        except CosmosResourceNotFoundError:
            pass

    def change(self, updated: list[int], inserted: range, deleted: list[int]) -> None:
        container = self.container(0)
        for number in updated:
            document = self.document(number)
            document["status"] = f"Changed {self.next_id}"
            container.upsert_item(document)
        for number in deleted:
            document = self.document(number)
            container.delete_item(document["id"], document["customerId"])
        for number in inserted:
            container.upsert_item(self.document(number))

    def ids(self) -> list[int]:
        found = self.container(0).query_items("SELECT c.id FROM c", enable_cross_partition_query=True)
        return sorted(int(item["id"].rpartition("-")[2]) for item in found)

    def equal(self) -> bool:
        sides = []
        for end in (0, 1):
            items = self.container(end).read_all_items()
            sides.append({i["id"]: {k: v for k, v in i.items() if not k.startswith("_")} for i in items})
        return sides[0] == sides[1]

    def read_all(self) -> None:
        for _ in self.container(0).read_all_items(max_item_count=1_000):
            pass

    def bodies(self) -> int:
        with urllib.request.urlopen(f"{self.endpoints[0]}_control/stats", b"{}") as answer:
            return int(json.load(answer)["documents_read"])

    def baseline(self) -> tuple[int, int, int]:
        return baseline.sync_container(self.container(0), self.container(1))

    def floors(self) -> dict[str, Callable[[], Callable[[], Any]]]:
        sample = min(self.n, 2_000)

        def upserts() -> Callable[[], Any]:
            from azure.cosmos import CosmosClient, PartitionKey

            database = CosmosClient(self.endpoints[1], self.key).create_database_if_not_exists("floor")
            container = database.create_container_if_not_exists("floor", PartitionKey("/customerId"))
            documents = [self.document(number) for number in range(1, sample + 1)]

            def run() -> float:
                for document in documents:
                    container.upsert_item(document)
                return self.n / sample  # the factor by which the time counts

            return run

        def scans() -> Callable[[], Any]:
            query = "SELECT c.id, c.customerId, c.lastModified, c.status FROM c WHERE c.type = 'Order'"
            containers = [self.container(end) for end in (0, 1)]

            def one(container: Any) -> None:
                for _ in container.query_items(query, enable_cross_partition_query=True, max_item_count=1000):
                    pass

            return lambda: in_threads([lambda: one(containers[0]), lambda: one(containers[1])])

        return {"one synchronous upsert a document": upserts, "two parallel projection scans": scans}


@contextmanager
def pair(folder: Path) -> Iterator[tuple[EmbeddedCosmos, EmbeddedCosmos]]:
    with EmbeddedCosmos(folder / "s.sqlite") as source, EmbeddedCosmos(folder / "b.sqlite") as backup:
        yield source, backup

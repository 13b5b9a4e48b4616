"""Which request is answered by what."""

from __future__ import annotations

import json

from . import batch, charges, documents, feeds
from .answer import Answer, Call, feed
from .containers import Container, Containers
from .documents import Conditions, Outcome
from .errors import CosmosError, bad_request
from .faults import Faults
from .feeds import KEY, RANGE
from .jsontext import decode, loads
from .patch import patch
from .query import install
from .ranges import find, holding
from .storage import ACCOUNT, Resource, Store

_VERBS = {"GET": "Read", "PUT": "Replace", "PATCH": "Patch", "DELETE": "Delete"}
# What a container of the service has at least; shown where the server has no limit.
_MINIMUM_THROUGHPUT = 400
_NOUNS = {"dbs": "Database", "colls": "Container", "docs": "Document"}


def operation_name(call: Call) -> str:
    """The name under which a request is counted, such as ReadDocument or QueryDocuments."""
    if not call.segments:
        return "ReadAccount"
    feed_of = len(call.segments) % 2 == 1
    noun = _NOUNS.get(call.segments[-1 if feed_of else -2], call.segments[-1 if feed_of else -2])
    if noun == "pkranges":
        return "ReadPartitionKeyRanges"
    if not feed_of:
        return f"{_VERBS.get(call.method, call.method)}{noun}"
    if call.method == "GET":
        return "ChangeFeed" if call.header("a-im") else f"Read{noun}s"
    if call.flag("x-ms-cosmos-is-query-plan-request"):
        return "QueryPlan"
    if call.flag("x-ms-documentdb-isquery"):
        return f"Query{noun}s"
    if call.flag("x-ms-cosmos-is-batch-request"):
        return "Batch"
    return f"{'Upsert' if call.flag('x-ms-documentdb-is-upsert') else 'Create'}{noun}"


class Service:
    """Answers requests out of the store."""

    def __init__(self, store: Store, faults: Faults):
        self.store = store
        self._faults = faults
        self.containers = Containers(store)
        install(store)

    def serve(self, call: Call) -> Answer:
        """The answer to one request, or CosmosError."""
        parts = call.segments
        if not parts:
            return self._account(call)
        kinds = parts[::2]
        if kinds == ["dbs"]:
            return self._databases(call)
        if kinds == ["dbs", "colls"]:
            return self._containers(call)
        if kinds == ["dbs", "colls", "docs"]:
            return self._documents(call, self._container(call))
        if kinds == ["dbs", "colls", "pkranges"] and call.method == "GET" and len(parts) == 5:
            return self._ranges(call, self._container(call))
        if kinds == ["offers"]:
            return self._offers(call)
        raise CosmosError(404, f"This development server knows nothing at /{'/'.join(parts)}.", 0)

    def _account(self, call: Call) -> Answer:
        place = [{"name": "Local", "databaseAccountEndpoint": call.origin}]
        account = {
            "_self": "",
            "id": self.store.account,
            "_rid": self.store.account,
            "media": "//media/",
            "addresses": "//addresses/",
            "_dbs": "//dbs/",
            "writableLocations": place,
            "readableLocations": place,
            "enableMultipleWriteLocations": False,
            "userReplicationPolicy": {"asyncReplication": False, "minReplicaSetSize": 1, "maxReplicasetSize": 1},
            "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
            "systemReplicationPolicy": {"minReplicaSetSize": 1, "maxReplicasetSize": 1},
            "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
        }
        return Answer(200, json.dumps(account))

    def _databases(self, call: Call) -> Answer:
        if len(call.segments) == 1:
            if call.method == "GET" or call.flag("x-ms-documentdb-isquery"):
                wanted = feeds.query_of(call) if call.method == "POST" else None
                return feeds.listing(self.store, "", "Databases", ACCOUNT, call, wanted)
            return _resource(201, self.containers.create_database(decode(call.body)))
        name = call.segments[1]
        if call.method == "DELETE":
            self.containers.delete_database(name)
            return Answer(204)
        _only(call, "GET")
        return _resource(200, self.containers.database(name, 0))

    def _containers(self, call: Call) -> Answer:
        database = call.segments[1]
        if len(call.segments) == 3:
            if call.method == "GET" or call.flag("x-ms-documentdb-isquery"):
                wanted = feeds.query_of(call) if call.method == "POST" else None
                owner = self.containers.database(database)
                return feeds.listing(self.store, owner.rid, "DocumentCollections", owner.seq, call, wanted)
            return _resource(201, self.containers.create_container(database, decode(call.body)))
        name = call.segments[3]
        if call.method == "DELETE":
            self.containers.delete_container(database, name)
            return Answer(204)
        if call.method == "PUT":
            return _resource(200, self.containers.replace_container(database, name, decode(call.body)))
        _only(call, "GET")
        found = self.containers.container(database, name, 0)
        answer = _resource(200, found.resource)
        self._expire(found)
        if call.flag("x-ms-documentdb-populatequotainfo"):
            answer.headers["x-ms-resource-usage"] = f"documentsCount={self.store.count(found.seq)};"
        return answer

    def _container(self, call: Call) -> Container:
        found = self.containers.container(call.segments[1], call.segments[3])
        intended = call.header("x-ms-cosmos-intended-collection-rid")
        self._expire(found)
        if intended and intended != found.rid:
            # The container was made anew since the client read its properties; on 1024 the SDK reads them again.
            raise bad_request("Collection rid does not match the rid that the request intends.", 1024)
        return found

    def _expire(self, container: Container) -> None:
        if container.default_ttl is not None:
            self.store.expire(container.seq, container.default_ttl)

    def _ranges(self, call: Call, container: Container) -> Answer:
        etag = f'"{self.store.layout()}"'
        if call.header("if-none-match") == etag:
            return Answer(304, headers={"etag": etag})
        shared = {
            "_rid": container.rid,
            "_etag": etag,
            "ridPrefix": 0,
            "status": "online",
            "_ts": container.resource.ts,
        }
        physical = self.store.ranges_of(container.key)
        texts = [
            json.dumps(
                {
                    **shared,
                    "id": one.id,
                    "minInclusive": one.minimum,
                    "maxExclusive": one.maximum,
                    "parents": list(one.parents),
                    "_self": f"{container.self_link}pkranges/{one.id}/",
                    "throughputFraction": 1 / len(physical),
                }
            )
            for one in physical
        ]
        headers = {"etag": etag, "x-ms-item-count": str(len(texts))}
        return Answer(200, feed(container.rid, "PartitionKeyRanges", texts), headers)

    def _offers(self, call: Call) -> Answer:
        # The SDK asks for the offer of one resource, by its link. All of them have the limit of the server.
        spec = loads(decode(call.body)) if call.method == "POST" else None
        parameters = spec.get("parameters") if isinstance(spec, dict) else None
        if not parameters:
            raise bad_request("This development server serves offers only by a query for the offer of one resource.")
        link = parameters[0]["value"]
        offer = {
            "resource": link,
            "offerType": "Invalid",
            "offerVersion": "V2",
            "offerResourceId": link.strip("/").rpartition("/")[2],
            "content": {"offerThroughput": int(self._faults.throughput or _MINIMUM_THROUGHPUT)},
            "id": "local",
            "_rid": "local",
            "_self": "offers/local/",
            "_etag": '"0"',
            "_ts": 0,
        }
        return Answer(200, feed("", "Offers", [json.dumps(offer)]))

    def _documents(self, call: Call, container: Container) -> Answer:
        answer = self._document_feed(call, container) if len(call.segments) == 5 else self._document(call, container)
        answer.headers["x-ms-alt-content-path"] = container.path
        if RANGE not in answer.headers:
            # An answer that names no range, or an unknown one, makes the SDK read the ranges anew each time.
            wanted = call.header(RANGE)
            physical = self.store.ranges_of(container.key)
            served = physical if wanted is None else [find(physical, wanted)]
            lsn = self.store.lsn()
            answer.headers[RANGE] = served[0].id
            answer.headers["x-ms-session-token"] = ",".join(f"{one.id}:-1#{lsn}" for one in served)
        return answer

    def _document_feed(self, call: Call, container: Container) -> Answer:
        if call.method == "GET":
            if call.header("a-im"):
                return feeds.change_feed(self.store, container, call)
            return feeds.read_feed(self.store, container, call)
        _only(call, "POST")
        if call.flag("x-ms-cosmos-is-query-plan-request"):
            return feeds.plan(call)
        if call.flag("x-ms-documentdb-isquery"):
            return feeds.query(self.store, container, call)
        key, body = call.header(KEY), decode(call.body)
        if call.flag("x-ms-cosmos-is-batch-request"):
            status, text, charge, reads = batch.execute(self.store, container, key, body)
            components = container.key.parse(key or "[]") or []
            headers = self._placed(container, container.key.effective(components))
            return Answer(status, text, headers, charge, reads)
        if call.flag("x-ms-documentdb-is-upsert"):
            return self._done(call, container, documents.upsert(self.store, container, key, body, _conditions(call)))
        return self._done(call, container, documents.create(self.store, container, key, body))

    def _document(self, call: Call, container: Container) -> Answer:
        key, name, conditions = call.header(KEY), call.segments[5], _conditions(call)
        if call.method == "GET":
            return self._done(call, container, documents.read(self.store, container, key, name, conditions.none_match))
        if call.method == "DELETE":
            return self._done(call, container, documents.delete(self.store, container, key, name, conditions))
        if call.method == "PATCH":
            return self._done(call, container, patch(self.store, container, key, name, decode(call.body), conditions))
        _only(call, "PUT")
        return self._done(
            call, container, documents.replace(self.store, container, key, name, decode(call.body), conditions)
        )

    def _done(self, call: Call, container: Container, outcome: Outcome) -> Answer:
        headers = self._placed(container, outcome.epk)
        if outcome.etag:
            headers["etag"] = outcome.etag
        read = call.method == "GET"
        silent = not read and call.headers.get("prefer", "").lower() == "return=minimal"
        body = outcome.resource.body if outcome.resource is not None and not silent else ""
        return Answer(outcome.status, body, headers, outcome.charge, int(read and bool(body)))

    def _placed(self, container: Container, epk: str) -> dict[str, str]:
        physical, lsn = holding(self.store.ranges_of(container.key), epk).id, self.store.lsn()
        return {RANGE: physical, "x-ms-session-token": f"{physical}:-1#{lsn}", "lsn": str(lsn)}


def _conditions(call: Call) -> Conditions:
    return Conditions(call.header("if-match"), call.header("if-none-match"))


def _resource(status: int, resource: Resource) -> Answer:
    return Answer(status, resource.body, {"etag": resource.etag}, charges.METADATA)


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise CosmosError(405, f"This development server does not serve {call.method} here.")

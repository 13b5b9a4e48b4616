"""Control routes: faults, counters, roles, damaged input and splits. For this machine only, and without a signature."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import documents
from .access import Access
from .errors import CosmosError, bad_request
from .faults import Faults, Rule
from .jsontext import loads, members
from .service import Service


class Control:
    """Answers what EmbeddedCosmos asks."""

    def __init__(self, service: Service, access: Access, faults: Faults):
        self._service = service
        self._access = access
        self._faults = faults
        self._routes: dict[str, Callable[[str], Any]] = {
            "throttle": self._throttle,
            "delay": self._delay,
            "emulator": self._emulator,
            "fault": self._fault,
            "reset_faults": self._reset_faults,
            "stats": lambda body: faults.stats(),
            "reset_stats": lambda body: faults.reset_stats(),
            "split": self._split,
            "put_raw": self._put_raw,
            "grant": self._grant,
            "keys": self._keys,
        }

    async def handle(self, request: Request) -> Response:
        """One control request."""
        if not request.client or not ip_address(request.client.host).is_loopback:
            return JSONResponse({"error": "control routes are for this machine only"}, 403)
        route = self._routes.get(request.path_params["name"])
        if route is None:
            return JSONResponse({"error": "no such control route"}, 404)
        try:
            return JSONResponse(route((await request.body()).decode() or "{}"))
        except CosmosError as problem:
            return JSONResponse({"error": problem.message}, problem.status)
        except (TypeError, ValueError, KeyError) as problem:
            return JSONResponse({"error": f"the request is not as it should be: {problem}"}, 400)

    def _throttle(self, body: str) -> None:
        self._faults.set_throughput(json.loads(body)["ru_per_second"])

    def _delay(self, body: str) -> None:
        self._faults.delay_ms = float(json.loads(body)["milliseconds"])

    def _emulator(self, body: str) -> None:
        self._faults.emulator = True

    def _fault(self, body: str) -> None:
        self._faults.rules.append(Rule(**json.loads(body)))

    def _reset_faults(self, body: str) -> None:
        self._faults.reset()

    def _split(self, body: str) -> list[str]:
        store, within = self._service.store, json.loads(body).get("within")
        if within is None:
            return [one.id for one in store.split()]
        database, name, value = within
        key = self._service.containers.container(database, name).key
        if key.kind != "MultiHash":
            raise bad_request("Only a container with a hierarchical key can be split within a key.")
        return [one.id for one in store.split_within(key.effective([value]))]

    def _grant(self, body: str) -> None:
        self._access.grant(**json.loads(body))

    def _keys(self, body: str) -> None:
        self._access.keys = bool(json.loads(body)["taken"])

    def _put_raw(self, body: str) -> dict[str, Any]:
        parts = members(body)
        container = self._service.containers.container(parts["database"].value, parts["container"].value)
        stored = documents.put_raw(self._service.store, container, parts["document"].text)
        value: dict[str, Any] = loads(stored.body)
        return value

"""The HTTP side: who asks, faults, counting, and the headers that every answer carries."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import charges
from .access import Access
from .answer import Answer, Call
from .connections import Connections
from .control import Control
from .errors import CosmosError, check_request_size
from .faults import Faults
from .service import Service, operation_name

_SLICE = {"x-ms-start-epk", "x-ms-end-epk"}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Cut(Exception):
    """The connection is to be closed without an answer."""


class Front:
    """Takes requests in and sends answers out."""

    def __init__(self, service: Service, access: Access, faults: Faults, connections: Connections):
        self._service = service
        self._access = access
        self._faults = faults
        self._connections = connections

    async def handle(self, request: Request) -> Response:
        """Any request of the Cosmos protocol."""
        activity = request.headers.get("x-ms-activity-id") or str(uuid.uuid4())
        raw_path = request.scope["raw_path"].decode("ascii")
        body = await request.body()
        headers: Mapping[str, str] = request.headers
        if self._faults.emulator:
            headers = {name: value for name, value in headers.items() if name not in _SLICE}
        call = Call(
            request.method,
            [unquote(segment) for segment in raw_path.split("/") if segment],
            headers,
            body,
            f"{request.url.scheme}://{request.headers.get('host', '')}/",
        )
        try:
            answer = await self._answer(call, raw_path)
        except CosmosError as problem:
            charge = 0.0 if problem.status == 429 else charges.MISS
            answer = Answer(problem.status, problem.body(activity), problem.headers(), charge)
        except Cut:
            await self._connections.cut(request.scope.get("client"))
            return Response(status_code=503)
        if self._faults.emulator:
            answer.charge = 0.0
        self._faults.spend(answer.charge, _limited(call))
        return _response(answer, activity)

    async def _answer(self, call: Call, raw_path: str) -> Answer:
        operation, path = operation_name(call), "/" + "/".join(call.segments)
        self._access.check(call, raw_path, operation)
        check_request_size(len(call.body))
        self._faults.requests[operation] += 1
        rule = self._faults.due(call.method, path, operation)
        if self._faults.delay_ms:
            await asyncio.sleep(self._faults.delay_ms / 1000)
        if rule and rule.kind == "drop":
            raise Cut
        if rule and rule.kind == "fail":
            raise CosmosError(
                rule.status, "A failure that was ordered for this request.", rule.sub_status, rule.retry_after_ms
            )
        if _limited(call):
            self._faults.admit()
        answer = self._service.serve(call)
        if rule and rule.kind == "drop_after_apply":
            raise Cut
        self._faults.bodies += answer.bodies
        return answer


def _limited(call: Call) -> bool:
    """Whether the request counts against the throughput: those about documents do."""
    return call.segments[4:5] == ["docs"]


class Dated:
    """Puts the time of the answer into each answer: clients may go by the server's clock instead of their own.

    uvicorn has a Date header too, but none before the first tick of its loop, and after that one up to a second old.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (b"date", formatdate(usegmt=True).encode())]
            await send(message)

        await self._app(scope, receive, dated)


def build(service: Service, access: Access, faults: Faults, connections: Connections) -> ASGIApp:
    """The application: control routes for this machine, and the protocol for all else."""
    control = Control(service, access, faults)
    front = Front(service, access, faults, connections)
    return Dated(
        Starlette(
            routes=[
                Route("/_control/{name}", control.handle, methods=["GET", "POST"]),
                Route("/{path:path}", front.handle, methods=_METHODS),
            ]
        )
    )


def _response(answer: Answer, activity: str) -> Response:
    headers: dict[str, Any] = {
        "content-type": "application/json",
        "x-ms-activity-id": activity,
        "x-ms-request-charge": json.dumps(answer.charge),
        "x-ms-serviceversion": "version=local",
        "x-ms-gatewayversion": "version=local",
        "x-ms-schemaversion": "1.18",
        "x-ms-last-state-change-utc": formatdate(usegmt=True),
        **answer.headers,
    }
    if "x-ms-alt-content-path" in headers:
        headers["x-ms-alt-content-path"] = quote(headers["x-ms-alt-content-path"])
    return Response(answer.body.encode(), answer.status, headers)

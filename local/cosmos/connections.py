"""The open connections, kept so that one can be cut in the middle of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connections:
    """The open connections, by the address of the client."""

    def __init__(self) -> None:
        self.transports: dict[Any, Any] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """A protocol class whose connections are kept here."""
        transports = self.transports

        class Protocol(HttpToolsProtocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                transports.pop(self.client, None)
                super().connection_lost(exc)

        return Protocol

    async def cut(self, client: Any) -> None:
        """Close a client's connection at once; returns when the server knows that it is gone."""
        transport = self.transports.get(tuple(client) if client else None)
        if transport is not None:
            transport.abort()
        while tuple(client or ()) in self.transports:
            await asyncio.sleep(0.001)

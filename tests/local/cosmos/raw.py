"""Requests that the SDK would not send, signed as it signs its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from local.cosmos import EmbeddedCosmos


@dataclass
class Reply:
    """Status, body, and headers in lower case."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def sub_status(self) -> str | None:
        return self.headers.get("x-ms-substatus")


def send(
    server: EmbeddedCosmos, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Reply:
    """One request; `body` is bytes, or a value to be sent as JSON."""
    segments = path.split("/")
    feed = len(segments) % 2 == 1
    kind, link = (segments[-1], "/".join(segments[:-1])) if feed else (segments[-2], path)
    date = formatdate(usegmt=True)
    text = f"{method.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
    digest = hmac.new(base64.b64decode(server.key), text.encode(), hashlib.sha256).digest()
    signature = quote(f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}", safe="")
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    given = {"authorization": signature, "x-ms-date": date, "x-ms-version": "2020-07-15", **(headers or {})}
    request = urllib.request.Request(server.endpoint + quote(path), data, given, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return _reply(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return _reply(problem)


def query(server: EmbeddedCosmos, path: str, text: str, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """A query over all partitions."""
    asked = {
        "x-ms-documentdb-isquery": "True",
        "x-ms-documentdb-query-enablecrosspartition": "True",
        "content-type": "application/query+json",
    }
    body = {"query": text, "parameters": [{"name": f"@{name}", "value": value} for name, value in more.items()]}
    return send(server, "POST", f"{path}/docs", body, {**asked, **(headers or {})})


def _reply(answer: Any) -> Reply:
    return Reply(answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.headers.items()})

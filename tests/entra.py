"""Entra ID for tests: an endpoint for managed identities as Azure's App Service has it, and identities that ask nobody.

The endpoint is what azure-identity itself talks to: GET with the headers and parameters of
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from backup_sync.stores.cosmos.identity import Identity
from local.cosmos.tokens import issue

VARIABLES = (
    *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT"),
    *(
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_AUTHORITY_HOST",
    ),
    *(
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_USERNAME",
        "AZURE_TOKEN_CREDENTIALS",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    ),
)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own identity: no variable, no command line tool of Azure's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


class IdentityEndpoint:
    """Gives tokens over http for as long as the block lasts.

    ``principals``: object ids by client id ("" for the system-assigned identity). ``lifetime``: of its tokens, in seconds.
    ``status``: what it answers in place of 200, with ``reason`` in the body. ``delay``: seconds before it answers.
    ``asked``: the parameters of each request; ``given``: each token.
    """

    def __init__(self, principals: dict[str, str]) -> None:
        self.principals = principals
        self.lifetime, self.status, self.reason, self.delay = 86_400.0, 200, "", 0.0
        self.secret = f"identity{secrets.token_hex(8)}"
        self.asked: list[dict[str, str]] = []
        self.given: list[str] = []

    def __enter__(self) -> IdentityEndpoint:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = (
                    self.headers.get("X-IDENTITY-HEADER") == endpoint.secret or self.headers.get("Metadata") == "true"
                )
                status, answer = endpoint._answer(self.path, known)
                body = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    return  # who asked has gone

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/msi/token"

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the one of this process."""
        forget(monkeypatch)
        monkeypatch.setenv("IDENTITY_ENDPOINT", self.url)
        monkeypatch.setenv("IDENTITY_HEADER", self.secret)

    def use_as_a_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the one of this process as a virtual machine has it, at a fixed address and without a secret."""
        forget(monkeypatch)
        monkeypatch.setattr("azure.identity._credentials.imds.IMDS_AUTHORITY", self.url.removesuffix("/msi/token"))

    def _answer(self, path: str, known: bool) -> tuple[int, dict[str, Any]]:
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        self.asked.append(parameters)
        time.sleep(self.delay)
        if self.status != 200:
            return self.status, {"statusCode": self.status, "message": self.reason}
        principal = self.principals.get(parameters.get("client_id", ""))
        if not known or principal is None:
            return 400, {"statusCode": 400, "message": f"No managed identity was found for {parameters}."}
        resource = parameters["resource"]
        token = issue(principal, resource, self.lifetime)
        self.given.append(token)
        ends = str(int(time.time() + self.lifetime))
        return 200, {"access_token": token, "expires_on": ends, "resource": resource, "token_type": "Bearer"}


class Known(Identity):
    """An identity whose credential makes its tokens itself and asks nobody.

    ``make``: a token for an audience. ``believed``: seconds for which its bearer takes it to be good; then it asks anew.
    """

    def __init__(self, make: Callable[[str], str], believed: float = 3600) -> None:
        super().__init__()
        self.__dict__.update(make=make, believed=believed, credentials=[])

    make: Callable[[str], str]
    believed: float
    credentials: list[Credential]

    def credential(self) -> Any:
        self.credentials.append(Credential(self))
        return self.credentials[-1]


class Credential:
    def __init__(self, identity: Known) -> None:
        self._identity = identity
        self.asked = 0
        self.closed = 0

    async def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        from azure.core.credentials import AccessTokenInfo

        self.asked += 1
        token = self._identity.make(scopes[0].removesuffix("/.default"))
        ends = int(time.time() + self._identity.believed)
        return AccessTokenInfo(token, ends, refresh_on=ends)

    async def close(self) -> None:
        self.closed += 1

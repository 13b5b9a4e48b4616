"""A Cosmos DB container as seen through the official SDK: opening it, pacing requests, and reading its errors.

The SDK's asynchronous client is used inside, from a private event loop, because concurrency is what pays over a
network; to the outside everything here is synchronous.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from aiohttp import ClientConnectorCertificateError, TraceConfig
from azure.core.exceptions import AzureError, IncompleteReadError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.cosmos.aio import CosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

from backup_sync.model.errors import ConnectionMistake, FatalError, RetriableError
from backup_sync.stores.base import Usage
from backup_sync.stores.cosmos.identity import Identity, NoToken, Tokens
from backup_sync.stores.cosmos.statuses import PASSING, refusal

T = TypeVar("T")

log = logging.getLogger(__name__)

# At INFO, which is where Airflow puts its tasks, the SDK logs each request with its headers, and the partition key's
# value is one of them.
for _noisy in ("azure.cosmos", "azure.core.pipeline.policies.http_logging_policy"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)

CUT = (ServiceRequestError, ServiceResponseError, IncompleteReadError, OSError, asyncio.TimeoutError)
"""The connection was not made, or ended before the whole answer had come."""

CLOSE_SECONDS = 5.0
"""How long closing waits for what is still under way."""

_writing: ContextVar[bool] = ContextVar("writing", default=False)
"""Whether the request that the SDK is making is one to write."""


@dataclass(frozen=True)
class Account:
    """Where a container is, from an ``azure_cosmos`` connection. ``key``: the account's, or who asks for tokens instead."""

    endpoint: str
    key: str | Identity = field(repr=False)
    database: str
    container: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """More settings of the SDK's client, such as ``connection_verify``."""

    @property
    def address(self) -> str:
        """Host and port, without anything else that somebody may have put into the endpoint."""
        parts = urlsplit(self.endpoint)
        return f"{parts.hostname}:{parts.port or 443}"


class CosmosError(Exception):
    """An HTTP status that a caller may want to look at; never leaves the stores."""

    def __init__(self, status: int, sub_status: int) -> None:
        super().__init__(status)
        self.status, self.sub_status = status, sub_status


class Pace:
    """How many requests may be in flight: halved by a throttled answer, raised by one after each hundred good ones.

    Those that have to wait stand in a line, and who leaves wakes the next one only: waking them all would cost
    time in the square of their number.
    """

    def __init__(self, most: int) -> None:
        self.most = self.now = most
        self._flying = 0
        self._good = 0
        self._line: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while self._flying >= self.now:
            turn = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # it may have been this one's turn
                raise
        self._flying += 1

    async def __aexit__(self, *_: object) -> None:
        self._flying -= 1
        self._wake()

    def _wake(self) -> None:
        room = self.now - self._flying
        while room > 0 and self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def throttled(self) -> None:
        self.now, self._good = max(1, self.now // 2), 0

    def good(self) -> None:
        self._good += 1
        if self._good >= 100 and self.now < self.most:
            self.now, self._good = self.now + 1, 0
            self._wake()


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all. If one fails, the others are given up before that is raised: nothing goes on behind its back."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class _Transport(AioHttpTransport):
    """Asks before it sends what writes: behind the tries of all layers, with the connection at hand."""

    def __init__(self, check: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._check = check

    async def open(self) -> None:
        fresh = self.session is None
        await super().open()
        if fresh and self.session is not None:
            trace = TraceConfig()
            # Despite their names both come before (https://docs.aiohttp.org/en/stable/tracing_reference.html): the one
            # before the headers, which alone are a delete; the other before each part of a body. What the second one
            # raises is taken for a cut connection, and then the next try is refused.
            trace.on_request_headers_sent.append(self._ask)
            trace.on_request_chunk_sent.append(self._ask)
            trace.freeze()
            self.session.trace_configs.append(trace)

    async def _ask(self, *_: Any) -> None:
        if _writing.get():
            self._check()


class Connection:
    """A private event loop, the SDK's client on it, and the metering of every answer.

    ``label`` is what messages call it: the connection id. ``retry_seconds``: how long one request is tried again
    before the run gives up, the SDK's own waiting for throttled ones included.

    ``guard`` is called before each try of a request to write, and once more at the very moment at which it is sent; it
    raises if that must not be. So a run that was suspended while a request waited (for its next try, the SDK's own
    included, or for a connection) does not send it when it is woken.
    """

    def __init__(self, account: Account, label: str, concurrency: int, retry_seconds: float) -> None:
        self.account, self.label, self.retry_seconds = account, label, retry_seconds
        self.charge = 0.0
        self.throttles = 0
        self.guard: Callable[[], None] | None = None
        self.answered: str | None = None
        """The header ``Date`` of the last answer: the server's clock."""
        self._account_id: str | None = None
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._client: CosmosClient | None = None
        self._tokens: Tokens | None = None
        self.pace = Pace(concurrency)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Made when it is needed first, and again after :meth:`close`."""
        if self._own_loop is None:
            self._own_loop = asyncio.new_event_loop()
        return self._own_loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end. Raises errors of the BackupSyncError tree, and CosmosError for a status.

        Where a signal's handler raises in the middle of it, it is given up: it must not go on when the loop runs again.
        """
        task = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(task)
        finally:
            if not task.done():
                self._end([task], cancel=True)

    def client(self) -> CosmosClient:
        if self._client is None:
            try:
                self._client = CosmosClient(
                    self.account.endpoint,
                    credential=self._credential(),
                    raw_response_hook=self._meter,
                    # Where no proxy is set, looking for one (and for ~/.netrc, in a thread) is a fifth of a request's cost.
                    transport=_Transport(self._check, use_env_settings=bool(getproxies())),
                    **{
                        "retry_throttle_backoff_max": min(30, self.retry_seconds),
                        # Escaped (\u6f22 for 漢) a document that the source holds could be too large for a request.
                        "enable_compact_utf8_item_writes": True,
                        **self.account.options,
                    },
                )
            except (ValueError, TypeError) as error:
                # Its text may quote the key.
                raise ConnectionMistake(
                    f"{self.label}: login (endpoint) or password (key) is malformed ({type(error).__name__})"
                ) from None
        return self._client

    def _credential(self) -> Any:
        key = self.account.key
        if isinstance(key, Identity):
            try:
                self._tokens = Tokens(key, self.label)
            except ValueError:
                raise ConnectionMistake(
                    f"{self.label}: azure-identity cannot take this worker's environment; correct AZURE_TOKEN_CREDENTIALS and "
                    "the other variables that begin with AZURE_"
                ) from None
            return self._tokens
        # The SDK finds out only when it signs the first request, and then as a bare ValueError.
        base64.b64decode(key, validate=True)
        return key

    def database(self) -> Any:
        return self.client().get_database_client(self.account.database)

    def container(self, name: str | None = None) -> Any:
        return self.database().get_container_client(name or self.account.container)

    @property
    def usage(self) -> Usage:
        return Usage(self.charge, self.throttles)

    def account_id(self) -> str | None:
        """What the account calls itself: ``id`` of the answer to GET /, which the SDK asks for before all else.

        An endpoint's name is no identity: one server has many. None: it does not say.
        """
        if self._account_id is None:
            self.run(self.call(self.client()._get_database_account))
            self._account_id = self._account_id or ""  # asked, without an answer
        return self._account_id or None

    def _check(self) -> None:
        if self.guard is not None:
            self.guard()

    def _meter(self, response: Any) -> None:
        """Sees every answer, also those 429s that the SDK waits out: charge, throttling, pace, clock."""
        answer = response.http_response
        self.answered = answer.headers.get("Date")
        if not self._account_id and answer.status_code == 200:
            self._account_id = _account_id(response.http_request, answer)
        self.charge += float(answer.headers.get("x-ms-request-charge") or 0)
        if answer.status_code == 429:
            self.throttles += 1
            self.pace.throttled()
        else:
            self.pace.good()

    async def call(self, request: Callable[[], Awaitable[T]], *, write: bool = False) -> T:
        """One paced request, tried again while trying again can help. ``write``: the guard is asked before each try.

        Only for requests that may be repeated: reads, upserts, deletes, and those whose caller looks what became of them
        when their answer was lost. Raises CosmosError for a status that is an answer (404, 409, 412, 413, 400), what the
        guard raises, and the tree's errors for all others. A token that was refused is replaced once.
        """
        _writing.set(write)  # of this task, and of those that the SDK makes for it
        deadline = math.inf
        wait = 0.1
        may_renew = isinstance(self.account.key, Identity)
        while True:
            try:
                async with self.pace:
                    # Standing in line is no fault of the service, so the clock starts with the first try.
                    deadline = min(deadline, time.monotonic() + self.retry_seconds)
                    if write:
                        self._check()
                    return await request()
            except (CosmosHttpResponseError, CosmosBatchOperationError) as error:
                status = int(error.status_code or 0)
                again = status == 401 and may_renew  # the SDK has dropped the token, and asks for another one
                may_renew = may_renew and not again
                if not (status in PASSING or again) or time.monotonic() + wait > deadline:
                    raise self._refused(status, error) from None
                pause = float((error.headers or {}).get("x-ms-retry-after-ms") or 0) / 1000
            except CUT as error:
                if isinstance(getattr(error, "inner_exception", None), ClientConnectorCertificateError):
                    raise ConnectionMistake(
                        f"{self.label}: the certificate of Cosmos DB's endpoint is not trusted; correct the endpoint, or the "
                        "certificates that this machine trusts"
                    ) from None
                if time.monotonic() + wait > deadline:
                    raise RetriableError(
                        f"{self.label}: cannot reach Cosmos DB at {self.account.address}, or the connection was cut "
                        f"({type(error).__name__})"
                    ) from None
                pause = 0.0
            except NoToken as error:
                if not isinstance(error.problem, RetriableError) or time.monotonic() + wait > deadline:
                    raise error.problem from None
                pause = 0.0
            except AzureError as error:
                raise FatalError(f"{self.label}: the Cosmos client reports {type(error).__name__}") from None
            await asyncio.sleep(max(pause, wait * random.uniform(0.5, 1.0)))
            wait = min(wait * 2, 10.0)

    async def answer(self, request: Callable[[], Awaitable[T]]) -> T:
        """A request to read the container for which every status but success is a fault."""
        try:
            return await self.call(request)
        except CosmosError as error:
            raise self.unexpected(error, f"reading container {self.account.container}") from None

    def unexpected(self, error: CosmosError, doing: str) -> FatalError:
        """The fault that a status is where it has no meaning."""
        return FatalError(f"{self.label}: Cosmos DB answered {error.status} (sub-status {error.sub_status}) on {doing}")

    def _refused(self, status: int, error: Exception) -> Exception:
        sub_status = int(getattr(error, "sub_status", 0) or 0)
        found = refusal(
            self.label,
            status,
            sub_status,
            tokens=isinstance(self.account.key, Identity),
            container=self.account.container,
            retry_seconds=self.retry_seconds,
        )
        return found or CosmosError(status, sub_status)

    def close(self) -> None:
        """Give up what is still under way, and the connections. Waits CLOSE_SECONDS for that at most, three times."""
        loop = self._own_loop
        if (loop is None and self._client is None) or (loop is not None and loop.is_running()):
            return  # running: a thread that was left behind is in it, and closes nothing that is not its own
        open_ = [one for one in (self._client, self._tokens) if one is not None]
        self._client = self._tokens = None
        try:
            self._end([self._loop.create_task(one.close()) for one in open_])
            self._end(asyncio.all_tasks(self._loop), cancel=True)
            self._end([self._loop.create_task(self._loop.shutdown_asyncgens())])
            # A connection by TLS that was given up is closed a few turns of the loop later.
            self._end([self._loop.create_task(asyncio.sleep(0.01))])
        finally:
            self._loop.close()
            self._own_loop = None

    def _end(self, tasks: Collection[asyncio.Future[Any]], *, cancel: bool = False) -> None:
        if not tasks:
            return
        for task in tasks:
            if cancel:
                task.cancel()
        done, late = self._loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_SECONDS))
        failed = [one for one in done if not one.cancelled() and one.exception() is not None]
        if late or failed:
            log.warning("%s: the connection to Cosmos DB could not be closed in an orderly way", self.label)


def _account_id(request: Any, answer: Any) -> str | None:
    """``id`` of the answer to GET / (https://learn.microsoft.com/rest/api/cosmos-db/get-database-account); else None."""
    if request.method != "GET" or urlsplit(request.url).path.strip("/"):
        return None
    try:
        found = json.loads(answer.text())
    except ValueError:
        return None
    said = found.get("id") if isinstance(found, dict) else None
    return said if isinstance(said, str) else None

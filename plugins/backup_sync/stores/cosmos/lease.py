"""The lease that keeps runs apart: a document beside the history that says who writes a copy, and until when.

It belongs to the *container* of the copy, as SQL's lock belongs to the table: its partition is ``lease:<container>``,
whatever the services are called that write there. It expires, so a killed run holds up the next one for no
longer than ``Limits.lease_seconds``; a thread renews it while the run lives.

Two rules keep it honest, and neither compares the clocks of two workers:

- *Whether somebody else's lease has expired is for the server's clock to say*: it stamped the document when it was
  written (``_ts``), and its answer says what time it has now (``Date``).
- *Whether one's own still holds is for the age of the last confirmed renewal to say*, counted from before that renewal
  was sent, and asked before each try of each request to write. What was sent in time may still arrive late, so nothing
  is sent in the last part of a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core import MatchConditions

from backup_sync.model.errors import BackupSyncError, LockHeld, RetriableError
from backup_sync.model.moments import iso, utc_now
from backup_sync.model.result import SyncResult
from backup_sync.stores.cosmos.account import Connection, CosmosError
from backup_sync.stores.cosmos.history import found_in, missing, replace_if

log = logging.getLogger(__name__)

ID = "lease"

MARGIN_SECONDS = 5.0
"""Before its lease ends a run stops writing by so much, or by a tenth of the lease if that is less."""

RELEASE_SECONDS = 15.0
"""How long a run tries to give its lease back before it leaves it to expire."""

MOST_UNSEEN = 5
"""How often a lease that is there and cannot be seen is looked for, whatever the time to wait for it."""

STEP_SECONDS = 1.0
"""``_ts`` and ``Date`` count whole seconds."""


@dataclass(frozen=True)
class Instant:
    """A moment by every clock of this machine that may tell how long it is ago.

    The monotonic clock may stand still while a machine sleeps, CLOCK_BOOTTIME is Linux's own, and the wall clock can be
    set: the one by which most time has passed is believed.
    """

    clocks: tuple[float, ...]

    @classmethod
    def now(cls) -> Instant:
        boot = (time.clock_gettime(time.CLOCK_BOOTTIME),) if hasattr(time, "CLOCK_BOOTTIME") else ()
        return cls((time.monotonic(), time.time(), *boot))

    def age(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, *(now - then for now, then in zip(Instant.now().clocks, self.clocks, strict=True)))


class Lease:
    """See :class:`backup_sync.stores.base.Lock`. ``history``: the container it lies in; ``container``: the copy's;
    ``seconds``: how long it holds unless it is renewed."""

    def __init__(self, connection: Connection, history: str, container: str, service: str, seconds: float) -> None:
        self._connection, self._container, self._service = connection, container, service
        self._seconds = seconds
        self._document = _LeaseDocument(history, container)
        self._keeper: _Keeper | None = None

    @contextmanager
    def hold(self, run: SyncResult, wait_seconds: float) -> Iterator[Callable[[], None]]:
        """Hold the lease for a run: meanwhile the connection writes only while it holds.

        Raises LockHeld, saying who has it, when the wait is over; FatalError if the history container is missing.
        """
        self._document.describe(run, self._service, self._seconds)
        etag, sent = self._acquire(time.monotonic() + wait_seconds, wait_seconds)
        self._keeper = _Keeper(self._connection, self._document, etag, sent)
        self._keeper.start()
        self._connection.guard = self.check
        try:
            yield self.check
        finally:
            keeper, self._keeper = self._keeper, None
            self._connection.guard = None
            keeper.end()
            self._release(keeper.etag)

    def check(self) -> None:
        """Raise RetriableError if the lease does not hold any more, or not for long: another run may be writing."""
        if self._keeper is not None and not self._keeper.holds():
            raise RetriableError(
                f"{self._connection.label}: lost the lease on the backup of {self._service} (it could not be renewed in time)"
            )

    def _acquire(self, deadline: float, wait_seconds: float) -> tuple[str, Instant]:
        watched, since, unseen = "", time.monotonic(), 0
        while True:
            taken = self._do(self._document.create(self._connection))
            if taken is not None:
                return taken
            held = self._do(self._document.read(self._connection))
            if held is None:  # it was given back just now, or a replica does not know of it yet
                unseen += 1
                if unseen < MOST_UNSEEN or time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                held = {}
            elif held["_etag"] != watched:
                watched, since = held["_etag"], time.monotonic()
            ours = self._document.is_ours(held)
            # Ours after all: only the answer had been lost. It is renewed at once, so that its age is known.
            if ours or (held and _expired(held, self._connection.answered, time.monotonic() - since, self._seconds)):
                taken = self._do(self._document.replace(self._connection, watched))
                if taken is not None:
                    if not ours:
                        log.info(
                            "%s: took over the lease of run %s, which had expired",
                            self._connection.label,
                            held.get("holder"),
                        )
                    return taken
            if time.monotonic() >= deadline:
                raise self._held(held, wait_seconds)
            time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))

    def _held(self, lease: dict[str, Any], wait_seconds: float) -> LockHeld:
        other = lease.get("service")
        by = f"run {lease.get('holder')}" + (f" of service {other}" if other and other != self._service else "")
        return LockHeld(
            f"{self._connection.label}: the backup of {self._service} is being written by {by} "
            f"since {lease.get('since')}; waited {wait_seconds:.0f} s for it to end"
        )

    def _release(self, etag: str) -> None:
        """Give the lease back, if it is still ours; where that fails it expires."""
        try:
            self._connection.run(asyncio.wait_for(self._document.delete(self._connection, etag), RELEASE_SECONDS))
        except (CosmosError, BackupSyncError, asyncio.TimeoutError):
            log.warning("%s: could not give back the lease; it expires by itself", self._connection.label)

    def _do(self, work: Any) -> Any:
        try:
            return self._connection.run(work)
        except CosmosError as error:
            raise missing(self._connection, self._document.history, error) from None


class _LeaseDocument:
    """The requests about the one document. None: refused, because it is not (or no longer) as it was thought to be."""

    def __init__(self, history: str, container: str) -> None:
        self.history, self.partition = history, f"lease:{container}"
        self.seconds = 0.0
        self._token = ""
        self._body: dict[str, Any] = {}

    def describe(self, run: SyncResult, service: str, seconds: float) -> None:
        """Who is to hold it, and how long it holds from each time that it is written."""
        self.seconds, self._token = seconds, uuid.uuid4().hex
        self._body = {
            "id": ID,
            "serviceName": self.partition,
            "service": service,
            "holder": run.run_id,
            "since": iso(utc_now()),
            "seconds": seconds,
            "token": self._token,
        }

    def is_ours(self, document: dict[str, Any]) -> bool:
        return bool(document.get("token") == self._token)

    async def create(self, connection: Connection) -> tuple[str, Instant] | None:
        container = connection.container(self.history)
        return await self._write(connection, lambda: container.create_item(self._now()), but=(409,))

    async def replace(self, connection: Connection, etag: str) -> tuple[str, Instant] | None:
        container = connection.container(self.history)
        return await self._write(connection, lambda: replace_if(container, self._now(), etag), but=(404, 412))

    async def read(self, connection: Connection) -> dict[str, Any] | None:
        found = await found_in(connection, self.history, self.partition, "c.id = @id", {"@id": ID})
        return found[0] if found else None

    async def delete(self, connection: Connection, etag: str) -> None:
        """Remove the document if it is ours. Where an answer was lost, its etag is not the one that we know."""
        container = connection.container(self.history)

        def request() -> Awaitable[Any]:
            return container.delete_item(
                ID, partition_key=self.partition, etag=etag, match_condition=MatchConditions.IfNotModified
            )

        while True:
            try:
                await connection.call(request)
                return
            except CosmosError as error:
                if error.status == 404:
                    return
                if error.status != 412:
                    raise
            found = await self.read(connection)
            if found is None or not self.is_ours(found) or found["_etag"] == etag:
                return
            etag = found["_etag"]

    def _now(self) -> dict[str, Any]:
        # ``until`` is for people: by this worker's clock, and never compared.
        return self._body | {"until": iso(utc_now() + timedelta(seconds=self.seconds))}

    async def _write(
        self, connection: Connection, request: Callable[[], Awaitable[Any]], but: tuple[int, ...]
    ) -> tuple[str, Instant] | None:
        """The document's new etag, and the moment before the try was sent that succeeded."""
        sent = Instant.now()

        async def one() -> Any:
            nonlocal sent
            sent = Instant.now()
            return await request()

        try:
            answer = await connection.call(one)
        except CosmosError as error:
            if error.status in but:
                return None
            raise
        return str(answer["_etag"]), sent


class _Keeper(threading.Thread):
    """Renews the lease on a second connection, since the loop of the first is busy with the run."""

    def __init__(self, connection: Connection, document: _LeaseDocument, etag: str, sent: Instant) -> None:
        super().__init__(name="backup_sync-lease", daemon=True)
        self._account, self._where, self._document = connection.account, connection.label, document
        self.etag, self._renewed = etag, sent
        self._lost = False
        self._told: type[BaseException] | None = None
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None

    def holds(self) -> bool:
        """By what the server confirmed, and not by whether this thread lives."""
        seconds = self._document.seconds
        return not self._lost and self._renewed.age() < seconds - min(MARGIN_SECONDS, seconds / 10)

    def end(self) -> None:
        """Stop renewing. Waits for the thread a little; what it has under way cannot set the lease up again."""
        self._ending.set()
        loop, work = self._loop, self._work
        if loop is not None and work is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already, and closed its loop
                loop.call_soon_threadsafe(work.cancel)
        self.join(MARGIN_SECONDS)

    def run(self) -> None:
        try:
            with contextlib.closing(
                Connection(self._account, self._where, 1, retry_seconds=self._document.seconds / 4)
            ) as connection:
                connection.run(self._keep(connection))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._failed(error)
        if not self._ending.is_set():
            self._lost = True
            log.error("%s: lost the lease; this run stops before it writes again", self._where)

    async def _keep(self, connection: Connection) -> None:
        """Renew until asked to end; returns when the lease is lost."""
        self._loop, self._work = asyncio.get_running_loop(), asyncio.current_task()
        seconds = self._document.seconds
        due = seconds / 3
        pause = max(0.0, due - self._renewed.age())
        while not self._ending.is_set():
            await asyncio.sleep(pause)
            if self._renewed.age() > seconds:
                return
            try:
                written = await self._document.replace(connection, self.etag)
                if written is not None:
                    self.etag, self._renewed = written
                    pause = max(0.0, due - self._renewed.age())
                    continue
                # Refused, perhaps because an earlier try had been done and only its answer was lost.
                found = await self._document.read(connection)
                if found is None or not self._document.is_ours(found):
                    return
                pause = 0.0 if found["_etag"] != self.etag else seconds / 20
                self.etag = found["_etag"]
            except Exception as error:
                self._failed(error)
                pause = seconds / 20

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, BackupSyncError):
            log.warning("%s; the lease could not be renewed", error)
        elif isinstance(error, CosmosError):
            log.warning("%s: Cosmos DB answered %s; the lease could not be renewed", self._where, error.status)
        elif type(error) is self._told:
            log.warning("%s: %s again; the lease could not be renewed", self._where, type(error).__name__)
        else:  # its text may quote what it should not
            self._told = type(error)
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "%s: unexpected %s in renewing the lease; it came from here:\n%s",
                self._where,
                type(error).__name__,
                frames,
            )


def _expired(lease: dict[str, Any], answered: str | None, watched: float, seconds: float) -> bool:
    """Whether a lease is over. ``answered``: the header ``Date`` of the answer that brought it; ``watched``: for how many
    seconds we have seen it unchanged, which decides where the server does not say what time it has; ``seconds``: how long
    it holds where it does not say so."""
    written = lease.get("_ts")
    if isinstance(lease.get("seconds"), (int, float)):
        seconds = lease["seconds"]
    now = _moment(answered)
    age = watched if now is None or not isinstance(written, int) else now - written
    return age > seconds + STEP_SECONDS


def _moment(date: str | None) -> float | None:
    """The header ``Date`` (RFC 9110, 6.6.1) as seconds since 1970; None if there is none that can be read."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return None

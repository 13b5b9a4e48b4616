"""Faults on order: throttling, failures, delays and cut connections; and what has been counted so far."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .errors import CosmosError


@dataclass
class Rule:
    """A fault for some of the requests: the first `after` of those that match go through, the next `count` do not."""

    kind: str
    count: int = 1
    after: int = 0
    status: int = 503
    sub_status: int | None = None
    retry_after_ms: int | None = None
    method: str | None = None
    path_contains: str | None = None
    operation: str | None = None

    def matches(self, method: str, path: str, operation: str) -> bool:
        """Whether the request is of the kind meant; without conditions, any request about documents is."""
        if self.method and self.method.upper() != method:
            return False
        if self.operation and self.operation != operation:
            return False
        if self.path_contains is None:
            return "/docs" in path
        return self.path_contains in path


@dataclass
class Faults:
    """The faults in force and the counters.

    ``emulator``: do as the vNext emulator is known to do: read a whole partition whatever slice of it is asked about,
    and charge nothing.
    """

    throughput: float | None = None
    rules: list[Rule] = field(default_factory=list)
    delay_ms: float = 0.0
    emulator: bool = False
    tokens: float = 0.0
    refilled: float = field(default_factory=time.monotonic)
    slot: float = 0.0
    typical: float = 5.0
    requests: Counter[str] = field(default_factory=Counter)
    charge: float = 0.0
    throttled: int = 0
    bodies: int = 0

    def set_throughput(self, units: float | None) -> None:
        """Request units per second from now on; None: no limit."""
        self.throughput = units
        self.tokens = units or 0.0
        self.refilled = time.monotonic()

    def reset(self) -> None:
        """No faults and no limit any more."""
        self.rules.clear()
        self.delay_ms = 0.0
        self.emulator = False
        self.set_throughput(None)

    def due(self, method: str, path: str, operation: str) -> Rule | None:
        """The fault for this request, counted down."""
        for rule in list(self.rules):
            if not rule.matches(method, path, operation):
                continue
            if rule.after > 0:
                rule.after -= 1
                continue
            rule.count -= 1
            if rule.count <= 0:
                self.rules.remove(rule)
            return rule
        return None

    def admit(self) -> None:
        """429 if the request units of this second are spent."""
        if self.throughput is None:
            return
        now = time.monotonic()
        self.tokens = min(self.throughput, self.tokens + (now - self.refilled) * self.throughput)
        self.refilled = now
        if self.tokens <= 0:
            self.throttled += 1
            soonest = now + (1 - self.tokens) / self.throughput
            # Clients told the same time would come back together, and all but one in vain: each gets its own.
            self.slot = min(max(soonest, self.slot + self.typical / self.throughput), soonest + 1)
            wait = max(1, math.ceil((self.slot - now) * 1000))
            raise CosmosError(429, "Request rate is large. More Request Units may be needed.", 3200, wait)

    def spend(self, charge: float, limited: bool) -> None:
        """Count a request's charge, and take it off the limit: a large request may put that below zero."""
        self.charge += charge
        if limited and charge:
            self.tokens -= charge
            self.typical += (charge - self.typical) / 10

    def stats(self) -> dict[str, Any]:
        """What has been counted since the start or the last reset."""
        return {
            "requests": dict(self.requests),
            "request_charge": round(self.charge, 2),
            "throttled": self.throttled,
            "documents_read": self.bodies,
        }

    def reset_stats(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.charge, self.throttled, self.bodies = 0.0, 0, 0

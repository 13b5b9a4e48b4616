"""python -m tests.reliability.soak: the machine of machine.py with new seeds, for as long as wanted.

SOAK_SECONDS (600) says how long; SOAK_SEED tries one seed again, to its end; SOAK_STORE=cosmos takes two embedded Cosmos servers
in place of SQLite. Ends with 1 if a promise was broken.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from local.cosmos import EmbeddedCosmos
from tests.reliability.machine import IN_MEMORY, tally
from tests.reliability.recovery import ContentRecovery, CosmosRecovery, Recovery, TextRecovery

SETTINGS = settings(
    max_examples=10,
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


class Over(BaseException):
    """The time is up. No Exception, so that Hypothesis does not take it for a broken promise."""


class Timed(Recovery):
    """Ends in the middle of a round when the time is up; not while a broken promise is made small and told."""

    until = float("inf")
    broken = False

    @invariant()
    def there_is_time(self) -> None:
        if time.monotonic() > self.until and not self.broken:
            raise Over

    def teardown(self) -> None:
        problem = sys.exc_info()[1]
        if isinstance(problem, Exception) and not type(problem).__module__.startswith("hypothesis"):
            type(self).broken = True
        super().teardown()


def main() -> int:
    with ExitStack() as held:
        if os.environ.get("SOAK_STORE") != "cosmos":
            return soak([Recovery, Recovery, TextRecovery, ContentRecovery])
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY)))
        servers = [held.enter_context(EmbeddedCosmos(folder / f"{end}.sqlite")) for end in ("source", "backup")]
        ends = [(server.endpoint, server.key) for server in servers]
        return soak([type("Cosmos", (CosmosRecovery,), {"ends": ends})])


def soak(kinds: Sequence[type[Recovery]]) -> int:
    """Machines of these kinds in turn, as their seeds choose."""
    until = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "600"))
    only = os.environ.get("SOAK_SEED")
    violations: list[int] = []
    while True:
        number = int(only) if only else random.SystemRandom().randrange(2**32)
        try:
            machine = type("Seeded", (Timed, kinds[number % len(kinds)]), {"until": float("inf") if only else until})
            run_state_machine_as_test(seed(number)(machine), settings=SETTINGS)
        except Over:
            break
        except Exception:
            violations.append(number)
            traceback.print_exc()
            print(f"A promise was broken. Once more: SOAK_SEED={number} make soak", flush=True)
        if only or time.monotonic() > until:
            break
    crashes = ", ".join(f"{name[6:]} {count}" for name, count in sorted(tally.items()) if name.startswith("crash "))
    print(f"{tally['steps']} steps, {tally['attempts']} attempts, {tally['second writers']} second writers, ", end="")
    print(f"{tally['other sources']} other sources, {tally['restore points']} restore points looked at")
    print(
        f"{tally['restores']} restores ({tally['undone restores']} undone, {tally['crashes in restores']} crashed), ",
        end="",
    )
    print(f"{tally['verifies']} verifies, {tally['drills']} drills, {tally['columns']} columns added or dropped")
    print(f"{tally['crashes']} crashes ({crashes})")
    print(f"{len(violations)} violations{': seeds ' + ', '.join(map(str, violations)) if violations else ''}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

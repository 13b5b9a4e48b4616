"""``make bench``: the workloads on every store at hand, as ratios against floors of the same run.

W1 first load · W2 nothing changed · W3 1 % updated, ½ % inserted, ½ % deleted, spread uniformly · W4 the same changes
among the newest keys. Each figure is the median of BENCH_RUNS runs (3), each in a process of its own; after each
engine run both sides are compared in full content by the bare driver.

Environment: BENCH_N (100000), BENCH_COSMOS_N (20000 at most by default), BENCH_RUNS, BENCH_STORES (sqlite,cosmos,mssql),
BENCH_BASELINE (1), BENCH_DELAY (10, milliseconds added to each Cosmos request in the delayed part), and the two
servers of BACKUP_SYNC_TEST_MSSQL_SOURCE / _BACKUP.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.rigs import Rig, build, mssql_uris

N = int(os.environ.get("BENCH_N", "100000"))
COSMOS_N = int(os.environ.get("BENCH_COSMOS_N", str(min(N, 20_000))))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
STORES = os.environ.get("BENCH_STORES", "sqlite,cosmos,mssql").split(",")
BASELINE = os.environ.get("BENCH_BASELINE", "1") == "1"
DELAY = float(os.environ.get("BENCH_DELAY", "10"))

LINE = "{:<28} {:<36} {:>9} {:>9} {:>9} {:>8} {:>11}"


class Bench:
    """One rig: seeds it, runs the workloads in children, prints a line for each figure."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.rig: Rig = build(description)
        self.found: dict[str, float] = {}

    def child(self, action: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "bench.child", json.dumps(self.description), action]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{self.rig.name}, {action}: {done.stderr[-2000:]}")
        lines = done.stdout.strip().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def report(self, name: str, runs: list[dict[str, Any]]) -> float:
        seconds = statistics.median(run["seconds"] for run in runs)
        cpu = statistics.median(run["cpu"] for run in runs)
        rss = statistics.median(run["rss"] for run in runs)
        spread = f"{min(run['seconds'] for run in runs):.2f}–{max(run['seconds'] for run in runs):.2f}"
        rate = f"{self.rig.n / seconds:,.0f}"
        print(LINE.format(self.rig.name, name, f"{seconds:.3f}", spread, f"{cpu:.3f}", f"{rss:.0f}", rate), flush=True)
        self.found[name] = seconds
        return seconds

    def engine(self, name: str, prepare: str, runs: int = RUNS) -> None:
        results = []
        for _ in range(runs):
            expected = self.set_up(prepare)
            result = self.child("engine")
            if tuple(result["counts"]) != expected:
                sys.exit(f"{self.rig.name}, {name}: counted {result['counts']}, expected {expected}")
            if not self.rig.equal():
                sys.exit(f"{self.rig.name}, {name}: the two sides differ after the run")
            results.append(result)
        self.report(f"{name} engine", results)

    def set_up(self, prepare: str) -> tuple[int, int, int]:
        if prepare == "empty":
            self.rig.reset_backup()
            self.child("prepare")
            return len(self.rig.ids()), 0, 0
        if prepare == "same":
            return 0, 0, 0
        return self.rig.changes(prepare)

    def baseline(self, name: str, prepare: str) -> None:
        results = []
        for _ in range(RUNS if prepare == "same" else 1):
            self.set_up(prepare)
            results.append(self.child("baseline"))
        self.report(f"{name} baseline", results)

    def floor(self, name: str, runs: int = RUNS) -> None:
        self.report(name, [self.child(name) for _ in range(runs)])

    def ratio(self, what: str, over: str, under: str, target: str, met: bool) -> None:
        print(
            f"  {self.rig.name}: {what}: {self.found[over] / self.found[under]:.2f} (target {target}) {'met' if met else 'MISSED'}"
        )

    def at_most(self, what: str, over: str, under: str, limit: float) -> None:
        self.ratio(what, over, under, f"≤ {limit}", self.found[over] / self.found[under] <= limit)

    def at_least(self, what: str, over: str, under: str, limit: float) -> None:
        self.ratio(what, over, under, f"≥ {limit}", self.found[over] / self.found[under] >= limit)


def workloads(bench: Bench, *, newest: bool = True) -> None:
    bench.rig.seed()
    floors = list(bench.rig.floors())
    bench.engine("W1", "empty")
    for floor in floors:
        bench.floor(floor)
    bench.engine("W2", "same")
    bench.engine("W3", "uniform")
    if newest:
        bench.engine("W4", "newest")
    if BASELINE:
        # Last, because the baseline's driver rounds what it writes: the two sides are not equal after it.
        bench.baseline("W2", "same")
        bench.baseline("W3", "uniform")


def sql_rig(bench: Bench, limits: tuple[float, float]) -> None:
    workloads(bench)
    load, unchanged = list(bench.rig.floors())
    large = bench.rig.n >= 1_000_000
    bench.at_most("W1 ÷ floor", "W1 engine", load, limits[0])
    bench.at_most("W2 ÷ floor", "W2 engine", unchanged, limits[1])
    if bench.rig.name == "sqlite":
        bench.at_most("W3 ÷ W2", "W3 engine", "W2 engine", 2.5)
    elif BASELINE:
        bench.at_least("W2: baseline ÷ engine", "W2 baseline", "W2 engine", 25 if large else 8)
        bench.at_least("W3: baseline ÷ engine", "W3 baseline", "W3 engine", 15 if large else 4)
    if large:
        bench.at_most("W4 ÷ W3", "W4 engine", "W3 engine", 0.9)


def cosmos_rig(bench: Bench, servers: tuple[Any, Any], per_customer: int) -> None:
    workloads(bench, newest=False)
    load, unchanged = list(bench.rig.floors())
    bench.at_least("W1: floor ÷ engine", load, "W1 engine", 5 if per_customer >= 100 else 1)
    bench.at_most("W2 ÷ floor", "W2 engine", unchanged, 1.2)
    if BASELINE:
        bench.at_least("W3: baseline ÷ engine", "W3 baseline", "W3 engine", 2)
    if DELAY and per_customer < 100:
        for server in servers:
            server.delay(DELAY)
        print(f"  now with {DELAY:.0f} ms added to every request")
        bench.floor(load, runs=1)
        bench.engine("W1", "empty", runs=1)
        bench.at_least("W1: floor ÷ engine", load, "W1 engine", 8)
        if BASELINE:
            bench.engine("W3", "uniform", runs=1)
            bench.baseline("W3", "uniform")
            bench.at_least("W3: baseline ÷ engine", "W3 baseline", "W3 engine", 5)
        for server in servers:
            server.reset_faults()


@contextmanager
def cosmos_pair(folder: Path) -> Iterator[tuple[Any, Any]]:
    from local.cosmos import EmbeddedCosmos

    with EmbeddedCosmos(folder / "s.sqlite") as source, EmbeddedCosmos(folder / "b.sqlite") as backup:
        yield source, backup


def main() -> None:
    model = "unknown processor"
    try:
        model = (
            next(x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x).split(":")[1].strip()
        )
    except (OSError, StopIteration):
        pass
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {model}, Python {platform.python_version()}"
    )
    print(
        f"N = {N:,} (Cosmos {COSMOS_N:,}), median of {RUNS}; seconds, CPU seconds of the process, MB above idle, records/s\n"
    )
    print(LINE.format("store", "what", "seconds", "range", "CPU", "MB", "records/s"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in STORES:
            sql_rig(Bench({"kind": "sqlite", "n": N, "folder": name}), (1.5, 2.0))
        uris = mssql_uris()
        if "mssql" in STORES and uris:
            sql_rig(Bench({"kind": "mssql", "n": N, "source": uris[0], "backup": uris[1]}), (1.7, 1.5))
        elif "mssql" in STORES:
            print("mssql: skipped; name two servers in BACKUP_SYNC_TEST_MSSQL_SOURCE and _BACKUP")
        if "cosmos" in STORES:
            with cosmos_pair(folder) as servers:
                for per_customer in (1, 100):
                    ends = {"source": servers[0].endpoint, "backup": servers[1].endpoint, "key": servers[0].key}
                    description = {"kind": "cosmos", "n": COSMOS_N, "per_customer": per_customer, **ends}
                    cosmos_rig(Bench(description), servers, per_customer)


if __name__ == "__main__":
    main()

"""``make bench``: the workloads on every store at hand, as ratios against floors of the same run.

W1 first load · W2 nothing changed · W3 1 % updated, ½ % inserted, ½ % deleted, spread uniformly · W4 the same changes
among the newest keys. Each figure is the median of BENCH_RUNS runs (3), each in its own process; after each
engine run both sides are compared in full content by the bare driver.

Environment: BENCH_N (100000; several sizes, as in 100000,1000000, are compared with each other as well),
BENCH_COSMOS_N (20000), BENCH_RUNS, BENCH_STORES (sqlite,cosmos,mssql), BENCH_BASELINE (1), BENCH_DELAY (10,
milliseconds added to each Cosmos request in the delayed part), and the two servers of
BACKUP_SYNC_TEST_MSSQL_SOURCE / _BACKUP.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import cosmos, mssql, parse
from bench import targets as judges
from bench.runner import Bench


def sizes(name: str, default: str) -> list[int]:
    return [int(text) for text in os.environ.get(name, default).split(",")]


def main() -> None:
    stores = os.environ.get("BENCH_STORES", "sqlite,cosmos,mssql").split(",")
    runs = int(os.environ.get("BENCH_RUNS", "3"))
    baseline = os.environ.get("BENCH_BASELINE", "1") == "1"
    print(f"{machine()}\nMedians of {runs}: seconds, CPU seconds of the process, MB above an idle interpreter.")
    targets = [parse.measure(runs)]

    def measure(
        descriptions: Iterator[dict[str, Any]] | list[dict[str, Any]], judge: Callable[[Bench], None], growth: float
    ) -> None:
        done: list[Bench] = []
        for description in descriptions:
            bench = Bench(description, runs=runs, baseline=baseline)
            judge(bench)
            if done:
                bench.grown_from(done[0], growth)
            done.append(bench)
            targets.extend(bench.targets)

    with tempfile.TemporaryDirectory() as folder:
        if "sqlite" in stores:
            kind: dict[str, Any] = {"kind": "sqlite", "folder": folder}
            measure([kind | {"n": n} for n in sizes("BENCH_N", "100000")], judges.of_sqlite, 11)
        if "mssql" in stores:
            uris = mssql.uris()
            if uris:
                kind = {"kind": "mssql", "source": uris[0], "backup": uris[1]}
                measure([kind | {"n": n} for n in sizes("BENCH_N", "100000")], judges.of_mssql, 11)
            else:
                print("\nmssql: skipped; name two servers in BACKUP_SYNC_TEST_MSSQL_SOURCE and _BACKUP")
        if "cosmos" in stores:
            delay = float(os.environ.get("BENCH_DELAY", "10"))
            for per_customer in (1, 100):
                with cosmos.pair(Path(folder)) as servers:
                    ends = {"source": servers[0].endpoint, "backup": servers[1].endpoint, "key": servers[0].key}
                    kind = {"kind": "cosmos", "per_customer": per_customer, **ends}
                    measure(
                        [kind | {"n": n} for n in sizes("BENCH_COSMOS_N", "20000")],
                        lambda bench, servers=servers: judges.of_cosmos(bench, servers, delay),  # type: ignore[misc]
                        5.5,
                    )
    print("\n### Targets\n\n| store | what | ratio | target | |\n|---|---|---|---|---|")
    print("\n".join(targets))


def machine() -> str:
    model = "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines if "model name" in line).split(":")[1].strip()
    except (OSError, StopIteration):
        pass
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {model}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()

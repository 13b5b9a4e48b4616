"""Runs the workloads on one rig, keeps the figures, and prints them as tables that can go into a document."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from backup_sync.model.limits import Limits
from bench.child import build

RUNS_OF_A_SLOW_BASELINE = 1


@dataclass(frozen=True)
class Figure:
    """Medians of the runs of one action: seconds on the clock and on the processor, MB above idle."""

    seconds: float
    cpu: float
    rss: float


class Bench:
    """One rig. ``runs``: how often each action is measured; ``baseline``: whether the plain way is measured too."""

    def __init__(self, description: dict[str, Any], *, runs: int, baseline: bool) -> None:
        self.description = description
        self.rig = build(description)
        self.runs, self.with_baseline = runs, baseline
        self.found: dict[str, Figure] = {}
        self.targets: list[str] = []
        print(f"\n### {self.title}\n\n| what | seconds | range | CPU | MB | records/s |\n|---|---|---|---|---|---|")

    @property
    def title(self) -> str:
        return f"{self.rig.name}, {self.rig.n:,} records"

    # measuring

    def child(self, action: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "bench.child", json.dumps(self.description), action]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{self.title}, {action}: {done.stderr[-2000:]}")
        lines = done.stdout.strip().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def report(self, name: str, runs: list[dict[str, Any]]) -> None:
        def median(field: str) -> float:
            return statistics.median(run[field] for run in runs)

        figure = Figure(median("seconds"), median("cpu"), median("rss"))
        low, high = (pick(run["seconds"] for run in runs) for pick in (min, max))
        print(
            f"| {name} | {figure.seconds:.3f} | {low:.3f}–{high:.3f} | {figure.cpu:.3f} | {figure.rss:.0f} "
            f"| {self.rig.n / figure.seconds:,.0f} |",
            flush=True,
        )
        self.found[name] = figure

    def engine(self, name: str, prepare: str, runs: int | None = None) -> list[dict[str, Any]]:
        """Measure the engine. After each run its counts are checked, and both sides are compared in full content."""
        results = []
        for _ in range(runs or self.runs):
            expected = self.set_up(prepare)
            result = self.child("engine")
            if tuple(result["counts"]) != expected:
                sys.exit(f"{self.title}, {name}: counted {result['counts']}, expected {expected}")
            if not self.rig.equal():
                sys.exit(f"{self.title}, {name}: the two sides differ after the run")
            results.append(result)
        self.report(f"{name} engine", results)
        return results

    def set_up(self, prepare: str) -> tuple[int, int, int]:
        """Make the changes of a workload; (inserts, updates, deletes) to expect of the run."""
        if prepare == "empty":
            self.rig.reset_backup()
            self.child("prepare")
            return len(self.rig.ids()), 0, 0
        if prepare == "same":
            return 0, 0, 0
        return self.rig.changes(prepare)

    def first_load(self, load: str, unchanged: str) -> None:
        """Fill the source, measure W1, and the two floors."""
        self.rig.seed()
        self.engine("W1", "empty")
        self.floor(load)
        self.floor(unchanged)

    def workloads(self, load: str, unchanged: str) -> None:
        """All workloads, and the baseline where it can be waited for."""
        self.first_load(load, unchanged)
        self.engine("W2", "same")
        self.engine("W3", "uniform")
        self.engine("W4", "newest")
        self.with_history()
        # Last, because the baseline's driver may round what it writes: the two sides are not equal after it.
        self.baseline("W2", "same")
        self.baseline("W3", "uniform")

    def with_history(self) -> None:
        """The same once more, and what is replaced is kept."""
        without = self.description
        self.description = {**without, "keep": "30d"}
        self.child("prepare")
        self.engine("W2 with history", "same")
        self.engine("W3 with history", "uniform")
        self.description = without

    def verify(self, limit: float | None) -> None:
        """Measure a verify of everything, nothing of which differs, against one read of one side."""
        floor, name = "one read of all of one side", "verify engine"
        self.report(floor, [self.child("read") for _ in range(self.runs)])
        self.report(name, [self.child("verify") for _ in range(self.runs)])
        if limit is not None:
            self.at_most("verify ÷ floor", name, floor, limit)

    def restore(self, limit: float, from_nothing: float) -> None:
        """Measure how what W3 changes is brought back, and everything into an empty place: with the plan, which is made twice, the
        restore log, and the check."""
        results = []
        for _ in range(self.runs):
            inserted, updated, deleted = self.rig.changes("uniform")
            results.append(self._restored("restore", (deleted, updated, inserted)))
        self.report("restore of W3 engine", results)
        empty = [self._restored("restore into nothing", (len(self.rig.ids()), 0, 0)) for _ in range(self.runs)]
        self.report("restore of all engine", empty)
        self.at_most("restore of W3 ÷ verify", "restore of W3 engine", "verify engine", limit)
        self.at_most("restore of all ÷ W1", "restore of all engine", "W1 engine", from_nothing)

    def _restored(self, action: str, expected: tuple[int, int, int]) -> dict[str, Any]:
        result = self.child(action)
        if tuple(result["counts"]) != expected:
            sys.exit(f"{self.title}, {action}: counted {result['counts']}, expected {expected}")
        if not self.rig.equal():
            sys.exit(f"{self.title}, {action}: the two sides differ after it")
        return result

    def history_costs(self, unchanged: float, changed: float) -> None:
        """Judge by how much longer it takes."""
        self.at_most("W2 with history ÷ W2", "W2 with history engine", "W2 engine", unchanged)
        self.at_most("W3 with history ÷ W3", "W3 with history engine", "W3 engine", changed)

    def baseline(self, name: str, prepare: str) -> None:
        if not self.with_baseline:
            return
        results = []
        for _ in range(self.runs if prepare == "same" else RUNS_OF_A_SLOW_BASELINE):
            self.set_up(prepare)
            results.append(self.child("baseline"))
        self.report(f"{name} baseline", results)

    def floor(self, name: str, runs: int | None = None, suffix: str = "") -> None:
        self.report(name + suffix, [self.child(name) for _ in range(runs or self.runs)])

    # judging

    def judge(self, what: str, value: float, target: str, met: bool) -> None:
        self.targets.append(f"| {self.title} | {what} | {value:.2f} | {target} | {'met' if met else '**missed**'} |")

    def at_most(self, what: str, over: str, under: str, limit: float) -> None:
        """Judge how much longer ``over`` took than ``under``."""
        if over in self.found and under in self.found:
            value = self.found[over].seconds / self.found[under].seconds
            self.judge(what, value, f"≤ {limit}", value <= limit)

    def at_least(self, what: str, over: str, under: str, limit: float) -> None:
        if over in self.found and under in self.found:
            value = self.found[over].seconds / self.found[under].seconds
            self.judge(what, value, f"≥ {limit}", value >= limit)

    def memory(self, limit: float) -> None:
        most = max(figure.rss for name, figure in self.found.items() if name.endswith("engine"))
        self.judge("peak memory above idle, MB", most, f"≤ {limit:.0f}", most <= limit)

    def grown_from(self, small: Bench, limit: float) -> None:
        """Judge the growth of time and memory against a smaller rig of the same kind."""
        for name in ("W2 engine", "W3 engine"):
            value = self.found[name].seconds / small.found[name].seconds
            self.judge(f"{name[:2]}: {self.rig.n:,} ÷ {small.rig.n:,} records", value, f"≤ {limit}", value <= limit)
        if small.rig.n < Limits.range_records:
            return  # its memory grows until a range is full, and only then no more
        for name in ("W1 engine", "W2 engine", "W3 engine"):
            value = self.found[name].rss / max(small.found[name].rss, 1.0)
            self.judge(f"{name[:2]} memory: {self.rig.n:,} ÷ {small.rig.n:,}", value, "≤ 1.2", value <= 1.2)

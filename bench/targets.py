"""What is measured on each kind of store, and which ratio is good enough."""

from __future__ import annotations

from bench.runner import Bench
from local.cosmos import EmbeddedCosmos


def of_sqlite(bench: Bench) -> None:
    load, unchanged = bench.rig.floors()
    bench.workloads(load, unchanged)
    bench.verify(1.5)
    bench.restore(20, 40)
    bench.at_most("W1 ÷ floor", "W1 engine", load, 1.5)
    bench.at_most("W2 ÷ floor", "W2 engine", unchanged, 2)
    bench.at_most("W3 ÷ W2", "W3 engine", "W2 engine", 2.5)
    bench.history_costs(1.03, 1.3)
    bench.memory(64)


def of_mssql(bench: Bench) -> None:
    load, unchanged = bench.rig.floors()
    large = bench.rig.n >= 1_000_000
    bench.workloads(load, unchanged)
    bench.verify(1.5)
    bench.restore(20, 10)
    if not large:
        bench.baseline("W1", "empty")
        bench.at_least("W1: baseline ÷ engine", "W1 baseline", "W1 engine", 10)
    bench.at_most("W1 ÷ floor", "W1 engine", load, 1.7)
    if large:  # below that it is the opening of a session that is measured
        bench.at_most("W2 ÷ floor", "W2 engine", unchanged, 1.5)
    bench.at_least("W2: baseline ÷ engine", "W2 baseline", "W2 engine", 25 if large else 8)
    bench.at_least("W3: baseline ÷ engine", "W3 baseline", "W3 engine", 15 if large else 4)
    bench.history_costs(1.03, 1.3)
    if large:
        bench.at_most("W4 ÷ W3", "W4 engine", "W3 engine", 0.9)
    bench.memory(64)


def of_cosmos(bench: Bench, servers: tuple[EmbeddedCosmos, EmbeddedCosmos], delay: float) -> None:
    """``delay``: milliseconds added to each request in the delayed part; 0 leaves that part out."""
    load, unchanged = bench.rig.floors()
    dense = bench.description["per_customer"] >= 100
    bench.first_load(load, unchanged)
    for name, prepare in (("W2", "same"), ("W3", "uniform")):
        runs = bench.engine(name, prepare)
        wasted = max(run["bodies"] - sum(run["counts"][:2]) for run in runs)
        bench.judge(f"{name}: bodies read of documents not written", wasted, "= 0", wasted == 0)
    bench.with_history()
    bench.history_costs(1.03, 1.3)
    bench.verify(None)  # both sides have to be read whole
    bench.restore(5, 10)
    bench.baseline("W2", "same")
    bench.baseline("W3", "uniform")
    bench.at_least("W1: floor ÷ engine", load, "W1 engine", 5 if dense else 1)
    bench.at_most("W2 ÷ floor", "W2 engine", unchanged, 1.2)
    bench.at_least("W3: baseline ÷ engine", "W3 baseline", "W3 engine", 2)
    bench.memory(100)
    if delay and not dense:
        slow = f", {delay:.0f} ms a request"
        for server in servers:
            server.delay(delay)
        bench.floor(load, runs=1, suffix=slow)
        bench.engine("W1" + slow, "empty", runs=1)
        bench.engine("W3" + slow, "uniform", runs=1)
        bench.baseline("W3" + slow, "uniform")
        bench.at_least(f"W1{slow}: floor ÷ engine", load + slow, f"W1{slow} engine", 8)
        bench.at_least(f"W3{slow}: baseline ÷ engine", f"W3{slow} baseline", f"W3{slow} engine", 5)
        for server in servers:
            server.reset_faults()

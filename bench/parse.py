"""What parsing the DAG file costs (Airflow does it every few seconds), beyond importing airflow.sdk itself."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

DAG_FILE = Path(__file__).resolve().parents[1] / "dags" / "backup_sync_dag.py"
LIMIT = 0.2

# The names are imported because airflow.sdk loads what is behind them only when they are asked for.
CODE = """
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, TriggerRule
from airflow.sdk.configuration import conf
import runpy, time
start = time.perf_counter()
runpy.run_path({path!r})
print(time.perf_counter() - start)
"""


def measure(runs: int) -> str:
    """Print the figure; the row that judges it."""
    code = CODE.format(path=str(DAG_FILE))
    command = [sys.executable, "-W", "ignore", "-c", code]
    found = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
        for _ in range(runs)
    ]
    median = statistics.median(found)
    print(
        f"\nParsing dags/{DAG_FILE.name}: {median:.3f} s ({min(found):.3f}–{max(found):.3f}) beyond importing airflow.sdk"
    )
    return f"| – | parsing the DAG file, s | {median:.2f} | ≤ {LIMIT} | {'met' if median <= LIMIT else '**missed**'} |"

"""python -m local.cosmos --port 8081 --data .local/cosmos/orderdb.sqlite --partitions 4"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .auth import DEFAULT_KEY
from .server import run


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m local.cosmos", description="A Cosmos-compatible development server."
    )
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--data", type=Path, default=Path(".local/cosmos/data.sqlite"), help="the SQLite file")
    parser.add_argument("--partitions", type=int, default=4, help="physical ranges of a new file")
    parser.add_argument(
        "--key",
        default=os.environ.get("LOCAL_COSMOS_KEY", DEFAULT_KEY),
        help="the account key in base64 (default: $LOCAL_COSMOS_KEY, or the public development key)",
    )
    parser.add_argument("--throughput", type=int, help="request units per second; above it requests get 429")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    parser.add_argument("--tls", action="store_true", help="serve by https, which tokens of Entra ID need")
    given = parser.parse_args()
    try:
        run(**vars(given))
    except (OSError, ValueError) as problem:
        raise SystemExit(f"The Cosmos development server cannot start: {problem}") from None


if __name__ == "__main__":
    main()

"""``make cosmos``: the two embedded Cosmos servers on the local data, until Ctrl-C."""

from __future__ import annotations

import sys
import time

from local.airflow_processes import ended_by_signals, members, tail
from local.environment import Places, cosmos_servers, sole_use


def main() -> None:
    places = Places()
    try:
        with ended_by_signals(), sole_use(places), cosmos_servers(places) as servers:
            for role, server in zip(("source", "backup"), servers, strict=True):
                print(f"order {role}  {server.endpoint}  (data: {server.data})")
            print(f"key           {servers[0].key}")
            print("Ctrl-C ends both.", flush=True)
            while all(members([server.pid or 0]) for server in servers):
                time.sleep(1)
            sys.exit("\n".join(["a server ended by itself", *(tail(server.log) for server in servers)]))
    except KeyboardInterrupt:
        print("\nEnded.")


if __name__ == "__main__":
    main()

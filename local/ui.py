"""``make ui``: Airflow with its web UI on the local data, until Ctrl-C.

Sources that are empty get the sample data; nothing that is there already is touched, so what ``make demo`` left
behind can be looked at, and whatever was tried here yesterday is still there today.
"""

from __future__ import annotations

import os
import sys
import time

from local.airflow_processes import (
    COMPONENTS,
    AirflowDown,
    AirflowProcesses,
    ended_by_signals,
    free_port,
    members,
    passwords,
    server_environment,
    tail,
)
from local.cosmos import EmbeddedCosmos
from local.demo import CUSTOMERS, ORDERS, prepare_airflow, say, shorten
from local.environment import Places, airflow_environment, apply, connections, cosmos_servers, sole_use

FIRST_PORT = 8080
USERS = {"admin": "admin"}


def main() -> None:
    places = Places()
    try:
        with ended_by_signals(), sole_use(places):
            apply(airflow_environment(places))
            prepare_airflow(places)
            say("Starting two embedded Cosmos servers")
            with cosmos_servers(places) as servers:
                apply(connections(places, servers[0].endpoint, servers[1].endpoint, servers[0].key))
                seed_what_is_empty()
                serve(places, servers)
    except AirflowDown as down:
        sys.exit(str(down))
    except KeyboardInterrupt:
        print("\nEnded.")


def seed_what_is_empty() -> None:
    """Sample customers where there are none, and the sample orders that an earlier start did not get to."""
    # Imported here: it needs Airflow, and with it the settings that are in the environment only now.
    from local.seed import Customers, Orders

    customers = Customers()
    if not customers.holds_rows():
        say(f"Seeding {CUSTOMERS} customers")
        customers.create()
        customers.insert(range(1, CUSTOMERS + 1))
    orders = Orders()
    if left := orders.left_to_insert(ORDERS):
        say(f"Seeding {len(left)} orders")
        orders.insert(left, CUSTOMERS)
    orders.client.close()


def serve(places: Places, servers: tuple[EmbeddedCosmos, EmbeddedCosmos]) -> None:
    """Run Airflow until a signal comes or one of the processes ends."""
    port = free_port(FIRST_PORT)
    apply(server_environment(places, port, USERS))
    say("Starting Airflow (half a minute)")
    # The triggerer has nothing to do here, but without one the UI says that Airflow is not well.
    with AirflowProcesses(os.environ, places.airflow / "output", (*COMPONENTS, "triggerer")) as airflow:
        airflow.wait_until_healthy(seconds=300)
        print(
            f"\nAirflow is ready\n"
            f"  address   http://localhost:{port}\n"
            f"  user      admin\n"
            f"  password  {passwords(places, USERS)['admin']}\n"
            f"  output    {shorten(airflow.logs)}/\n"
            f"  order     {servers[0].endpoint} → {servers[1].endpoint}\n"
            f"  key       {servers[0].key}\n"
            f"\nbackup_sync is paused: a run that is triggered waits until it is switched on, and switching it on starts\n"
            f"last midnight's run at once, for real. backup_plan looks without that. Ctrl-C ends everything.",
            flush=True,
        )
        while all(members([server.pid or 0]) for server in servers):
            airflow.check()
            time.sleep(1)
    sys.exit("\n".join(["a Cosmos server ended by itself", *(tail(server.log) for server in servers)]))


if __name__ == "__main__":
    main()

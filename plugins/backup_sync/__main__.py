"""``python -m backup_sync check``: is the services file right, and do its connections lead where they should?"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from backup_sync.model.config import config_path, load_service, read_services
from backup_sync.model.errors import BackupSyncError
from backup_sync.model.service import Service

GOOD, WRONG = 0, 1
"""Exit codes. 2 is a wrong call, as everywhere."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m backup_sync", description="Look after backup_sync.")
    commands = parser.add_subparsers(required=True, metavar="command")
    check = commands.add_parser(
        "check",
        help="check the services file",
        description="Check the services file. Exit code 0: it is right; 1: something is wrong, and said in one sentence each.",
    )
    check.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=config_path("dags/backup_sync_dag.py"),
        help="default: the one that BACKUP_SYNC_CONFIG names, or else %(default)s",
    )
    check.add_argument(
        "--connections",
        action="store_true",
        help="also open each service's connections, as Airflow has them, and look at both ends; writes nothing",
    )
    asked = parser.parse_args(arguments)
    found = list(problems(asked.file, connections=asked.connections))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        return WRONG
    names = ", ".join(read_services(asked.file).services)
    print(f"{asked.file}: {names} {'and their connections ' * asked.connections}are as they should be")
    return GOOD


def problems(file: Path, *, connections: bool) -> Iterator[str]:
    """One sentence for each thing that is wrong."""
    declared = read_services(file)
    yield from declared.problems.values()
    for name in declared.services:
        try:
            service = load_service(file, name)
            if connections:
                look_at(service)
        except BackupSyncError as error:
            yield f"{name}: {str(error).removeprefix(f'{name}: ')}"


def look_at(service: Service) -> None:
    """What ``initialize`` would look at. Raises an error of the BackupSyncError tree."""
    # What makes Airflow look into its own database outside of a task as well, as its own command line does
    # (airflow.cli.commands.connection_command).
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    from backup_sync.hooks import open_stores
    from backup_sync.walk.initialize import initialize

    source, backup = open_stores(service)
    with closing(source), closing(backup):
        initialize(source, backup, dry_run=True)


if __name__ == "__main__":
    sys.exit(main())

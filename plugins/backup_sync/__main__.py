"""``python -m backup_sync``: is the services file right, which restore points are there, and what may be forgotten?"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backup_sync.model.config import config_path, load_service, read_services
from backup_sync.model.errors import BackupSyncError
from backup_sync.model.result import SyncResult
from backup_sync.model.service import Service
from backup_sync.stores.base import Store

GOOD, WRONG = 0, 1
"""Exit codes. 2 is a wrong call, as everywhere."""

FILE = config_path("dags/backup_sync_dag.py")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m backup_sync", description="Look after backup_sync.")
    commands = parser.add_subparsers(required=True, metavar="command")
    check = commands.add_parser(
        "check",
        help="check the services file",
        description="Check the services file. Exit code 0: it is right; 1: something is wrong, and said in one sentence each.",
    )
    which = "default: the one that BACKUP_SYNC_CONFIG names, or else %(default)s"
    check.add_argument("file", nargs="?", type=Path, default=FILE, help=which)
    check.add_argument(
        "--connections",
        action="store_true",
        help="also open each service's connections, as Airflow has them, and look at both ends; writes nothing",
    )
    check.set_defaults(do=_check)
    points = commands.add_parser("points", help="list the restore points of a service, hold one, or release it")
    points.add_argument("service")
    points.add_argument("--hold", type=int, metavar="NUMBER", help="keep this one whatever its age")
    points.add_argument("--reason", default="", help="why it is held")
    points.add_argument("--release", type=int, metavar="NUMBER", help="hold this one no longer")
    points.set_defaults(do=_points)
    forget = commands.add_parser(
        "forget",
        help="remove one record from the history of records",
        description="Remove one record from a service's history of records, as a person has the right to ask for. Delete it in "
        "the source, let a sync delete it in the copy, and then call this.",
    )
    forget.add_argument("service")
    forget.add_argument(
        "key", help="JSON: the key, or a list of its values; of a document its id and its partition key"
    )
    forget.set_defaults(do=_forget)
    declare = commands.add_parser(
        "declare",
        help="print entries of the services file for tables that are there",
        description="Read the catalog behind a connection and print an entry for each table, ready to paste.",
    )
    declare.add_argument("connection", help="the Airflow connection of the operational database")
    declare.add_argument("tables", nargs="?", default="*", help="which, as schema.table with * and ? (default: all)")
    declare.add_argument(
        "--backup", help="the connection of the backup; default: 'source' in the name becomes 'backup'"
    )
    declare.set_defaults(do=_declare)
    for command in (points, forget):
        command.add_argument("--file", type=Path, default=FILE, help=which)
    asked = parser.parse_args(arguments)
    try:
        return int(asked.do(asked))
    except BackupSyncError as error:
        print(error, file=sys.stderr)
        return WRONG


def _check(asked: argparse.Namespace) -> int:
    found = list(problems(asked.file, connections=asked.connections))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        return WRONG
    names = ", ".join(read_services(asked.file).services)
    print(f"{asked.file}: {names} {'and their connections ' * asked.connections}are as they should be")
    return GOOD


def _points(asked: argparse.Namespace) -> int:
    from backup_sync.walk import points

    with _backup(asked) as (backup, run):
        if asked.hold is not None:
            points.hold(backup, asked.hold, asked.reason or f"held by {run.started_by}", run)
        if asked.release is not None:
            points.release(backup, asked.release, run)
        found = points.listed(backup)
    print(f"{'number':>7}  {'ended':<20}  {'inserted':>9} {'updated':>9} {'deleted':>9}  {'':<7}  run")
    for point in found:
        state = "whole" if point.whole else "partial"
        held = f"; held: {point.held}" if point.held else ""
        print(
            f"{point.number:>7}  {point.at[:19]}Z  {point.inserted:>9} {point.updated:>9} {point.deleted:>9}  {state:<7}  "
            f"{point.run_id} ({point.sync_id}){held}"
        )
    return GOOD


def _forget(asked: argparse.Namespace) -> int:
    from backup_sync.walk import points

    try:
        key = json.loads(asked.key)
    except ValueError:
        print('the key has to be JSON, such as 7, \'"a"\' or \'["order-7", "customer-3"]\'', file=sys.stderr)
        return 2
    with _backup(asked) as (backup, run):
        gone = points.forget(backup, key if isinstance(key, list) else [key], run)
    print(f"{asked.service}: removed {gone} entries")
    return GOOD


def _declare(asked: argparse.Namespace) -> int:
    from backup_sync.model import declaring

    _as_airflow()
    from backup_sync.hooks import tables_of

    found = list(tables_of(asked.connection, asked.tables))
    if not found:
        print(f"{asked.connection}: no table is called like {asked.tables}", file=sys.stderr)
        return WRONG
    backup = asked.backup or re.sub("source|src", "backup", asked.connection)
    if backup == asked.connection:
        backup = f"{asked.connection}_backup"
    print("\n".join(declaring.entries(asked.connection, backup, found)))
    return GOOD


@contextmanager
def _backup(asked: argparse.Namespace) -> Iterator[tuple[Store, SyncResult]]:
    """The backup of the service that was asked for, and what is done with it."""
    service = load_service(asked.file, asked.service)
    _as_airflow()
    from backup_sync.hooks import open_store

    by = getpass.getuser()
    run = SyncResult(uuid.uuid4(), service.name, run_id=f"command of {by}", started_by=f"command line by {by}")
    with closing(open_store(service, service.backup, copy=True)) as backup:
        yield backup, run


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
    _as_airflow()
    from backup_sync.hooks import open_stores
    from backup_sync.walk.initialize import initialize

    source, backup = open_stores(service)
    with closing(source), closing(backup):
        initialize(source, backup, dry_run=True)


def _as_airflow() -> None:
    # What makes Airflow look into its own database outside of a task as well, as its own command line does
    # (airflow.cli.commands.connection_command).
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


if __name__ == "__main__":
    sys.exit(main())

"""How an Airflow finds this package when pip installed it (the entry point ``apache_airflow_provider``).

https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
"""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, tuple[str, str, str]] = {
    "enabled": ("boolean", "True", "False: nothing is scheduled, and runs only when it is triggered."),
    "schedule": (
        "string",
        "@daily",
        "When services run that name no schedule of their own, in UTC: a preset or five cron fields.",
    ),
    "retries": ("integer", "2", "How often a failed task is tried again; what trying again cannot mend fails at once."),
    "retry_delay": ("float", "60", "Seconds before the first retry; the next ones wait longer, up to an hour."),
    "execution_timeout": (
        "float",
        "0",
        "Seconds that a task may take before it fails and is tried again; 0: no limit.",
    ),
    "dagrun_timeout": ("float", "0", "Seconds that a run may take before Airflow fails it; 0: no limit."),
    "deadline": (
        "float",
        "0",
        "Seconds after which the notifier of on_stale is told of a sync that has not ended, by Airflow's deadline alerts "
        "(experimental); 0: never.",
    ),
    "on_failure": (
        "string",
        "",
        "Which notifier tells people of services that failed: its import path, or a JSON object with it as 'notifier' and its "
        "arguments, in which {subject} and {message} stand for what is said.",
    ),
    "on_withheld": ("string", "", "The same, of services whose deletes were withheld."),
    "on_stale": (
        "string",
        "",
        "The same, of services whose last success is older than they promise; makes the DAG backup_watch.",
    ),
    "watch_token": (
        "string",
        "",
        "Whoever brings this token may ask for /backup/health and /backup/metrics without being a user of Airflow.",
    ),
    "docs": (
        "string",
        "docs",
        "Where the pages of the docs are, for the last line of a failure: a path or an address.",
    ),
}
"""Option of the section [backup_sync] → (type, default, what it does)."""


def get_provider_info() -> dict[str, Any]:
    from backup_sync import __version__

    return {
        "package-name": "backup-sync",
        "name": "backup_sync",
        "description": "Keeps live, queryable backup databases in step with operational ones.",
        "versions": [__version__],
        "extra-links": ["backup_sync.links.ConsoleLink"],
        "asset-uris": [{"schemes": ["cosmos"], "handler": "backup_sync.provider.sanitize_cosmos_uri"}],
        "config": {
            "backup_sync": {
                "description": "How the backups are run. What is backed up stands in backup_sync.yaml.",
                "options": {
                    name: {
                        "description": about,
                        "type": kind,
                        "default": default,
                        "example": None,
                        "version_added": "0.1.0",
                        "sensitive": name.startswith("on_")
                        or name == "watch_token",  # a notifier's arguments may hold one too
                    }
                    for name, (kind, default, about) in OPTIONS.items()
                },
            }
        },
    }


def sanitize_cosmos_uri(uri: Any) -> Any:
    """Check the address of a container, ``cosmos://host/database/container``. ``uri``: a SplitResult. Raises ValueError."""
    if not uri.netloc or len(uri.path.split("/")) != 3:
        raise ValueError("URI format cosmos:// must contain host, database and container")
    return uri

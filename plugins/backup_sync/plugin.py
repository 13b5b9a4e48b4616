"""What backup_sync adds to Airflow besides its DAGs and operators: the console, and the links to it."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from backup_sync.links import PREFIX, ConsoleLink, console


class Console:
    """The console as an ASGI application, which is made at the first request: every process of Airflow imports its plugins, and
    only the API server needs this."""

    _app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from backup_sync.console.actions import AIRFLOW
        from backup_sync.console.app import make

        if self._app is None:
            self._app = make()
        # Mounted applications replace "app" by themselves; runs are started by the one around them.
        await self._app({**scope, AIRFLOW: scope.get("app")}, receive, send)


class BackupSyncPlugin(AirflowPlugin):
    name = "backup_sync"
    fastapi_apps = [{"app": Console(), "url_prefix": PREFIX, "name": "backup_sync"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Backups", "href": f"{console()}/", "url_route": "backups", "destination": "nav", "category": "browse"}
    ]
    operator_extra_links = [ConsoleLink()]  # noqa: RUF012

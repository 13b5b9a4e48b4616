"""The console in Airflow's own API server, in this process, on runs that are written straight into its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.past import NOW, Past, declare, store_dags


@pytest.fixture(scope="session")
def metadata() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def airflow_app(metadata: None) -> Any:
    from airflow.api_fastapi.app import create_app

    return create_app()


def user(role: str) -> Any:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return SimpleAuthManagerUser(username=f"an {role}", role=role)


class Browser:
    """One user's way to the console: ``get`` and ``post`` as a browser does, with a cookie; or as a program, with a token."""

    def __init__(self, app: Any, role: str | None) -> None:
        from airflow.api_fastapi.app import get_auth_manager
        from fastapi.testclient import TestClient

        self.role = role
        self.token = get_auth_manager().generate_jwt(user(role)) if role else ""
        self.client = TestClient(app, base_url="http://airflow.example", follow_redirects=False)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def get(self, path: str, **kwargs: Any) -> Any:
        cookies = {"Cookie": f"_token={self.token}"} if self.token else {}
        return self.client.get(path, headers={"Accept": "text/html", **cookies, **kwargs.pop("headers", {})}, **kwargs)

    def send(self, path: str, form: dict[str, str], **headers: str) -> Any:
        """Send a form, as the page does that has it."""
        cookies = {"Cookie": f"_token={self.token}"} if self.token else {}
        return self.client.post(path, data=form, headers={"Accept": "text/html", **cookies, **headers})

    def call(self, path: str, method: str = "POST", **kwargs: Any) -> Any:
        """As a program does."""
        return self.client.request(method, path, headers={**self.bearer, **kwargs.pop("headers", {})}, **kwargs)


@pytest.fixture(scope="session")
def admin(airflow_app: Any) -> Browser:
    return Browser(airflow_app, "ADMIN")


@pytest.fixture(scope="session")
def viewer(airflow_app: Any) -> Browser:
    return Browser(airflow_app, "VIEWER")


@pytest.fixture(scope="session")
def nobody(airflow_app: Any) -> Browser:
    return Browser(airflow_app, None)


@pytest.fixture
def past(airflow_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Past:
    """The services ``customer`` and ``order`` are declared, and nothing has run yet. It is NOW, however long other tests took."""
    from backup_sync.console import calls, pages

    for room in (calls, pages):
        monkeypatch.setattr(room, "utc_now", lambda: NOW)
    path = tmp_path / "services.yaml"
    monkeypatch.setenv("BACKUP_SYNC_CONFIG", str(path))
    monkeypatch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
    declare(path, {"customer": {}, "order": {}})
    store_dags()
    return Past.empty()

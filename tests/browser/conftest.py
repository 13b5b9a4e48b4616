"""A real browser before Airflow's own pages, with the console in them. ``make browser`` gets what this needs: Chromium, axe."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import airflow_app, metadata, past, user  # noqa: F401 (fixtures)

AXE = Path(os.environ.get("BACKUP_SYNC_AXE", ""))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def address(airflow_app: Any) -> Iterator[str]:  # noqa: F811
    """Where Airflow is served."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(airflow_app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not (CHROMIUM and AXE.is_file()):
        pytest.skip("needs a browser and axe: make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Person:
    """Somebody before the browser. ``page``: what they see. ``complaints``: what the browser's console said of errors."""

    def __init__(self, chromium: Any, address: str, role: str, theme: str, **context: Any) -> None:
        from airflow.api_fastapi.app import get_auth_manager

        self.address = address
        self.context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme=theme, **context)
        token = get_auth_manager().generate_jwt(user(role))
        self.context.add_cookies([{"name": "_token", "value": token, "url": address}])
        self.context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def in_airflow(self) -> Any:
        """Open the page as Airflow's menu does; the frame with the console in it."""
        self.open("/plugin/backups")
        self.page.wait_for_selector("iframe")
        frame = self.page.frame_locator("iframe")
        frame.locator("h1").wait_for()
        return frame


@pytest.fixture
def person(chromium: Any, address: str) -> Iterator[Any]:
    """Makes a :class:`Person` of a role, with a theme."""
    made: list[Person] = []

    def make(role: str = "ADMIN", theme: str = "light", **context: Any) -> Person:
        made.append(Person(chromium, address, role, theme, **context))
        return made[-1]

    yield make
    for one in made:
        one.context.close()

"""The console as people use it: in Airflow's frame, in its colours, by keyboard, and with a screen reader's rules."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser import nights
from tests.browser.conftest import AXE
from tests.console.past import Past
from tests.console.test_access import runs

pytestmark = pytest.mark.airflow

GROUND = "getComputedStyle(document.body).backgroundColor"


def seen(page: Any) -> list[str]:
    """What axe has against a page (https://github.com/dequelabs/axe-core)."""
    page.evaluate(AXE.read_text())  # the policy of the pages lets no script of others in
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_airflow_shows_it_in_its_own_colours_without_a_complaint(past: Past, person: Any, theme: str) -> None:
    nights.good(past, ["customer", "order"], days=10)
    somebody = person(theme=theme)
    frame = somebody.in_airflow()
    assert frame.locator("h1").inner_text() == "All backups are good"
    inside = somebody.page.frames[-1]
    assert inside.evaluate(GROUND) == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 29)"}[theme]
    assert not [said for said in somebody.complaints if "backup" in said.lower() or "Content Security" in said]


def test_it_follows_when_airflow_changes_its_colours(past: Past, person: Any) -> None:
    somebody = person(theme="light")
    somebody.in_airflow()
    somebody.page.evaluate(
        "document.documentElement.className = document.documentElement.className.replace('light', 'dark')"
    )
    inside = somebody.page.frames[-1]
    inside.wait_for_function(f"{GROUND} === 'rgb(18, 23, 29)'")


def test_a_link_to_a_log_leaves_the_frame(past: Past, person: Any) -> None:
    nights.good(past, ["customer", "order"], days=3)
    somebody = person()
    frame = somebody.in_airflow()
    frame.get_by_role("link", name="customer").click()
    frame.get_by_role("link", name="sync: success").first.click()
    somebody.page.wait_for_url(re.compile(r"/dags/backup_sync/runs/.*/tasks/customer"))
    assert "/plugin/" not in somebody.page.url


def test_a_sync_is_started_with_the_keyboard_alone(past: Past, person: Any) -> None:
    nights.good(past, ["customer", "order"], days=3)
    before = len(runs())
    page = person().open("/backup/")

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.innerText || document.activeElement.name") == name:
                return
        pytest.fail(f"no tab leads to {name}")

    tab_to("customer")
    page.keyboard.press("Enter")
    page.wait_for_url("**/service/customer")
    tab_to("Sync")
    page.keyboard.press("Enter")
    page.wait_for_url("**/order/sync")
    tab_to("allow_deletes")
    page.keyboard.type("7")
    tab_to("Sync customer")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run?**")
    assert page.locator("h1").inner_text().startswith("customer")
    (started,) = runs()[before:]
    assert started == ("backup_sync", {"service": "customer", "allow_deletes": 7}, "an ADMIN")


def test_a_form_works_in_the_frame(past: Past, person: Any) -> None:
    nights.good(past, ["customer", "order"], days=3)
    before = len(runs())
    somebody = person()
    frame = somebody.in_airflow()
    frame.get_by_role("link", name="order").click()
    frame.get_by_role("link", name="Force").click()
    frame.get_by_role("button", name="Force order").click()
    frame.get_by_role("link", name="The run in Airflow").wait_for()
    assert [(dag, conf) for dag, conf, _ in runs()[before:]] == [("backup_sync", {"service": "order", "force": True})]


def test_a_viewer_is_offered_nothing_to_press(past: Past, person: Any) -> None:
    nights.good(past, ["customer", "order"], days=3)
    page = person("VIEWER").open("/backup/service/customer")
    assert page.get_by_role("link", name="Sync", exact=True).count() == 0
    assert page.get_by_role("button").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_no_page_breaks_a_rule_of_accessibility_or_is_wider_than_its_window(
    past: Past, person: Any, theme: str, width: int
) -> None:
    nights.failing(past, ["customer", "order"])
    somebody = person(theme=theme)
    page = somebody.page
    page.set_viewport_size({"width": width, "height": 800})
    found = {}
    for path in (
        "/backup/",
        "/backup/service/customer",
        "/backup/service/order",
        "/backup/service/customer/order/verify",
        "/backup/service/customer/order/restore",
        "/backup/service/nobody",
    ):
        somebody.open(path)
        if broken := seen(page):
            found[path] = broken
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    somebody.open("/backup/service/customer")
    page.locator("tbody th a").first.click()
    if broken := seen(page):
        found["run"] = broken
    assert found == {}


def test_a_page_follows_a_run_until_it_has_ended(past: Past, person: Any) -> None:
    nights.failing(past, ["customer", "order"])
    somebody = person()
    page = somebody.open("/backup/")
    assert "412,000 of 1,000,000 records" in page.locator("main").inner_text()
    nights.good(Past.empty(), ["customer", "order"], days=1)
    page.locator("h1", has_text="All backups are good").wait_for(timeout=15_000)
    assert page.locator("main[data-running]").count() == 0
    assert somebody.complaints == []


def test_without_scripts_everything_is_there(past: Past, person: Any) -> None:
    nights.failing(past, ["customer", "order"])
    page = person(java_script_enabled=False).open("/backup/")
    assert page.locator("h1").inner_text() == "2 of 2 need you"

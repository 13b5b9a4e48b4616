"""The pictures of the console in the docs: ``make shots`` writes them to docs/images. Look at them before you commit them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import nights
from tests.console.past import Past, declare, store_dags

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SIXTY = [
    f"{word}_{number:02}"
    for number in range(1, 11)
    for word in ("billing", "catalog", "customer", "order", "stock", "ticket")
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("how", ["good", "failing", "sixty"])
def test_shoot(past: Past, person: Any, theme: str, how: str, tmp_path: Path) -> None:
    names = ["customer", "order"]
    if how == "sixty":
        declare(tmp_path / "services.yaml", {name: {} for name in SIXTY})
        store_dags()
        past = Past.empty()
        nights.good(past, SIXTY, days=8)
    elif how == "good":
        nights.good(past, names)
    else:
        nights.failing(past, names)
    somebody = person(theme=theme)
    IMAGES.mkdir(exist_ok=True)
    somebody.in_airflow()
    somebody.page.wait_for_timeout(1_500)
    somebody.page.screenshot(path=IMAGES / f"console-{how}-{theme}.png")
    if how == "sixty":
        return
    page = somebody.open("/backup/service/customer")
    page.screenshot(path=IMAGES / f"service-{how}-{theme}.png")
    page.locator("tbody th a").first.click()
    page.locator("dl").first.wait_for()
    page.screenshot(path=IMAGES / f"run-{how}-{theme}.png")
    if how == "good":
        somebody.open("/backup/service/customer/order/restore")
        page.screenshot(path=IMAGES / f"order-{theme}.png")

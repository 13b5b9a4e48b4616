"""Small charts as SVG, which need no script. Knows neither Airflow nor the services."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log10

from markupsafe import Markup

WIDTH, HEIGHT, DAYS = 360, 72, 90


@dataclass(frozen=True)
class Day:
    """What happened in a day: the largest value, or None where there was nothing."""

    at: datetime
    value: float | None


def by_day(
    points: Iterable[tuple[datetime, float]], now: datetime, *, total: bool = False, days: int = DAYS
) -> list[Day]:
    """The last days, oldest first, each with the largest of its values, or with the total of them."""
    first = (now - timedelta(days=days - 1)).date()
    found: dict[int, float] = {}
    for at, value in points:
        day = (at.date() - first).days
        if 0 <= day < days:
            found[day] = found.get(day, 0) + value if total else max(found.get(day, value), value)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [Day(midnight - timedelta(days=days - 1 - day), found.get(day)) for day in range(days)]


def bars(title: str, found: Sequence[Day], unit: str = "") -> Markup:
    """A bar for each day. Days without a value stay empty; beside a far larger one a small value is still seen (square roots)."""
    highest = _highest(found)
    step = WIDTH / max(1, len(found))
    marks = []
    for number, day in enumerate(found):
        if day.value is None:
            continue
        height = max(2.0, (day.value / highest) ** 0.5 * (HEIGHT - 4)) if highest > 0 else 2.0
        said = f"{day.at:%Y-%m-%d}: {short(day.value)}{unit}"
        marks.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>').format(
                number * step, HEIGHT - height, max(1.0, step - 1), height, said
            )
        )
    about = (
        f"{title}: {len(marks)} of {len(found)} days, at most {most(found, unit)}" if marks else f"{title}: nothing yet"
    )
    return Markup(
        '<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>'
    ).format(WIDTH, HEIGHT, about, Markup("").join(marks))


def most(found: Sequence[Day], unit: str = "") -> str:
    """The largest value; empty if there is none."""
    return f"{short(_highest(found))}{unit}" if any(day.value is not None for day in found) else ""


def _highest(found: Sequence[Day]) -> float:
    return max((day.value for day in found if day.value is not None), default=0.0)


def short(value: float) -> str:
    """A number in few characters: ``950``, ``12.3k``, ``4.0M``."""
    if value < 1_000:
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    power = min(3, int(log10(value) // 3))
    return f"{value / 1_000**power:.1f}{'kMG'[power - 1]}"

"""Draws docs/floors.svg from the package's imports: ``python docs/floors.py``.

A room stands on the highest floor that is below everything that imports it. An arrow means "imports"; arrows that follow
from others are left out. A test holds the stored picture against the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).with_name("floors.svg")
ROOMS = {
    "dags": (1, "what the DAG files build"),
    "operators": (1, "a context in, one job, an XCom out"),
    "plugin": (3, "what Airflow's UI gets"),
    "console": (3, "what people look at"),
    "links": (2, "addresses of the console"),
    "__main__": (2, "python -m backup_sync"),
    "provider": (4, "what pip tells Airflow"),
    "settings": (4, "the section [backup_sync]"),
    "hooks": (1, "a connection becomes a store"),
    "walk": (3, "the jobs, and the walk they share"),
    "stores.mssql": (0, "SQL Server"),
    "stores.sqlite": (1, "SQLite"),
    "stores.cosmos": (2, "Cosmos DB"),
    "stores.sql": (0.5, "the SQL flow, once"),
    "stores": (2, "protocols of a store's parts"),
    "model": (3, "plain data and pure rules"),
}
"""Room → (column in which it is drawn, what it does)."""
WIDTH, HEIGHT, ROOM, TALL, MARGIN = 1300, 104, 236, 54, 16
STYLE = """
  .room { fill: #eef3fb; stroke: #4a6fa5; } .arrow { stroke: #7a8699; fill: none; } .head { fill: #7a8699; }
  text { font: 13px sans-serif; fill: #1c2530; text-anchor: middle; } .name { font-weight: bold; font-size: 15px; }
  @media (prefers-color-scheme: dark) {
    .room { fill: #22304a; stroke: #86a8d8; } .arrow { stroke: #8f9bb0; } .head { fill: #8f9bb0; } text { fill: #e8edf5; }
  }"""


def room_of(module: str) -> str | None:
    """The room of a module; None for the package's own face. Raises ValueError for a module that has no room yet."""
    inside = module.removeprefix("backup_sync").removeprefix(".")
    found = [name for name in ROOMS if inside == name or inside.startswith(f"{name}.")]
    if inside and not found:
        raise ValueError(f"add a room for {inside} to ROOMS")
    return max(found, key=len) if found else None


def imports() -> dict[str, set[str]]:
    """Room → rooms that it imports, at module level or inside a function."""
    sys.path.insert(0, str(ROOT / "plugins"))
    graph = grimp.build_graph("backup_sync", cache_dir=None)
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in graph.modules:
        here = room_of(module)
        for other in graph.find_modules_directly_imported_by(module):
            there = room_of(other)
            if here and there and here != there:
                found[here].add(there)
    return found


def floors(found: dict[str, set[str]]) -> dict[str, int]:
    """Room → floor, 0 for the top. Raises ValueError where rooms import each other in a circle."""
    level: dict[str, int] = {}
    while len(level) < len(found):
        left = [room for room in found if room not in level]
        ready = [room for room in left if not any(room in found[other] for other in left)]
        if not ready:
            raise ValueError(f"rooms that import each other in a circle: {sorted(left)}")
        for room in ready:
            level[room] = 1 + max((level[other] for other in level if room in found[other]), default=-1)
    return level


def needed(room: str, found: dict[str, set[str]]) -> list[str]:
    """Rooms that a room imports and that none of the others that it imports leads to."""

    def below(one: str) -> set[str]:
        return set(found[one]).union(*(below(other) for other in found[one]))

    return [one for one in found[room] if not any(one in below(other) for other in found[room] if other != one)]


def picture() -> str:
    found = imports()
    level = floors(found)
    at = {room: ((ROOMS[room][0] + 0.5) * WIDTH / 5, MARGIN + floor * HEIGHT) for room, floor in level.items()}
    height = 2 * MARGIN + max(level.values()) * HEIGHT + TALL
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>The rooms of backup_sync, by who imports whom</title>\n<style>{STYLE}\n</style>",
        '<marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker>',
    ]
    for room in found:
        x, y = at[room]
        for other in sorted(needed(room, found)):
            to, down = at[other]
            curve = f"M{x:.0f} {y + TALL:.0f} C{x:.0f} {y + TALL + 40:.0f} {to:.0f} {down - 40:.0f} {to:.0f} {down:.0f}"
            out.append(f'<path class="arrow" marker-end="url(#head)" d="{curve}"/>')
    for room, (x, y) in at.items():
        out.append(f'<rect class="room" x="{x - ROOM / 2:.0f}" y="{y:.0f}" width="{ROOM}" height="{TALL}" rx="6"/>')
        out.append(f'<text class="name" x="{x:.0f}" y="{y + 22:.0f}">{room.replace(".", "/")}</text>')
        out.append(f'<text x="{x:.0f}" y="{y + 42:.0f}">{ROOMS[room][1]}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")

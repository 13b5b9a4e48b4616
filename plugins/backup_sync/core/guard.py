"""How many deletes are too many.

A mirror that copies an accident is no backup: an emptied, half-restored or mis-filtered source looks exactly like
a lot of deletes. So deletes are written last, and only when this says that their number is ordinary.
"""

from __future__ import annotations

from backup_sync.core.errors import DeletesWithheld


def check_deletes(
    service: str, found: int, source_records: int, backup_records: int, *, share: float, count: int, allow: bool
) -> None:
    """Raise :class:`DeletesWithheld` when ``found`` deletes look like an accident.

    ``found``: deletes that the diff came up with. ``source_records`` and ``backup_records``: how many records each
    side held when the run read it. ``share`` (0..1) and ``count``: the limits; only over *both* is too many, so
    that a small table may lose a few records. An empty source never empties its backup, however small that is.
    ``allow``: this run may delete all that it found (the ``allow_mass_delete`` parameter).
    """
    if allow or not found:
        return
    if source_records == 0:
        reason = "the source reads as empty"
    elif found > count and found > share * backup_records:
        reason = f"that is {found / max(backup_records, 1):.0%} of it (limits: {share:.0%} and {count} records)"
    else:
        return
    raise DeletesWithheld(
        f"{service}: withheld {found} deletes from a backup of {backup_records} records because {reason}; inserts and "
        "updates were applied. If the records are really gone, run once with the parameter allow_mass_delete=true."
    )

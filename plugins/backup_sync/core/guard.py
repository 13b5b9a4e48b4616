"""How many deletes, and how many records that are set back, are too many.

A mirror that copies an accident is no backup: an emptied, half-restored or mis-filtered source looks exactly like
a lot of deletes, and a source restored from an old copy like a lot of records with lower stamps. So both are written
last, and only when this says that their number is ordinary.
"""

from __future__ import annotations

from backup_sync.core.errors import DeletesWithheld, SetBackWithheld


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
    elif _too_many(found, backup_records, share, count):
        reason = f"that is {_of(found, backup_records, share, count)}"
    else:
        return
    raise DeletesWithheld(
        f"{service}: withheld {found} deletes from a backup of {backup_records} records because {reason}; inserts and "
        "updates were applied. If the records are really gone, run once with the parameter allow_mass_delete=true."
    )


def check_set_back(service: str, found: int, backup_records: int, *, share: float, count: int) -> None:
    """Raise :class:`SetBackWithheld` when so many records of the backup are newer than the source's that the source
    looks as if it had been restored from an old copy. Parameters as in :func:`check_deletes`."""
    if _too_many(found, backup_records, share, count):
        raise SetBackWithheld(
            f"{service}: {found} records of the backup are newer than the source's, which is "
            f"{_of(found, backup_records, share, count)}, as if the source had been restored from an old copy; they "
            "were left alone and nothing was deleted. If the source is right, run once with the parameter force=true; "
            "if the backup is, restore the source from it."
        )


def _too_many(found: int, backup_records: int, share: float, count: int) -> bool:
    return found > count and found > share * backup_records


def _of(found: int, backup_records: int, share: float, count: int) -> str:
    return f"{found / max(backup_records, 1):.0%} of it (limits: {share:.0%} and {count} records)"

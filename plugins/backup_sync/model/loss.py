"""How much a backup may lose, or a run leave out, before somebody is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LossLimits:
    """A service's limits: too much is over ``count`` records *and* either over ``share`` (0..1) of the backup or over
    ``ceiling`` records, so that a small table may lose a few records and a large one no more than a person would notice.
    ``ask_updates``: withhold a run that changes most of the backup, which otherwise only says so."""

    share: float
    count: int
    ceiling: int
    ask_updates: bool = False

    def exceeded(self, found: int, backup: int) -> bool:
        return found > self.count and (found > self.share * backup or found > self.ceiling)

    def words(self, found: int, backup: int) -> str:
        return (
            f"{found / max(backup, 1):.0%} of it (limits: {self.share:.0%} and {self.count} records, or {self.ceiling} whatever "
            "their share)"
        )

"""Physical partition key ranges: the slices of the hash space that stand for physical partitions."""

from __future__ import annotations

from typing import NamedTuple

from .errors import CosmosError, bad_request
from .partition import MAXIMUM, MINIMUM

# Hashes have their two top bits cleared: the space in use ends here, and the last range goes on to "FF".
_SPACE = 1 << 126


class PhysicalRange(NamedTuple):
    """One physical partition; `parents` are the ids of the ranges it came from by splits, oldest first."""

    id: str
    minimum: str
    maximum: str
    parents: tuple[str, ...]


class Slice(NamedTuple):
    """The part of the hash space that a request asks for (the end is exclusive)."""

    start: str
    end: str

    def meet(self, other: Slice) -> Slice:
        """The common part of two slices (empty if start is not below end)."""
        return Slice(max(self.start, other.start), min(self.end, other.end))


EVERYTHING = Slice(MINIMUM, MAXIMUM)


def even(count: int) -> list[PhysicalRange]:
    """`count` ranges of equal size."""
    if not 1 <= count <= 1024:
        raise ValueError("the number of partitions must lie between 1 and 1024")
    bounds = [MINIMUM, *(f"{_SPACE * i // count - 1:032X}" for i in range(1, count)), MAXIMUM]
    return [PhysicalRange(str(i), bounds[i], bounds[i + 1], ()) for i in range(count)]


def split(current: list[PhysicalRange], first_id: int) -> list[PhysicalRange]:
    """Each range replaced by its two halves, under new ids."""
    halves: list[PhysicalRange] = []
    for whole in current:
        low = int(whole.minimum or "0", 16)
        high = _SPACE - 1 if whole.maximum == MAXIMUM else int(whole.maximum, 16)
        middle = f"{(low + high) // 2:032X}"
        parents = (*whole.parents, whole.id)
        number = first_id + len(halves)
        halves.append(PhysicalRange(str(number), whole.minimum, middle, parents))
        halves.append(PhysicalRange(str(number + 1), middle, whole.maximum, parents))
    return halves


def find(current: list[PhysicalRange], range_id: str) -> PhysicalRange:
    """The range of that id; 410 with sub-status 1002, which makes the SDK read the ranges anew, if it is gone."""
    # A client may send "<container rid>,<id>".
    wanted = range_id.rpartition(",")[2]
    for one in current:
        if one.id == wanted:
            return one
    raise CosmosError(410, f"Partition key range {wanted} is gone.", 1002)


def holding(current: list[PhysicalRange], epk: str) -> PhysicalRange:
    """The range in which an effective partition key lies."""
    for one in current:
        if one.minimum <= epk < one.maximum:
            return one
    raise bad_request(f"No partition key range holds {epk!r}.")

"""Partition key ranges: the slices of the hash space that stand for physical partitions.

The ranges of the server are slices of the space of hash version 2. A container sees them with bounds of its own kind:
32 digits, or the 32-bit hash of version 1 in the binary form of an index, or, where the key has levels, the hash of a
first level and that of a second one (64 digits), as the service has them once a tenant has outgrown a partition.
"""

from __future__ import annotations

from typing import NamedTuple

from .errors import CosmosError, bad_request
from .hashes import bound_v1
from .partition import MAXIMUM, MINIMUM, PartitionKey

# Hashes have their two top bits cleared: the space in use ends here, and the last range goes on to "FF".
_SPACE = 1 << 126
_DIGITS = 32
_WITHIN = f"{_SPACE // 2 - 1:032X}"


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
        low = int(whole.minimum[:_DIGITS] or "0", 16)
        high = _SPACE - 1 if whole.maximum == MAXIMUM else int(whole.maximum[:_DIGITS], 16)
        halves += _cut(whole, f"{(low + high) // 2:032X}", first_id + len(halves))
    return halves


def split_within(current: list[PhysicalRange], epk: str, first_id: int) -> list[PhysicalRange]:
    """The range that holds the documents of a first-level key is cut in two within that key."""
    bound = epk + _WITHIN
    whole = holding(current, bound)
    at = current.index(whole)
    return [*current[:at], *_cut(whole, bound, first_id), *current[at + 1 :]]


def seen_by(current: list[PhysicalRange], key: PartitionKey) -> list[PhysicalRange]:
    """The ranges as a container of that partition key has them; what would be empty there is left out."""
    bounds = {MINIMUM: MINIMUM, MAXIMUM: MAXIMUM}
    for one in current[1:]:
        bounds[one.minimum] = _bound(one.minimum, key)
    seen = [one._replace(minimum=bounds[one.minimum], maximum=bounds[one.maximum]) for one in current]
    return [one for one in seen if one.minimum < one.maximum]


def _cut(whole: PhysicalRange, bound: str, number: int) -> list[PhysicalRange]:
    if not whole.minimum < bound < whole.maximum:
        raise bad_request(f"Partition key range {whole.id} is too small to be split.")
    parents = (*whole.parents, whole.id)
    return [
        PhysicalRange(str(number), whole.minimum, bound, parents),
        PhysicalRange(str(number + 1), bound, whole.maximum, parents),
    ]


def _bound(bound: str, key: PartitionKey) -> str:
    if key.kind == "MultiHash":
        return bound + _WITHIN if len(bound) == _DIGITS else bound
    if key.version == 1:
        return bound_v1(max(0, ((int(bound[:_DIGITS], 16) + 1) >> 94) - 1))
    return bound[:_DIGITS]


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

"""What a digest has to tell apart: small changes made to cancel out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing

import pytest

from backup_sync.stores.sql.ranges import EVERYTHING, EvenCut
from backup_sync.stores.sqlite import cutter as sqlite_cutter
from tests.conformance.backends import Backend, SqliteBackend

WIDTH = 128
Table = dict[int, int]


def swapped(table: Table, pick: random.Random) -> Table:
    """Two rows exchange their versions: count and every plain sum stay."""
    one, other = pick.sample(sorted(table), 2)
    return table | {one: table[other], other: table[one]}


def rotated(table: Table, pick: random.Random) -> Table:
    """Three rows pass their versions on."""
    keys = pick.sample(sorted(table), 3)
    return table | {key: table[keys[n - 1]] for n, key in enumerate(keys)}


def up_and_down(table: Table, pick: random.Random) -> Table:
    """One version goes up by as much as another one goes down."""
    one, other = pick.sample(sorted(table), 2)
    step = pick.randrange(1, 1000)
    return table | {one: table[one] + step, other: table[other] - step}


def moved(table: Table, pick: random.Random) -> Table:
    """One row is deleted and another one inserted, and a third version makes up for it in the sum of all numbers."""
    gone, third = pick.sample(sorted(table), 2)
    come = pick.choice([key for key in range(gone // WIDTH * WIDTH, gone // WIDTH * WIDTH + WIDTH) if key not in table])
    rest = {key: version for key, version in table.items() if key != gone}
    return rest | {come: table[gone], third: table[third] + gone - come}


def mirrored(table: Table, pick: random.Random) -> Table:
    """Two keys move towards each other and keep their versions: the sums of keys and of versions stay."""
    low, high = sorted(pick.sample(sorted(table), 2))
    if high - low < 3 or low + 1 in table or high - 1 in table:
        return swapped(table, pick)
    rest = {key: version for key, version in table.items() if key not in (low, high)}
    return rest | {low + 1: table[low], high - 1: table[high]}


CHANGES = [swapped, rotated, up_and_down, moved, mirrored]


def scenarios(count: int, pick: random.Random) -> Iterator[tuple[Table, Table]]:
    """Pairs of small tables that differ: the n-th lies in the n-th piece."""
    for number in range(count):
        first = number * WIDTH
        keys = pick.sample(range(first, first + WIDTH), pick.randrange(3, 9))
        before = {key: pick.choice([1, 2, 3, key % 7, 10**6 + key]) for key in keys}
        after = before
        while after == before:
            after = pick.choice(CHANGES)(before, pick)
        yield before, after


def fill(backend: Backend, count: int, seed: int) -> EvenCut:
    """Half of each scenario in the source, the other half in the backup."""
    source, backup = Table(), Table()
    for before, after in scenarios(count, random.Random(seed)):
        backup |= before
        source |= after
    backend.put(*[(key, version, None) for key, version in backup.items()])
    backend.initialize()
    backend.sync()
    backend.remove(*(backup.keys() - source.keys()))
    backend.put(*[(key, version, None) for key, version in source.items()])
    return EvenCut(EVERYTHING, 0, WIDTH, count)


def unseen(backend: Backend, cut: EvenCut) -> list[int]:
    """Pieces whose digests agree though their rows differ."""
    source, backup = backend.open(backend.service())
    with closing(source), closing(backup):
        shape = source.catalog.describe()
        ours, theirs = source.reader(shape).digests, backup.reader(shape).digests
        assert ours is not None
        assert theirs is not None
        one, other = ours(cut), theirs(cut)
        assert one.keys() == other.keys() == set(range(len(cut)))
        return [piece for piece in one if one[piece] == other[piece]]


def test_changes_that_cancel_in_every_plain_sum_are_told_apart(sql: Backend) -> None:
    cut = fill(sql, 3_000, seed=1)
    assert unseen(sql, cut) == []


def test_the_chance_that_a_change_goes_unseen_is_one_in_the_modulus(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With primes near 1,000 in place of 2^31 collisions are common enough to be counted: some, and no more than 1/Q.

    The sums of the stamps are left out of the comparison, and with them the help that they are against some changes.
    """
    small_p, small_q = 1009, 1013
    monkeypatch.setattr(sqlite_cutter, "DIGEST_P", small_p)
    monkeypatch.setattr(sqlite_cutter, "DIGEST_Q", small_q)
    backend, pieces, rounds = SqliteBackend(tmp_path), 2_000, 15
    cut = fill(backend, pieces, seed=2)
    pick = random.Random(3)
    found = 0
    for _ in range(rounds):
        monkeypatch.setattr(sqlite_cutter, "MIX", tuple(pick.randrange(1, small_p) for _ in range(256)))
        found += len(unseen(backend, cut))
    assert 0 < found < 2 * pieces * rounds / small_q

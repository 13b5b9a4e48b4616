"""The digest of a range: what both databases compute of their rows, and compare in place of them.

The digest of a row is ((a·key + Σ bᵢ·stampᵢ + c) mod P)² mod Q. Two different primes, because with one the sum of squares
is a polynomial in the sums of key², stamp² and key·stamp, and changes that keep those would go unseen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

DIGEST_P = 2**31 - 1
DIGEST_Q = 2**31 - 19

MIX = tuple(random.SystemRandom().randrange(2**20, 2**29) for _ in range(4_100))
"""Drawn by each process: two rows that happen to cancel out tonight will not do so tomorrow. Two for each of the 2,000
columns that a table may have; below 2^29, so that the products of three 32-bit columns and their sum stay within 64 bits
and need no further modulo."""

SMALL_COLUMNS = 3


def summed(terms: Sequence[str]) -> str:
    """``a + b + c + …``"""
    return tree(terms, "+")


def tree(terms: Sequence[str], operator: str) -> str:
    """Terms with an operator in between, as a tree and not as a chain: engines bound how deep an expression may be (SQLite:
    1,000)."""
    if len(terms) <= 2:
        return f" {operator} ".join(terms)
    middle = len(terms) // 2
    return f"({tree(terms[:middle], operator)}) {operator} ({tree(terms[middle:], operator)})"

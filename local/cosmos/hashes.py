"""The two hashes of partition key values, as the SDK computes them (azure/cosmos/partition_key.py).

Version 2 hashes to 128 bits, and the hash is the place. Version 1 hashes the first hundred characters of a string to
32 bits; its place is the hash and then the value itself, both in the binary form of an index. In two points the SDK's
version 1 is not followed, because the other SDKs, whose code the service shares, do otherwise: whole numbers are hashed as
doubles whatever their size or sign, and null has a byte in the place.
"""

from __future__ import annotations

import struct
from typing import Any

from .errors import bad_request

_MASK, _MASK_32 = (1 << 64) - 1, (1 << 32) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_HASHED_CHARACTERS, _PLACED_BYTES = 100, 100


class Undefined:
    """The partition key value of a document that has no such property."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED = Undefined()


def double(number: float) -> float:
    """A number as the service keeps it."""
    try:
        return float(number)
    except OverflowError:
        raise bad_request("A partition key number is too large for a double.") from None


def place_v2(part: Any) -> str:
    """Where a component lies in the space of version 2: 32 hexadecimal digits."""
    low, high = _murmur3_128(_encode(part, b"\xff"))
    # The two top bits are cleared because no key may sort at or beyond the maximum, "FF".
    return f"{((high << 64) | low) & ((1 << 126) - 1):032X}"


def place_v1(part: Any) -> str:
    """Where a partition key lies in the space of version 1: its hash and itself."""
    if isinstance(part, str):
        part = part[:_HASHED_CHARACTERS]
    return bound_v1(_murmur3_32(_encode(part, b"\x00"))) + _indexed(part).hex().upper()


def bound_v1(number: int) -> str:
    """Where the keys begin whose hash of version 1 is this number."""
    return _indexed(float(number)).hex().upper()


def _indexed(part: Any) -> bytes:
    if isinstance(part, str):
        octets = part.encode()
        # Each byte moves up by one, so that the zero at the end of a short string sorts below all of them.
        whole = len(octets) <= _PLACED_BYTES
        shown = octets if whole else octets[: _PLACED_BYTES + 1]
        return b"\x08" + bytes(octet + 1 for octet in shown) + (b"\x00" if whole else b"")
    if type(part) not in (int, float):
        return _encode(part, b"")
    bits: int = struct.unpack("<Q", struct.pack("<d", double(part)))[0]
    # So that negative numbers sort below positive ones.
    bits = bits ^ 1 << 63 if bits < 1 << 63 else -bits & _MASK
    found, rest = bytearray([0x05, bits >> 56]), bits << 8 & _MASK
    byte = 0
    while rest:
        # Seven bits and a mark that more follow.
        byte, rest = rest >> 56 | 1, rest << 7 & _MASK
        found.append(byte)
    if byte:
        found[-1] &= 0xFE
    else:
        found.append(0)
    return bytes(found)


def _encode(part: Any, end: bytes) -> bytes:
    if part is UNDEFINED:
        return b"\x00"
    if part is None:
        return b"\x01"
    if part is False:
        return b"\x02"
    if part is True:
        return b"\x03"
    if isinstance(part, str):
        try:
            return b"\x08" + part.encode("utf-8") + end
        except UnicodeEncodeError:
            raise bad_request("A partition key string holds an unpaired surrogate.") from None
    return b"\x05" + struct.pack("<d", double(part))


def _murmur3_32(data: bytes) -> int:
    h = 0
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        h ^= _scramble_32(int.from_bytes(data[at : at + 4], "little"))
        h = (_rotate_32(h, 13) * 5 + 0xE6546B64) & _MASK_32
    h ^= _scramble_32(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK_32
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK_32
    return h ^ h >> 16


def _scramble_32(k: int) -> int:
    return _rotate_32(k * 0xCC9E2D51 & _MASK_32, 15) * 0x1B873593 & _MASK_32


def _rotate_32(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK_32


def _murmur3_128(data: bytes) -> tuple[int, int]:
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, at)
        h1 ^= _rotate(k1 * _C1 & _MASK, 31) * _C2 & _MASK
        h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK
        h2 ^= _rotate(k2 * _C2 & _MASK, 33) * _C1 & _MASK
        h2 = ((_rotate(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK
    k1, k2 = struct.unpack("<QQ", data[whole:].ljust(16, b"\x00"))
    h2 ^= _rotate(k2 * _C2 & _MASK, 33) * _C1 & _MASK
    h1 ^= _rotate(k1 * _C1 & _MASK, 31) * _C2 & _MASK
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _mix(h1), _mix(h2)
    h1 = (h1 + h2) & _MASK
    return h1, (h2 + h1) & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _mix(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33

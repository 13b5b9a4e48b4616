"""JSON documents as text.

A document is kept as the text in which it came, because a round through Python or SQLite numbers could change it
(2**60 + 1, 1e300, -0.0, 1.50). Only the top level is taken apart, so that system properties can be spliced in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from json import decoder
from typing import Any, NamedTuple, NoReturn

from .errors import bad_request

MAX_DEPTH = 128
SYSTEM_PROPERTIES = frozenset({"_rid", "_self", "_etag", "_attachments", "_ts"})

_SPACE = re.compile(r"[ \t\r\n]*")
_OPEN = re.compile(r'[ \t\r\n]*{[ \t\r\n]*(?:"|(}))')
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_NEXT = re.compile(r'[ \t\r\n]*(?:,[ \t\r\n]*"|(}))')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Member(NamedTuple):
    """One value of an object or array: its text as it came, and what it means."""

    text: str
    value: Any


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# The standard library's readers of one string and of one value; its type stubs do not list them.
_scan_string: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_scan_value: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]


def loads(text: str) -> Any:
    """The value of a JSON text; NaN and Infinity are refused."""
    try:
        value, end = _DECODER.raw_decode(text, _skip(text, 0))
        if _skip(text, end) != len(text):
            raise ValueError("text after the JSON value")
    except (ValueError, RecursionError) as problem:
        raise bad_request(f"The request body is not valid JSON: {problem}") from None
    return value


def dumps(value: Any) -> str:
    """Compact JSON text of a value, in plain characters as far as they can be encoded."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(value, separators=(",", ":")) if _SURROGATE.search(text) else text


def decode(body: bytes) -> str:
    """The text of a request body."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise bad_request("The request body is not valid UTF-8.") from None


def members(text: str) -> dict[str, Member]:
    """The top-level members of a JSON object, in order; of repeated names the last one counts."""
    found: dict[str, Member] = {}
    try:
        begin = _OPEN.match(text)
        if begin is None:
            raise ValueError("an object is expected")
        at, closed = begin.end(), begin.group(1)
        while not closed:
            name, at = _scan_string(text, at, True)
            colon = _COLON.match(text, at)
            if colon is None:
                raise ValueError(f"a colon is expected at character {at}")
            value, end = _scan_value(text, colon.end())
            found[name] = Member(text[colon.end() : end], value)
            following = _NEXT.match(text, end)
            if following is None:
                raise ValueError(f"a comma or a closing brace is expected at character {end}")
            at, closed = following.end(), following.group(1)
        if _skip(text, at) != len(text):
            raise ValueError("text after the object")
    except (ValueError, RecursionError, StopIteration) as problem:
        raise bad_request(f"The request body is not a valid JSON object: {problem}") from None
    return found


def elements(text: str) -> list[str]:
    """The texts of the elements of a JSON array."""
    found: list[str] = []
    try:
        at = _expect(text, 0, "[")
        while text[at : at + 1] != "]":
            _, end = _DECODER.raw_decode(text, at)
            found.append(text[at:end])
            at = _skip(text, end)
            if text[at : at + 1] != "]":
                at = _expect(text, at, ",")
    except (ValueError, RecursionError) as problem:
        raise bad_request(f"The request body is not a valid JSON array: {problem}") from None
    return found


def plain(text: str) -> str:
    """The same JSON with escaped characters written out.

    SQLite compares property names as they are written, so that a name spelt with escapes would not be found.
    Lone surrogates have no UTF-8 form and stay escaped.
    """
    return _STRING.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    token = match.group()
    return dumps(json.loads(token)) if "\\" in token else token


def too_deep(text: str) -> bool:
    """Whether arrays and objects are nested beyond what Cosmos allows."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for character in re.sub(r"[^\[\]{}]", "", _STRING.sub("", text)):
        depth += 1 if character in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def join(parts: dict[str, str]) -> str:
    """An object text from names and value texts."""
    return "{" + ",".join([f"{_name(name)}:{text}" for name, text in parts.items()]) + "}"


@lru_cache(4096)
def _name(name: str) -> str:
    return dumps(name)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, character: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != character:
        raise ValueError(f"expected {character!r} at character {at}")
    return _skip(text, at + 1)

"""Python's text may hold what has no form in UTF-8: half a surrogate pair."""

from __future__ import annotations


def encodable(text: str) -> bool:
    """Whether a text has a form in UTF-8."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False

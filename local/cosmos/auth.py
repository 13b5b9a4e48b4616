"""The master-key signature that each request carries."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote

from .errors import CosmosError

# A development key of this server, public on purpose: it protects nothing.
DEFAULT_KEY = "FGG/T8McSvjMG9ZDmSeHt69uVKEaZoP//aXVnlyfSw+loJWQvGdMfF9BMqjYR99AC9nJzk1qplxmKvOciI86Ow=="


def verify(key: str, method: str, raw_path: str, token: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Raise 401 unless the request is signed with `key`. `token`: the parts of its header Authorization."""
    if token.get("type") != "master":
        raise CosmosError(401, "Required Header authorization is missing or is not a master-key token.")
    date = headers.get("x-ms-date", "").lower()
    given = token.get("sig", "")
    kind, link = _signed_resource(raw_path)
    for name in {link, unquote(link)}:
        text = f"{method.lower()}\n{kind}\n{name}\n{date}\n\n"
        digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
        if hmac.compare_digest(base64.b64encode(digest), given.encode()):
            return
    raise CosmosError(
        401,
        "The input authorization token can't serve the request. The wrong key is being used or the expected payload "
        "is not built as per the protocol.",
    )


def _signed_resource(raw_path: str) -> tuple[str, str]:
    segments = [segment for segment in raw_path.split("/") if segment]
    if not segments:
        return "", ""
    if len(segments) % 2:
        # A feed, or a create into it: signed by the parent.
        return segments[-1], "/".join(segments[:-1])
    kind = segments[-2]
    if kind == "offers":
        return kind, segments[-1].lower()
    return kind, "/".join(segments)

"""Tokens in the form of those of Microsoft Entra ID: who they are for, who bears them, and until when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any

from .errors import Blocked

# Like the development key it is public on purpose: whoever knows it can make tokens, as Entra ID does for the service.
SIGNING_KEY = b"signs the tokens of a development server and protects nothing"
_HEADER = {"typ": "JWT", "alg": "HS256"}
ANY_ACCOUNT = "https://cosmos.azure.com"


def issue(principal: str, audience: str, seconds: float = 3600) -> str:
    """A token for whom `principal` is the object id, which counts for so many seconds (it may be over, below 0)."""
    now = time.time()
    claims = {"aud": audience, "oid": principal, "nbf": int(now) - 300, "exp": int(now + seconds)}
    body = f"{_encoded(_HEADER)}.{_encoded(claims)}"
    return f"{body}.{_signature(body)}"


def bearer(token: str, account: str, accepted: set[str]) -> str:
    """Who bears a token. 401 for one that is none, is over, or is meant for somebody else.

    The messages are those of the service: https://github.com/Azure/azure-sdk-for-js/issues/22620 (expired),
    https://github.com/Azure/azure-sdk-for-java/issues/42800 (audience).
    """
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(body).encode(), signature.encode()):
        raise Blocked(401, account, "The provided AAD token cannot be authenticated.")
    try:
        claims = json.loads(_decoded(body.partition(".")[2]))
        principal, audience, begins, ends = claims["oid"], claims["aud"], claims["nbf"], claims["exp"]
    except (ValueError, KeyError, binascii.Error):
        raise Blocked(401, account, "The provided AAD token cannot be read.") from None
    if audience not in accepted:
        raise Blocked(
            401,
            account,
            f"Provided AAD token is intended for [{audience}]. This database account accepts tokens intended for "
            f"[{', '.join(sorted(accepted))}].",
            5008,
        )
    if time.time() >= ends:
        raise Blocked(
            401,
            account,
            f"Provided AAD token has been expired since [{_moment(ends)}]. Current server time is "
            f"[{_moment(time.time())}]. Please refresh the AAD token.",
        )
    if time.time() < begins:
        raise Blocked(401, account, f"Provided AAD token is not valid before [{_moment(begins)}].")
    return str(principal)


def _moment(seconds: float) -> str:
    return time.strftime("%m/%d/%Y %H:%M:%S (UTC)", time.gmtime(seconds))


def _signature(body: str) -> str:
    return _text(hmac.new(SIGNING_KEY, body.encode(), hashlib.sha256).digest())


def _encoded(value: dict[str, Any]) -> str:
    return _text(json.dumps(value).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

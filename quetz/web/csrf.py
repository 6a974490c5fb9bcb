"""Requests that another site makes a browser send with its user's cookie (CSRF).

A request that may change something counts only if the browser says that a page of ours sent it,
and if it carries a token that no page of another site can read. Neither is asked of API keys,
which no browser adds by itself.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping

from quetz.services.permissions import Principal
from quetz.web.guard import SAFE_METHODS

HEADER = b"x-csrf"
FOREIGN = "A page of another site sent this request; open ours and retry"
NO_ORIGIN = (
    "Send the header Origin with this server's own address, as browsers do, and X-CSRF with the "
    "token of GET /api/csrf-token; or use an API key instead of the cookie"
)
NO_TOKEN = (
    "Send the header X-CSRF with the token that GET /api/csrf-token answers to this login, "  # noqa: S105  a sentence
    "or use an API key instead of the cookie"
)


def token_of(cookie: str) -> str:
    """Return the token of a login session, which is bound to its secret and tells nothing of it."""
    return "qzc-" + hmac.new(cookie.encode(), b"X-CSRF", hashlib.sha256).hexdigest()


def refusal(
    method: str,
    headers: Mapping[bytes, bytes],
    principal: Principal,
    cookie: str | None,
    trusted: Collection[bytes],
) -> str | None:
    """Say why a request does not count; None if it does.

    ``trusted`` are the origins of other sites that may act for the user of the cookie.
    """
    if method in SAFE_METHODS or not by_cookie(principal):
        return None
    if cookie is None or not _is_ours(headers, trusted):
        return FOREIGN if headers.keys() & {b"origin", b"sec-fetch-site"} else NO_ORIGIN
    given = headers.get(HEADER, b"")
    return None if hmac.compare_digest(given, token_of(cookie).encode()) else NO_TOKEN


def by_cookie(principal: Principal) -> bool:
    """Say whether it is the cookie of a login that the principal comes from."""
    return principal.known and principal.api_key is None


def is_foreign(headers: Mapping[bytes, bytes], trusted: Collection[bytes]) -> bool:
    """Say whether a browser tells that a page of another site made it send this.

    It does not tell where a link was followed over plain http, and old ones never do.
    """
    told = b"origin" in headers or b"sec-fetch-site" in headers
    return told and not _is_ours(headers, trusted)


def _is_ours(headers: Mapping[bytes, bytes], trusted: Collection[bytes]) -> bool:
    origin = headers.get(b"origin", b"")
    if origin in trusted:
        return True
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site in {b"same-origin", b"none"}
    # Older browsers say at least this much; who says nothing is no browser with a user.
    return origin.partition(b"://")[2] == headers.get(b"host")

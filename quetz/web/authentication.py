"""Who sends a request: credentials in front of every route, decided before a body is read."""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request, cookie_parser

from quetz.deployment import Deployment
from quetz.services.authentication import authenticate_key
from quetz.services.permissions import ANONYMOUS, Principal
from quetz.services.sessions import authenticate_session
from quetz.web.cookies import cookie_name

T = TypeVar("T")

TRUST_SECONDS = 1.0
CACHE_ENTRIES = 10_000


class ReadCache:
    """What was read from the database, as long as nothing there changed, and at most a second.

    ``refresh`` looks whether anything changed: once a request, before it looks for anything. The
    second covers what changes without a commit: a key that expires.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        # A read of SQLite takes less time than handing it to a thread; PostgreSQL may be slow.
        self._inline = deployment.engine.dialect.name == "sqlite"
        self._entries: dict[object, object] = {}
        self._number = -1
        self._forgotten = 0.0

    def refresh(self) -> None:
        """Forget everything if the database may have changed since the last time."""
        number = self._deployment.changes.number()
        if number != self._number or len(self._entries) > CACHE_ENTRIES or self._is_old():
            # Another one: what is being read now may be of before the change.
            self._entries = {}
            self._number = number
            self._forgotten = time.monotonic()

    def entries(self) -> dict[object, object]:
        """Return what may be believed now; what is added was read after this call."""
        return {} if self._is_old() else self._entries

    async def get(self, key: object, load: Callable[[], T]) -> T:
        """Return the cached value of ``key``, or what ``load`` reads."""
        entries = self.entries()
        if key in entries:
            return entries[key]  # type: ignore[return-value]  # stored below under the same key
        value = load() if self._inline else await run_in_threadpool(load)
        entries[key] = value
        return value

    def _is_old(self) -> bool:
        return time.monotonic() - self._forgotten > TRUST_SECONDS


async def authenticate_again(request: Request) -> Principal:
    """Find out once more who asks: his key may have been revoked while a body arrived."""
    principal: Principal = await request.scope["quetz.authenticate"]()
    principal = replace(principal, address=request.scope["quetz.principal"].address)
    request.scope["quetz.principal"] = principal
    return principal


class Authenticator:
    """Finds the principal of a request's credential; a dead or unknown one counts as none."""

    def __init__(self, deployment: Deployment, cache: ReadCache) -> None:
        self._deployment = deployment
        self._cache = cache
        self._cookie = cookie_name(deployment.settings)

    async def principal(self, headers: Mapping[bytes, bytes], url_token: str | None) -> Principal:
        """Return who asks, by the first credential there is.

        In this order: X-API-Key, Authorization (Bearer, or Basic with the key as password),
        a token in the URL, the session cookie. A URL token only reads: URLs leak.
        """
        key = _header_key(headers)
        if key is not None:
            return await self._by_key(key)
        if url_token is not None:
            return await self._by_key(url_token, reading=True)
        cookie = self.cookie(headers)
        return ANONYMOUS if cookie is None else await self._by_cookie(cookie)

    def cookie(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the session cookie's value."""
        header = headers.get(b"cookie")
        if header is None:
            return None
        # Not http.cookies: it stops at the first odd cookie, of whatever application it is.
        return cookie_parser(header.decode("latin-1")).get(self._cookie)

    async def _by_key(self, key: str, *, reading: bool = False) -> Principal:
        find = _authenticate_to_read if reading else authenticate_key
        principal = await self._cached(key, find)
        if principal.api_key is not None:
            self._deployment.tallies.note_key(principal.api_key)
        return principal

    async def _by_cookie(self, cookie: str) -> Principal:
        principal = await self._cached(cookie, authenticate_session)
        if principal.known:
            self._deployment.tallies.note_cookie(cookie)
        return principal

    async def _cached(self, secret: str, find: Callable[..., Principal | None]) -> Principal:
        def load() -> Principal:
            with self._deployment.transaction() as session:
                return find(session, secret) or ANONYMOUS

        digest = hashlib.sha256(secret.encode()).digest()  # no secret lies about in the cache
        return await self._cache.get((find, digest), load)


def has_key(headers: Mapping[bytes, bytes], url_token: str | None) -> bool:
    """Say whether a request carries something for an API key."""
    return bool(url_token or _header_key(headers))


def _authenticate_to_read(session: Session, key: str) -> Principal:
    return replace(authenticate_key(session, key) or ANONYMOUS, read_only=True)


def _header_key(headers: Mapping[bytes, bytes]) -> str | None:
    key = headers.get(b"x-api-key")
    if key is not None:
        return key.decode("latin-1")
    authorization = headers.get(b"authorization")
    if authorization is None:
        return None
    scheme, _, value = authorization.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        return _basic_password(value)
    return None


def _basic_password(value: str) -> str:
    """Return the password, or the user name where clients put a key with no password."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # not base64, or not a text
        return ""
    return password or user

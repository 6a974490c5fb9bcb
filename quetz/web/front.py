"""The outermost ASGI app: paths, credentials and dispatch, before any framework."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

from quetz.deployment import Deployment
from quetz.errors import QuetzError
from quetz.services.permissions import ANONYMOUS, Principal
from quetz.web.authentication import Authenticator, ReadCache
from quetz.web.errors import UNEXPECTED, answer_error, problem, realm_of
from quetz.web.get import Downloads
from quetz.web.guard import SAFE_METHODS
from quetz.web.traffic import ROUTE, Exchange, Traffic

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("quetz.web")

LIVE = "/health/live"
GET_ROUTE = "/get/{channel}/{path}"

# conda takes [a-zA-Z0-9-]* for a token; whatever stands there is a token, and never logged.
TOKEN = re.compile(r"/t/([^/]*)(?=/|$)")


class Front:
    """Strips the sub-path and the URL token, finds the principal, and passes the request on.

    It decides on the raw path, which is neither decoded nor normalised, so that nothing can
    mean one thing here and another further on.
    """

    def __init__(
        self, app: App, deployment: Deployment, traffic: Traffic, *, root_path: str = ""
    ) -> None:
        self._app = app
        self._traffic = traffic
        self._root_path = "/" + root_path.strip("/") if root_path.strip("/") else ""
        self._dev = deployment.settings.general.dev
        self._cache = ReadCache(deployment)
        self._authenticator = Authenticator(deployment, self._cache)
        self._downloads = Downloads(deployment, self._cache)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self._traffic, receive, send)
        try:
            await self._answer_whole(scope, exchange)
        finally:
            exchange.end(scope)

    async def _answer_whole(self, scope: Scope, exchange: Exchange) -> None:
        headers = _headers(scope)
        try:
            await self._answer(scope, headers, exchange.receive, exchange.send)
        except QuetzError as error:
            host = headers.get(b"host", b"").decode("latin-1")
            await answer_error(error, realm_of(host))(scope, exchange.receive, exchange.send)
        except Exception:
            _log.exception("a fault of the server")
            if exchange.started:
                raise  # the client must see that the answer was cut off
            await problem(500, UNEXPECTED)(scope, exchange.receive, exchange.send)

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        path, token = self._split(scope["raw_path"].decode("latin-1"))
        if token is not None:
            # The access log reads the path after the answer was sent.
            scope["path"] = "/t/***" + path

        async def authenticate() -> Principal:
            self._cache.refresh()
            return await self._authenticator.principal(headers, token)

        # Whether the server lives does not depend on the database.
        principal = ANONYMOUS if path == LIVE else await authenticate()
        if path.startswith("/get/"):
            scope[ROUTE] = GET_ROUTE
            await self._downloads(path, principal, headers, scope, receive, send)
        elif self._dev and not _is_local(headers.get(b"host", b"")):
            answer = problem(421, "A development server answers to localhost only; use that name")
            await answer(scope, receive, send)
        elif _is_forged(scope["method"], headers, principal):
            answer = problem(403, "A page of another site sent this request; open ours and retry")
            await answer(scope, receive, send)
        else:
            inner = self._inner(scope, path, principal)
            inner["quetz.authenticate"] = authenticate
            try:
                await self._app(inner, receive, send)
            finally:
                for key in ("route", ROUTE):  # for who counts requests by it
                    scope[key] = inner.get(key)

    def _split(self, path: str) -> tuple[str, str | None]:
        """Return the path within the server, and the token that stood before or after its root."""
        path = self._without_root(path)
        match = TOKEN.match(path)
        if match is None:
            return path, None
        return self._without_root(path[match.end() :]) or "/", match[1]

    def _without_root(self, path: str) -> str:
        # A proxy may pass the sub-path on or take it away: both are common, and both are right.
        if self._root_path and (path + "/").startswith(self._root_path + "/"):
            return path[len(self._root_path) :] or "/"
        return path

    def _inner(self, scope: Scope, path: str, principal: Principal) -> Scope:
        client = scope.get("client")
        return {
            **scope,
            "path": self._root_path + unquote(path),
            "raw_path": (self._root_path + path).encode("latin-1"),
            "root_path": self._root_path,
            "quetz.principal": replace(principal, address=client[0] if client else None),
        }


def _headers(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers by name; lines of one name are one list (RFC 9110, 5.3)."""
    lines = scope["headers"]
    headers = dict(lines)
    if len(headers) < len(lines):
        joined: dict[bytes, list[bytes]] = {}
        for name, value in lines:
            joined.setdefault(name, []).append(value)
        headers = {
            name: (b"; " if name == b"cookie" else b", ").join(values)
            for name, values in joined.items()
        }
    return headers


def _is_forged(method: str, headers: Mapping[bytes, bytes], principal: Principal) -> bool:
    """Say whether another site made a browser send this with its user's cookie (CSRF)."""
    if method in SAFE_METHODS or not principal.known or principal.api_key is not None:
        return False
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in {b"same-origin", b"none"}
    # Older browsers say at least this much; who says nothing is no browser with a user.
    origin = headers.get(b"origin", b"")
    return origin.partition(b"://")[2] != headers.get(b"host")


def _is_local(host: bytes) -> bool:
    """Say whether a Host header names this machine.

    Any other name may be a web site's whose address was made to point here (DNS rebinding), and
    a development server logs in whoever asks.
    """
    name = urlsplit("//" + host.decode("latin-1")).hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False

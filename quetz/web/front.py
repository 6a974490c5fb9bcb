"""The outermost ASGI app: paths, credentials and dispatch, before any framework."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import lru_cache, partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from quetz.deployment import Deployment
from quetz.errors import QuetzError
from quetz.errors.api_keys import TooOften
from quetz.services.permissions import ANONYMOUS, Principal
from quetz.web import csrf
from quetz.web.authentication import Authenticator, ReadCache, has_key
from quetz.web.errors import UNEXPECTED, answer_error, problem, realm_of
from quetz.web.get import Downloads
from quetz.web.proxies import FORWARDED_BY
from quetz.web.rates import Rates
from quetz.web.safety import Safety
from quetz.web.traffic import ROUTE, Exchange, Traffic

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("quetz.web")

LIVE = "/health/live"
GET_ROUTE = "/get/{channel}/{path}"
DEAD_KEY = "quetz.dead_key"
"""In the scope of a request with an API key that is nobody's."""
FROM_ELSEWHERE = (
    "A development server answers to this machine only: ask for localhost, and not through a proxy"
)
# What proxies add: one on this machine may speak for anybody, and call the server localhost.
PROXIES_SEND = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})

# conda takes [a-zA-Z0-9-]* for a token; whatever stands there is a token, and never logged.
TOKEN = re.compile(r"/t/([^/]*)(?=/|$)")
_FORWARDED = re.compile(r"\[([^%]+)\](?::\d+)?|([\d.]+)(?::\d+)?|([^%]+)")


class Front:
    """Strips the sub-path and the URL token, finds the principal, and passes the request on.

    It decides on the raw path, which is neither decoded nor normalised, so that nothing can
    mean one thing here and another further on.
    """

    def __init__(
        self,
        app: App,
        deployment: Deployment,
        rates: Rates,
        traffic: Traffic,
        *,
        root_path: str = "",
    ) -> None:
        settings = deployment.settings
        self._app = app
        self._traffic = traffic
        self._root_path = "/" + root_path.strip("/") if root_path.strip("/") else ""
        self._dev = settings.general.dev
        self._cache = ReadCache(deployment)
        self._authenticator = Authenticator(deployment, self._cache)
        self._downloads = Downloads(deployment, self._cache)
        self._rates = rates
        self._safety = Safety(settings)
        self._serve_all = self._safety.behind_cors(self._serve, settings.cors)
        cors = settings.cors
        trusted = cors.allow_origins if cors.allow_credentials else ()
        self._trusted = frozenset(origin.encode() for origin in trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self._traffic, receive, send)
        try:
            await self._serve_all(scope, exchange.receive, exchange.send)
        finally:
            exchange.end(scope)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, token = self._split(scope["raw_path"].decode("latin-1"))
        started = False

        def safe_send(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": self._safety.add(message["headers"], path)}
            return send(message)

        headers = _headers(scope)
        request = _Request(path, token, headers)
        try:
            await self._answer(request, scope, receive, safe_send)
        except QuetzError as error:
            host = headers.get(b"host", b"").decode("latin-1")
            counting_send = self._counting_failures(scope, receive, safe_send)
            await answer_error(error, realm_of(host))(scope, receive, counting_send)
        except Exception:
            _log.exception("a fault of the server")
            if started:
                raise  # the client must see that the answer was cut off
            await problem(500, UNEXPECTED)(scope, receive, safe_send)

    def _counting_failures(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """Return a ``send`` that counts a dead key where a good one might have been let in.

        In place of a 401 too many it answers 429. Nothing else is counted or refused.
        """
        if DEAD_KEY not in scope:
            return send
        refused = False

        async def counting_send(message: Message) -> None:
            nonlocal refused
            if message.get("status") == HTTPStatus.UNAUTHORIZED:
                try:
                    self._rates.count_key_failure(_address(scope))
                except TooOften as error:
                    refused = True
                    await answer_error(error, "")(scope, receive, send)
            if not refused:
                await send(message)

        return counting_send

    async def _answer(
        self, request: "_Request", scope: Scope, receive: Receive, send: Send
    ) -> None:
        path, token, headers = request.path, request.token, request.headers
        if not path.startswith("/"):  # such as "*", or the host of a CONNECT (RFC 9112, 3.2)
            answer = problem(400, "A request to this server names a path that begins with a slash")
            await answer(scope, receive, send)
            return
        if token is not None:
            # The access log reads the path when the answer was sent.
            scope["path"] = "/t/***" + path
        if self._dev and not _is_from_here(headers):
            answer = problem(421, FROM_ELSEWHERE)
            await answer(scope, receive, send)
            return

        # Whether the server lives does not depend on the database.
        principal = ANONYMOUS if path == LIVE else await self._authenticate(request)
        if not principal.known and has_key(headers, token):
            scope[DEAD_KEY] = True
        if path.startswith("/get/"):
            scope[ROUTE] = GET_ROUTE
            await self._downloads(path, principal, headers, scope, receive, send)
            return
        inner = self._inner(scope, path, principal)
        inner["quetz.authenticate"] = partial(self._authenticate, request)
        await self._ask_app(request, inner, scope, receive, send)

    def _authenticate(self, request: "_Request") -> Awaitable[Principal]:
        self._cache.refresh()
        return self._authenticator.principal(request.headers, request.token)

    async def _ask_app(
        self, request: "_Request", inner: Scope, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers, principal = request.headers, inner["quetz.principal"]
        send = self._counting_failures(scope, receive, send)
        cookie = self._authenticator.cookie(headers)
        forged = csrf.refusal(scope["method"], headers, principal, cookie, self._trusted)
        if forged is not None:
            await problem(403, forged)(scope, receive, send)
            return
        inner["quetz.cookie"] = cookie
        inner["quetz.foreign"] = csrf.is_foreign(headers, self._trusted)
        try:
            await self._app(inner, receive, send)
        finally:
            for key in ("route", ROUTE):  # for who counts requests by it
                scope[key] = inner.get(key)

    def _split(self, path: str) -> tuple[str, str | None]:
        """Return the path within the server, and the token that stood before or after its root."""
        path = self._without_root(path)
        match = TOKEN.match(path) if path.startswith("/t/") else None
        if match is None:
            return path, None
        return self._without_root(path[match.end() :]) or "/", match[1]

    def _without_root(self, path: str) -> str:
        # A proxy may pass the sub-path on or take it away: both are common, and both are right.
        if self._root_path and (path + "/").startswith(self._root_path + "/"):
            return path[len(self._root_path) :] or "/"
        return path

    def _inner(self, scope: Scope, path: str, principal: Principal) -> Scope:
        return {
            **scope,
            "path": self._root_path + unquote(path),
            "raw_path": (self._root_path + path).encode("latin-1"),
            "root_path": self._root_path,
            "quetz.principal": replace(principal, address=_address(scope)),
        }


class _Request(NamedTuple):
    """What the front made of a request: its path within the server, its token, its headers."""

    path: str
    token: str | None
    headers: Mapping[bytes, bytes]


def _address(scope: Scope) -> str | None:
    """Return the address of who asks; of the proxy, where that tells none that is one."""
    client = scope.get("client")
    address = client[0] if client else None
    if FORWARDED_BY in scope:
        return _forwarded_address(address) or scope[FORWARDED_BY]
    return address


def _forwarded_address(text: str | None) -> str | None:
    """Return the address in a part of X-Forwarded-For: proxies may add a port, and brackets."""
    match = _FORWARDED.fullmatch(text or "")
    try:
        return str(ip_address(match[match.lastindex or 0])) if match else None
    except ValueError:
        return None


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


def _is_from_here(headers: Mapping[bytes, bytes]) -> bool:
    return _is_local(headers.get(b"host", b"")) and PROXIES_SEND.isdisjoint(headers)


@lru_cache(16)
def _is_local(host: bytes) -> bool:
    """Say whether a Host header names this machine.

    Any other name may be a web site's whose address was made to point here (DNS rebinding), and
    a development server logs in whoever asks.
    """
    try:
        name = urlsplit("//" + host.decode("latin-1")).hostname or ""
    except ValueError:  # an open bracket, or what Unicode takes for one of the separators
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False

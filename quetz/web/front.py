"""The outermost ASGI app: paths, credentials and dispatch, before any framework."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from quetz.deployment import Deployment
from quetz.services.permissions import Principal
from quetz.web.authentication import Authenticator, ReadCache
from quetz.web.errors import problem
from quetz.web.get import Downloads

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# conda takes [a-zA-Z0-9-]* for a token; whatever stands there is a token, and never logged.
TOKEN = re.compile(r"/t/([^/]*)(?=/|$)")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Front:
    """Strips the sub-path and the URL token, finds the principal, and passes the request on.

    It decides on the raw path, which is neither decoded nor normalised, so that nothing can
    mean one thing here and another further on.
    """

    def __init__(self, app: App, deployment: Deployment, *, root_path: str = "") -> None:
        self._app = app
        self._root_path = "/" + root_path.strip("/") if root_path.strip("/") else ""
        self._cache = ReadCache(deployment)
        self._authenticator = Authenticator(deployment, self._cache)
        self._downloads = Downloads(deployment, self._cache)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, token = self._split(scope["raw_path"].decode("latin-1"))
        if token is not None:
            # The access log reads the path after the answer was sent.
            scope["path"] = "/t/***" + path
        headers = dict(scope["headers"])
        self._cache.refresh()
        principal = await self._authenticator.principal(headers, token)
        if path.startswith("/get/"):
            await self._downloads(path, principal, scope, receive, send)
        elif _is_forged(scope["method"], headers, principal):
            answer = problem(403, "A page of another site sent this request; open ours and retry")
            await answer(scope, receive, send)
        else:
            await self._app(self._inner(scope, path, principal), receive, send)

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


def _is_forged(method: str, headers: dict[bytes, bytes], principal: Principal) -> bool:
    """Say whether another site made a browser send this with its user's cookie (CSRF)."""
    if method in SAFE_METHODS or not principal.known or principal.api_key is not None:
        return False
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in {b"same-origin", b"none"}
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2] != headers.get(b"host")

"""From errors to answers: problem details (RFC 9457), with the two keys that conda prints."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quetz.errors import (
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    NotLoggedIn,
    OtherPackage,
    QuetzError,
    StorageFull,
    TooLarge,
    Unavailable,
    UploadTooLarge,
)
from quetz.errors.api_keys import TooOften
from quetz.errors.redaction import redact_keys

STATUS: dict[type[QuetzError], int] = {
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    NotLoggedIn: 401,
    NotAllowed: 403,
    TooLarge: 413,
    Unavailable: 503,
}
EXCEPTIONS: dict[type[QuetzError], int] = {OtherPackage: 400, StorageFull: 507, TooOften: 429}
RETRY_AFTER_SECONDS = 5
BAD_BODY = "The body cannot be read: send JSON in UTF-8, not nested too deep"
UNEXPECTED = "The server met an unexpected fault; its log has the details"

_log = logging.getLogger("quetz.web")


def status_of(error: QuetzError) -> int:
    """Return the HTTP status of an error: that of its most special class in the tables."""
    table = STATUS | EXCEPTIONS
    return next(table[kind] for kind in type(error).__mro__ if kind in table)


def problem(
    status: int,
    detail: str | Sequence[Mapping[str, Any]],
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem; ``detail`` is a sentence, or what is wrong with which parts."""
    title = HTTPStatus(status).phrase
    if isinstance(detail, str):  # it may quote a name that no encoding can carry
        detail = detail.encode("utf-8", "backslashreplace").decode()
    message = detail if isinstance(detail, str) else _sentence(detail)
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "reason": title,
        "message": message,
    }
    return Response(
        redact_keys(msgspec.json.encode(body).decode()),  # a client may take a key for a name
        status,
        {"Cache-Control": "no-store"} | (headers or {}),
        media_type="application/problem+json",
    )


def _fault(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is wrong with a part; without the input, which may be a secret or no JSON."""
    message = error["msg"]
    if error["type"] == "too_long" and isinstance(error["input"], str):
        # Pydantic counts whatever another validator has passed as items, texts too.
        message = message.replace("items after validation", "characters")
    return {"loc": error["loc"], "msg": message, "type": error["type"]}


def _sentence(faults: Sequence[Mapping[str, Any]]) -> str:
    """Return the first fault in a line, such as ``body.name: Field required``."""
    first = faults[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def answer_error(error: QuetzError, host: str) -> Response:
    """Turn a named error into its problem document; ``host`` names the realm of a login."""
    status = status_of(error)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        # Bearer comes first: it is the one that pixi's logins start from.
        headers["WWW-Authenticate"] = f'Bearer realm="{host}", Basic realm="{host}"'
    elif isinstance(error, TooOften):
        headers["Retry-After"] = str(error.seconds)
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        _log.warning("%s: %s", type(error).__name__, error, exc_info=error.__cause__)
    return problem(status, str(error), headers)


def realm_of(host: str | None) -> str:
    """Return a Host header's text for a challenge, without what could break out of the quotes."""
    return "".join(c for c in host or "quetz" if c.isalnum() or c in ".-:[]")


class _LargeBodies:
    """Makes a problem of how Starlette refuses a body that is larger than its route takes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def translated(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                replaced = kind.startswith("text/plain") and _is_too_large(message["status"], scope)
                if replaced:
                    await _too_large(scope)(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, translated)


def _is_too_large(status: int, scope: Scope) -> bool:
    return status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and MAX_BODY_SIZE_SCOPE_KEY in scope


def _too_large(scope: Scope) -> Response:
    return answer_error(UploadTooLarge("the body", scope[MAX_BODY_SIZE_SCOPE_KEY]), "")


def install_error_handlers(app: FastAPI) -> None:
    app.add_middleware(_LargeBodies)

    @app.exception_handler(QuetzError)
    async def named(request: Request, error: QuetzError) -> Response:
        return answer_error(error, realm_of(request.headers.get("host")))

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        return problem(422, list(map(_fault, error.errors())))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if _is_too_large(error.status_code, request.scope):
            return _too_large(request.scope)
        # What FastAPI makes of a body that json cannot read, where it is no error of syntax.
        if error.status_code == HTTPStatus.BAD_REQUEST and error.__cause__ is not None:
            return problem(422, BAD_BODY)
        return problem(error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        # The server logs the traceback; the caller learns nothing of our insides.
        return problem(500, UNEXPECTED)

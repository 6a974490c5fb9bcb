"""Routes that say what they do, and are authorised before a byte of their body is read."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from quetz.conda.filenames import PackageFilename
from quetz.db.models import Channel
from quetz.db.queries.channels import lock_channel
from quetz.deployment import Deployment
from quetz.errors import BadFilename, RightsChanged, UploadCutOff
from quetz.services.authentication import renew_principal
from quetz.services.operations import RULES, Operation, Place
from quetz.services.permissions import Principal, authorize_path, find_target
from quetz.web.authentication import TRUST_SECONDS, authenticate_again
from quetz.web.index_waits import waiting_answer

OPERATION = "x-operation"
SECURITY = "security"
COOKIE = "cookie"
BY_COOKIE: list[dict[str, list[str]]] = [{COOKIE: []}]
"""The credentials of a route that API keys do not reach, as OpenAPI says it."""
JSON_BODY_LIMIT = 1 << 20
BODY_SECONDS = 60.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class FaultyRoute(Exception):
    """A route that no request could be authorised for; a start-up failure."""


class UndeclaredRoute(FaultyRoute):
    """A route declares no operation, so nobody could be allowed or refused."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"route '{path}' declares no operation: make it on a GuardedRouter, "
            "with **declares(Operation....)"
        )


class UnnamedChannel(FaultyRoute):
    """A route declares an operation that is done to a channel, and its path names none."""

    def __init__(self, path: str, operation: Operation) -> None:
        super().__init__(
            f"route '{path}' declares '{operation}', which is done to a channel: "
            "name it in the path, as {channel}"
        )


class OpenFolder(FaultyRoute):
    """A router serves a folder by ``frontend()``, which no guard stands before."""

    def __init__(self) -> None:
        super().__init__(
            "a router serves a folder by frontend(), to everybody: serve its files by a route "
            "on a GuardedRouter, with **declares(Operation.FRONTEND)"
        )


def declares(operation: Operation, **described: Any) -> dict[str, Any]:
    """Return the arguments that make a route declare ``operation``.

    ``described`` is added to the route's description, such as the ``requestBody`` of one that
    reads its body itself.
    """
    return {"openapi_extra": {OPERATION: operation.value, **described}}


class GuardedRoute(APIRoute):
    """A route whose handler runs only after its declared operation was authorised.

    The path parameters ``channel``, ``package`` and ``filename`` name what it is done to.
    FastAPI itself would read and parse the body before any dependency, so that a malformed
    body would be answered with 422 before 401. Who sends his body slowly is authorised once
    more when it is there, so that no one keeps a right by keeping a request open.
    """

    body_first = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        declared = (self.openapi_extra or {}).get(OPERATION)
        if declared is None:
            raise UndeclaredRoute(self.path)
        operation = Operation(declared)
        reads = _asks_for(self.dependant, read_session)

        async def guarded(request: Request) -> Response:
            request.state.operation = operation
            if request.method not in SAFE_METHODS:
                request = await self._receive(request)
            elif not reads:
                await _admit(request)
            if reads:
                return await _answer_within(request, answer)
            return waiting_answer(request, await answer(request))

        return guarded

    async def _receive(self, request: Request) -> Request:
        """Authorise what may change something, and return it with its body."""
        if self.body_first:
            request = _without_form_type(request)
        # Or a body of gigabytes would be received to be refused.
        request.app.state.deployment.check_writable()
        await _admit(request)
        if self.body_first:
            began = time.monotonic()
            await _receive_body(request)
            if time.monotonic() - began > TRUST_SECONDS:
                await authenticate_again(request)
                await run_in_threadpool(_authorize, request)
        return request


class StreamedRoute(GuardedRoute):
    """A guarded route that reads its body itself, and authorises again what it makes of it."""

    body_first = False


async def read_session(request: Request) -> Session:
    """Return the session of the transaction in which the request was authorised."""
    session: Session = request.state.session
    return session


async def read_channel(request: Request, channel: str) -> Channel:  # noqa: ARG001  of the path
    """Return the channel that the request was authorised for, of ``read_session``."""
    found: Channel = request.state.channel
    return found


def _asks_for(dependant: Dependant, dependency: Callable[..., object]) -> bool:
    return dependant.call is dependency or any(
        _asks_for(inner, dependency) for inner in dependant.dependencies
    )


async def _answer_within(
    request: Request, answer: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    """Answer from the data that the request was authorised by; its body is there already."""
    async with contextmanager_in_threadpool(_authorized(request)) as (session, channel):
        if request.method in SAFE_METHODS:  # others were counted before their body came
            _count(request)
        request.state.session, request.state.channel = session, channel
        return await answer(request)


@contextmanager
def _authorized(request: Request) -> Iterator[tuple[Session, Channel | None]]:
    deployment: Deployment = request.app.state.deployment
    with deployment.transaction() as session:
        caller, operation = _caller(request), request.state.operation
        yield session, authorize_path(session, caller, operation, *_target(request))


async def _admit(request: Request) -> None:
    await run_in_threadpool(_authorize, request)
    _count(request)


def _count(request: Request) -> None:
    request.app.state.rates.count(request.state.operation, _caller(request))


def _without_form_type(request: Request) -> Request:
    """Take JSON that is called a form for JSON: curl calls whatever --data sends so."""
    headers = [
        (name, value)
        for name, value in request.scope["headers"]
        if (name, value.lower()) != (b"content-type", b"application/x-www-form-urlencoded")
    ]
    return Request({**request.scope, "headers": headers}, request.receive)


async def _receive_body(request: Request) -> None:
    """Read the body, which the request keeps, within the time that a small one may take."""
    try:
        await asyncio.wait_for(request.body(), BODY_SECONDS)
    except (ClientDisconnect, TimeoutError):
        raise UploadCutOff(request.url.path) from None


def _authorize(request: Request) -> None:
    with _authorized(request):
        pass


def authorize_again(session: Session, request: Request) -> None:
    """Authorise once more, with the locks that the change takes: whoever waited may have lost.

    Raises:
        RightsChanged: he has lost or won something that this request does not take.
        QuetzError: as the route's first authorisation.
    """
    name, package_name = _target(request)
    if name is not None:
        channel, _ = find_target(session, name, None)
        if channel is not None:
            lock_channel(session, channel)
    caller = renew_principal(session, _caller(request))
    authorize_path(session, caller, request.state.operation, name, package_name)
    if caller != _caller(request):
        raise RightsChanged


def _caller(request: Request) -> Principal:
    principal: Principal = request.scope["quetz.principal"]
    return principal


def _target(request: Request) -> tuple[str | None, str | None]:
    """Return the names of the channel and the package that the path is about."""
    named = request.path_params
    return named.get("channel"), named.get("package") or _package_of(named.get("filename"))


def _package_of(filename: str | None) -> str | None:
    try:
        return PackageFilename.parse(filename).name if filename else None
    except BadFilename:
        return None  # authorised as a new package; the route then refuses the name


class GuardedRouter(APIRouter):
    """A router of guarded routes; their bodies are limited to 1 MiB unless they say otherwise."""

    def __init__(
        self,
        *,
        tags: Sequence[str],
        route_class: type[GuardedRoute] = GuardedRoute,
        max_body_size: int | None = JSON_BODY_LIMIT,
    ) -> None:
        super().__init__(
            tags=list(tags),
            route_class=route_class,
            redirect_slashes=False,
            generate_unique_id_function=_operation_id,
            strict_content_type=False,  # existing scripts post JSON without a Content-Type
            max_body_size=max_body_size,
        )


def _operation_id(route: APIRoute) -> str:
    """Return what generators of clients name a function by."""
    return "_".join([*map(str, route.tags), route.name]).replace(" ", "_")


def check_declared(app: FastAPI) -> None:
    """Refuse an app with a route that no request could be authorised for, of plugins too.

    Raises:
        UndeclaredRoute, UnnamedChannel: naming the first such route.
        OpenFolder: a router serves a folder.
    """
    if any(app.router._iter_low_priority_routes()):  # noqa: SLF001  # nothing public tells of them
        raise OpenFolder
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, GuardedRoute):
            raise UndeclaredRoute(getattr(route, "path", repr(route)))
        operation = Operation((route.openapi_extra or {})[OPERATION])
        named = context.param_convertors  # of the whole path, with the prefixes of routers
        if RULES[operation].place is not Place.SERVER and "channel" not in named:
            raise UnnamedChannel(str(context.path), operation)

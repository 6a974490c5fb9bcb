"""The web application: the front, the hot path and the API in one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from fastapi import FastAPI

from quetz import __version__
from quetz.deployment import Deployment
from quetz.web.api import (
    api_keys,
    channels,
    description,
    health,
    me,
    members,
    packages,
    uploads,
    versions,
)
from quetz.web.errors import install_error_handlers
from quetz.web.front import Front
from quetz.web.guard import check_declared
from quetz.web.login import dummy, logout

ROUTERS = (
    channels,
    packages,
    versions,
    members,
    uploads,
    api_keys,
    me,
    health,
    description,
    logout,
)


class Background(Protocol):
    """Work that runs beside the requests of a server process."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def create_app(
    deployment: Deployment, background: Sequence[Background] = (), *, root_path: str = ""
) -> Front:
    """Build the application on an open deployment, which it closes when it shuts down.

    Raises:
        UndeclaredRoute: a route, of ours or of a plugin, declares no operation.
    """
    app = FastAPI(
        title="quetz",
        version=__version__,
        lifespan=_lifespan(deployment, background),
        redirect_slashes=False,
        openapi_url=None,  # served by a guarded route of ours
    )
    app.state.deployment = deployment
    install_error_handlers(app)
    for module in ROUTERS:
        app.include_router(module.router)
    if deployment.settings.general.dev:
        app.include_router(dummy.router)
    for routers in deployment.plugins.hook.routers():
        for router in routers:
            app.include_router(router)
    check_declared(app)
    return Front(app, deployment, root_path=root_path)


def _lifespan(
    deployment: Deployment, background: Sequence[Background]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for work in background:
            work.start()
        yield
        for work in reversed(background):
            work.stop()
        deployment.close()

    return lifespan

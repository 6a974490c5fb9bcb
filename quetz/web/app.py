"""The web application: the front, the hot path and the API in one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute

from quetz import __version__
from quetz.deployment import Deployment
from quetz.errors import PluginError
from quetz.plugins import Plugins
from quetz.services.background import Background, running
from quetz.web.access_log import AccessLog
from quetz.web.api import (
    api_keys,
    audit,
    channels,
    copies,
    csrf,
    cursors,
    description,
    health,
    keys,
    leaked_keys,
    me,
    members,
    metrics,
    mirrors,
    package_members,
    packages,
    prometheus,
    searches,
    service_accounts,
    uploads,
    users,
    versions,
    yanks,
)
from quetz.web.errors import install_error_handlers
from quetz.web.front import Front
from quetz.web.frontend import Frontend, frontend_folder
from quetz.web.guard import FaultyRoute, check_declared
from quetz.web.login import dummy, logout
from quetz.web.rates import Rates
from quetz.web.registries import make_registry
from quetz.web.traffic import Traffic

ROUTERS = (
    searches,
    cursors,
    channels,
    packages,
    copies,
    versions,
    yanks,
    metrics,
    members,
    package_members,
    mirrors,
    uploads,
    api_keys,
    audit,
    keys,
    leaked_keys,
    csrf,
    me,
    users,
    service_accounts,
    prometheus,
    health,
    description,
    logout,
)


def create_app(
    deployment: Deployment, background: Sequence[Background] = (), *, root_path: str = ""
) -> Front:
    """Build the application on an open deployment, which it closes when it shuts down.

    Raises:
        FaultyRoute: a route of ours could not be authorised.
        PluginError: as ``check_routes``.
        BadConfig: as ``frontend_folder``.
    """
    access_log = AccessLog()
    app = FastAPI(
        title="quetz",
        version=__version__,
        lifespan=_lifespan(deployment, [access_log, *background]),
        redirect_slashes=False,
        openapi_url=None,  # served by a guarded route of ours
        routes=core_routes(),
    )
    app.state.deployment = deployment
    app.state.rates = rates = Rates(deployment.settings.limits)
    traffic = Traffic(access_log)
    app.state.registry = make_registry(deployment, traffic)
    install_error_handlers(app)
    if deployment.settings.general.dev:
        app.include_router(dummy.router)
    check_declared(app)
    _add_routes(app, deployment.plugins)
    app.router.default = Frontend(frontend_folder(deployment))
    return Front(app, deployment, rates, traffic, root_path=root_path)


def core_routes() -> list[BaseRoute]:
    """Return the routes that every server has.

    They are taken as they are: FastAPI copies a router that is included for each application, and
    looks through it twice for each request.
    """
    return [route for module in ROUTERS for route in module.router.routes]


def check_routes(plugins: Plugins) -> None:
    """Return if a server could answer the routes of the plugins.

    Raises:
        PluginError: a route of a plugin could not be authorised, or its ``routers`` fails.
    """
    _add_routes(FastAPI(openapi_url=None), plugins)


def _add_routes(app: FastAPI, plugins: Plugins) -> None:
    for implementation in plugins.implementations("routers"):
        try:
            routers: Any = implementation.function() or ()
            for router in routers:
                app.include_router(router)
            check_declared(app)
        except FaultyRoute as error:
            raise PluginError(implementation.plugin_name, str(error)) from error
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            reason = f"routers() failed: {type(error).__name__}: {error}"
            raise PluginError(implementation.plugin_name, reason) from error


def _lifespan(
    deployment: Deployment, background: Sequence[Background]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with running(background):
            yield
        deployment.close()

    return lifespan

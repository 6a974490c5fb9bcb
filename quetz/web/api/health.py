"""Health: whether the server lives, and whether it can serve."""

import logging
from typing import Literal

from fastapi import Response
from pydantic import BaseModel, Field

from quetz.deployment import Deployment
from quetz.errors import QuetzError
from quetz.migrations.status import State
from quetz.plugins import CORE
from quetz.services.permissions import Operation
from quetz.web.deps import DeploymentDep
from quetz.web.errors import RETRY_AFTER_SECONDS
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["health"])

_log = logging.getLogger("quetz.web")


class Health(BaseModel):
    component: str = "http-server"
    status: Literal["ok", "unavailable"] = "ok"


class Schema(BaseModel):
    """``pending`` counts the migrations that were not applied when the server started."""

    state: State | Literal["changed", "unreachable"]
    pending: int


class Readiness(Health):
    """Anyone may read it, so it names neither a path nor a revision, and no reason."""

    database: Schema = Field(serialization_alias="schema")
    store: Literal["ok", "unreachable"]
    plugins: dict[str, Literal["ok", "broken"]]


@router.get("/health/live", **declares(Operation.HEALTH_LIVE))
async def live() -> Health:
    return Health()


@router.get(
    "/health/ready", responses={503: {"model": Readiness}}, **declares(Operation.HEALTH_READY)
)
def ready(deployment: DeploymentDep, response: Response) -> Readiness:
    """Answer 200 once the database, its schema and the store are found to be well, else 503."""
    readiness = Readiness(
        database=_look_at_schema(deployment),
        store=_look_at_store(deployment),
        plugins=_plugins(deployment),
    )
    response.headers["Cache-Control"] = "no-store"
    if readiness.database.state in {"changed", "unreachable"} or readiness.store != "ok":
        readiness.status = "unavailable"
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return readiness


def _look_at_schema(deployment: Deployment) -> Schema:
    """Compare the revisions on record; to read all files of revisions takes far longer."""
    known = deployment.schema.status
    try:
        with deployment.transaction():  # which names what goes wrong with the database
            changed = deployment.schema.look()
    except QuetzError as error:
        _log.warning("not ready: %s", error)
        return Schema(state="unreachable", pending=known.pending)
    return Schema(state="changed" if changed else known.state, pending=known.pending)


def _look_at_store(deployment: Deployment) -> Literal["ok", "unreachable"]:
    try:
        deployment.store.check()
    except QuetzError as error:
        _log.warning("not ready: %s", error)
        return "unreachable"
    return "ok"


def _plugins(deployment: Deployment) -> dict[str, Literal["ok", "broken"]]:
    broken = deployment.plugins.broken
    names = {*deployment.plugins.migrations, *broken} - {CORE}
    return {name: "broken" if name in broken else "ok" for name in sorted(names)}

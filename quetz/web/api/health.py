"""Health: whether the server lives, and whether it can serve."""

from pydantic import BaseModel

from quetz.migrations import check_schema
from quetz.services.permissions import Operation
from quetz.web.deps import DeploymentDep
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["health"])


class Health(BaseModel):
    component: str = "http-server"
    status: str = "ok"


@router.get("/health/live", **declares(Operation.HEALTH_LIVE))
async def live() -> Health:
    return Health()


@router.get("/health/ready", **declares(Operation.HEALTH_READY))
def ready(deployment: DeploymentDep) -> Health:
    """Answer once the database, its schema and the store are found to be well."""
    with deployment.transaction():  # which names what goes wrong with the database
        check_schema(deployment.engine, deployment.plugins, deployment.path)
    deployment.store.check()
    return Health()

"""What Prometheus scrapes."""

from fastapi import Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from quetz.services.permissions import Operation
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["metrics"])


@router.get(
    "/metricsp",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    **declares(Operation.PROMETHEUS),
)
def scrape(request: Request) -> Response:
    """Describe this server process to Prometheus, in its text format.

    Labels are templates of routes, methods and status codes, never names.
    """
    registry: CollectorRegistry = request.app.state.registry
    return Response(
        generate_latest(registry),
        media_type=CONTENT_TYPE_PLAIN_0_0_4,
        headers={"Cache-Control": "no-store"},
    )

"""Publishing on demand: what a server's publisher threads do, at the moment a test says."""

from quetz.deployment import Deployment
from quetz.services.publishing import list_marked
from quetz.worker.publisher import publish


def publish_all(deployment: Deployment) -> None:
    """Publish until nothing is marked."""
    while True:
        with deployment.transaction() as session:
            marked = list_marked(session)
        if not marked:
            return
        for switch in marked:
            publish(deployment, switch)

"""What a server does in a process that answers no requests.

There it would hold answers up: of the threads of a process only one at a time runs Python.
"""

from quetz.deployment import Deployment
from quetz.services.background import Background
from quetz.worker.bell_watch import BellWatch
from quetz.worker.improver import Improver
from quetz.worker.publisher import Publisher
from quetz.worker.sealer import Sealer
from quetz.worker.upkeep import Upkeep


def background_of(deployment: Deployment) -> list[Background]:
    """Return what publishes, seals and tidies up, not yet started."""
    return [
        deployment.schema,
        Publisher(deployment),
        Sealer(deployment),
        BellWatch(deployment),
        Upkeep(deployment),
        Improver(deployment),
    ]

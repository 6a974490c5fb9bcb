"""Publishing at once what is marked of a channel, beside the publishers of servers."""

import time

from quetz.deployment import Deployment
from quetz.services import publishing
from quetz.services.publishing import Switch
from quetz.worker.publisher import BUSY_SECONDS, lease, publish


def publish_channel(deployment: Deployment, channel_id: int) -> list[Switch]:
    """Return once nothing of the channel is marked; tell what was published here.

    What a server is publishing at the time is left to it, and waited for.

    Raises:
        QuetzError, PluginFailed: an index cannot be built; the one before it stays.
    """
    published: list[Switch] = []
    while True:
        with deployment.transaction() as session:
            marked = [
                one for one in publishing.list_marked(session) if one.channel_id == channel_id
            ]
        if not marked:
            return published
        for switch in marked:
            with lease(deployment, switch) as mine:
                if not mine:
                    time.sleep(BUSY_SECONDS)
                elif publish(deployment, switch):
                    published.append(switch)

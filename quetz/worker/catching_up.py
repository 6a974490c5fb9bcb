"""Publishing at once what is marked of a channel, beside the publishers of servers."""

import time
from collections.abc import Collection

from quetz.db.queries.index import list_marks_of_channel, list_present_marks
from quetz.deployment import Deployment
from quetz.services import publishing
from quetz.services.publishing import Switch
from quetz.worker.publisher import BUSY_SECONDS, lease, publish


def publish_channel(deployment: Deployment, channel_id: int) -> list[Switch]:
    """Return once what is marked of the channel now is published; tell what was published here.

    What is marked later is not waited for: uploads may go on without an end. What a server is
    publishing at the time is left to it, and waited for.

    Raises:
        QuetzError, PluginFailed: an index cannot be built; the one before it stays.
    """
    published: list[Switch] = []
    with deployment.transaction() as session:
        waited_for: Collection[int] = list_marks_of_channel(session, channel_id)
    while waited_for:
        with deployment.transaction() as session:
            # Not only their switches: hotfixes wait for indexes that are marked by them.
            marked = [
                one for one in publishing.list_marked(session) if one.channel_id == channel_id
            ]
        for switch in marked:
            with lease(deployment, switch) as mine:
                if mine and publish(deployment, switch):
                    published.append(switch)
                else:
                    time.sleep(BUSY_SECONDS)
        with deployment.transaction() as session:
            waited_for = list_present_marks(session, list(waited_for))
    return published

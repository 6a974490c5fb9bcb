"""What has to change in a database that was put back from a backup."""

import json
import time

from sqlalchemy.orm import Session

from quetz.db.queries.backups import forget_indexes
from quetz.db.queries.channels import list_channel_ids
from quetz.services.events import record_event
from quetz.services.permissions import OPERATOR
from quetz.services.publishing import mark_channel_for_rebuild

RESTORED = "deployment.restore"
"""The action in the audit log."""


def begin_epoch(session: Session, state: str) -> None:
    """Let every index be built anew, under names that no server gave before.

    A client may have seen indexes that are newer than the backup ``state``. Their entity tags are
    of their content, so it is told that what it has is another state.

    Numbers of changes go on from the microseconds since 1970: nobody makes a million in a second,
    so that none since the backup was as large, and JavaScript reads them without loss until 2255.
    """
    forget_indexes(session, next_mark=time.time_ns() // 1000)
    for channel_id in list_channel_ids(session):
        mark_channel_for_rebuild(session, channel_id)
    record_event(session, OPERATOR, RESTORED, after=json.dumps({"backup": state}))

"""Repairs: what ``quetz fsck`` mends, each in one transaction with its event."""

import json
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.db.models import Channel
from quetz.db.queries import checks as queries
from quetz.db.queries.channels import lock_channel
from quetz.services.events import record_event
from quetz.services.permissions import Operation, Principal
from quetz.services.publishing import Switch, find_channel_of, mark_for_rebuild


@dataclass(frozen=True)
class Recount:
    """Counters of a channel and of its packages that are not the sums of what they count."""

    channel_id: int


@dataclass(frozen=True)
class SetAside:
    """Bytes of an object that are not those of its hash, which nobody may be served."""

    sha256: str


Repair = Switch | Recount | SetAside
"""What is to be mended: an index that has to be built anew, counters, or damaged bytes."""

QUARANTINED = "objects.quarantine"
"""The action in the audit log."""


def apply_repair(session: Session, principal: Principal, repair: Switch | Recount) -> None:
    """Mend it. Of a channel that was deleted meanwhile there is nothing to mend.

    Raises:
        ChannelNotFound: the channel is being deleted.
    """
    if isinstance(repair, Recount):
        recount(session, principal, repair.channel_id)
    else:
        rebuild(session, principal, repair)


def rebuild(session: Session, principal: Principal, switch: Switch) -> None:
    """Ask for an index to be built anew from the database."""
    channel = find_channel_of(session, switch)
    if channel is None:
        return
    mark_for_rebuild(session, switch)
    subject = f"{switch.subdir}/{switch.family}" if switch.subdir else switch.family
    record_event(session, principal, Operation.ACTION_REINDEX, channel=channel, subject=subject)


def note_set_aside(session: Session, principal: Principal, sha256: str, place: str) -> None:
    """Record that damaged bytes were moved to ``place`` in the store."""
    record_event(session, principal, QUARANTINED, subject=sha256, after=place)
    session.flush()


def recount(session: Session, principal: Principal, channel_id: int) -> None:
    """Set the counters of a channel and of its packages to what there is."""
    channel = session.get(Channel, channel_id)
    if channel is None:
        return
    lock_channel(session, channel)
    before = {"size": channel.size, "packages_count": channel.packages_count}
    size, packages = queries.sum_channel(session, channel_id)
    channel.size, channel.packages_count = size, packages
    recounted = queries.recount_packages(session, channel_id)
    after = {"size": size, "packages_count": packages, "packages_recounted": recounted}
    record_event(
        session,
        principal,
        Operation.ACTION_VALIDATE_PACKAGES,
        channel=channel,
        before=json.dumps(before),
        after=json.dumps(after),
    )
    session.flush()

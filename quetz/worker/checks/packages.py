"""Counters of channels and packages, and packages without files (I8, I9)."""

from collections.abc import Iterator

from quetz.db.models import Channel
from quetz.db.queries import checks as queries
from quetz.db.queries.channels import list_channel_ids
from quetz.services.operations import Operation
from quetz.services.repairs import Recount
from quetz.worker.checks.findings import Finding, Ground, Severity

MOST = 1_000
"""Of more packages of a channel than that, the rest is not named."""

_RECOUNT = "quetz fsck --repair counts anew"
_EMPTY = "delete it with quetz package delete, unless it is wanted"


def check_counters(ground: Ground) -> Iterator[Finding]:
    """I8: counters are the sums of what they count; each look is at one state of the database."""
    with ground.deployment.transaction() as session:
        channels = list_channel_ids(session)
    for channel_id in channels:
        ground.looked_at["channels"] += 1
        if list(_counters(ground, channel_id)):
            yield from list(_counters(ground, channel_id))


def _counters(ground: Ground, channel_id: int) -> Iterator[Finding]:
    with ground.deployment.transaction() as session:
        channel = session.get(Channel, channel_id)
        if channel is None:
            return
        size, packages = queries.sum_channel(session, channel_id)
        miscounted = queries.list_miscounted(session, channel_id, limit=MOST)
    repair = Recount(channel_id)
    for what, counter, real in (
        ("size", channel.size, size),
        ("number of packages", channel.packages_count, packages),
    ):
        if counter != real:
            fault = f"its {what} is {real:,}, and its counter says {counter:,}"
            yield Finding("I8", Severity.ERROR, channel.name, fault, _RECOUNT, repair)
    for name, counter, real in miscounted:
        fault = f"it has {real:,} files, and its counter says {counter:,}"
        yield Finding("I8", Severity.ERROR, f"{channel.name}/{name}", fault, _RECOUNT, repair)


def check_empty_packages(ground: Ground) -> Iterator[Finding]:
    """I9: a package without files was made by a request; others go with their last file."""
    with ground.deployment.transaction() as session:
        channels = list_channel_ids(session)
    for channel_id in channels:
        with ground.deployment.transaction() as session:
            channel = session.get(Channel, channel_id)
            empty = queries.list_empty_packages(session, channel_id, limit=MOST)
            made = queries.list_subjects(session, channel_id, Operation.PACKAGE_CREATE, empty)
        if channel is None:
            continue
        for name in sorted(set(empty) - made):
            what = "it has no file, and no event says that it was made without any"
            yield Finding("I9", Severity.WARNING, f"{channel.name}/{name}", what, _EMPTY)

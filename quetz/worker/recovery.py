"""Recovery: what a server puts in order that crashes left, at its start and while it runs.

In this order, each step repeatable, and no harm when several servers take it at once:

1. the schema is compared before anything else (``Deployment.open``), and a server that cannot go on
   with it does not start;
2. ``release_dead``: the files of uploads whose process is gone, and room in quotas held too long;
3. marks of changes that were not published are in the database: the publisher starts with them;
4. ``mend_indexes``: index files that a power cut lost or tore are built anew;
5. objects and index files that nothing names are collected (``collecting.py``).

Only the first is waited for. While the others are at it, the server answers: from indexes as they
were, and of a torn one that it is being rebuilt.
"""

import logging

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.queries import uploads
from quetz.deployment import Deployment
from quetz.services import publishing
from quetz.services.index_checks import find_torn

_log = logging.getLogger("quetz.recovery")


def release_dead(deployment: Deployment) -> None:
    """Remove the files of uploads whose process is gone, and reservations that expired."""
    deployment.store.remove_dead_stages()
    remove_reservations(deployment)


def remove_reservations(deployment: Deployment, *, dry_run: bool = False) -> int:
    """Remove reservations that expired; return how many. The search holds no write lock."""
    now = now_ms()
    with deployment.transaction() as session:
        expired = uploads.count_expired(session, now=now)
    if expired and not dry_run:
        with deployment.transaction(write=True) as session:
            uploads.remove_expired(session, now=now)
            crashpoint("collect.reservations")
    return expired


def mend_indexes(deployment: Deployment) -> None:
    """Let publishers rebuild what a crash of the machine left missing or torn.

    Index files are written without fsync, so that publishing costs no disk flush.
    """
    with deployment.transaction() as session:
        torn = find_torn(session, deployment.store)
    if torn:
        _log.warning("rebuilding %d torn indexes", len(torn))
        with deployment.transaction(write=True) as session:
            for switch in torn:
                publishing.mark_for_rebuild(session, switch)
                crashpoint("mend.marking")

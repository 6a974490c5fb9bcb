"""Bringing the hotfixes of a channel up to date, when a package of them came or went."""

import logging

from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.errors import BadArchive
from quetz.services import patches
from quetz.services.publishing import Switch, remove_marks

_log = logging.getLogger("quetz.patches")


def apply_patches(deployment: Deployment, switch: Switch) -> bool:
    """Apply the newest hotfixes of a channel, and remove its marks once indexes show them.

    Returns False where that has to wait, for indexes or for another process.
    From a package that cannot be read nothing is taken: the hotfixes before it stay.
    """
    with deployment.transaction() as session:
        due = patches.find_due(session, switch)
    if due is None or (due.applied and not due.shown):
        return False
    if not due.applied and (wanted := _read(deployment, due)) is not None:
        with deployment.transaction(write=True) as session:
            applied = patches.apply_due(session, due, wanted)
            crashpoint("patches.applying")
            return applied
    # Whatever changed since they were read has left marks of its own.
    with deployment.transaction(write=True) as session:
        remove_marks(session, due.marks)
        crashpoint("patches.shown")
    return True


def _read(deployment: Deployment, due: patches.Due) -> patches.Patches | None:
    try:
        return patches.read_due(deployment.store, due)
    except BadArchive as error:
        _log.error(
            "the hotfixes of channel '%s' stay as they were, for the newest package of them "
            "cannot be read: %s; upload a newer one, or yank it",
            due.channel,
            error,
        )
        return None

"""Bringing the hotfixes of a channel up to date, when a package of them came or went."""

import logging

from quetz.deployment import Deployment
from quetz.errors import BadArchive
from quetz.services import patches
from quetz.services.publishing import Switch

_log = logging.getLogger("quetz.patches")


def apply_patches(deployment: Deployment, switch: Switch) -> bool:
    """Apply the newest hotfixes of a channel; say whether that took its marks.

    From a package that cannot be read nothing is taken: the hotfixes before it stay.
    """
    with deployment.transaction() as session:
        due = patches.find_due(session, switch)
    if due is None:
        return False
    wanted = None
    if not due.applied:
        try:
            wanted = patches.read_due(deployment.store, due)
        except BadArchive as error:
            _log.error(
                "the hotfixes of channel '%s' stay as they were, for the newest package of them "
                "cannot be read: %s; upload a newer one, or yank it",
                due.channel,
                error,
            )
    with deployment.transaction(write=True) as session:
        return patches.apply_due(session, due, wanted)

"""The users of a deployment for development."""

from quetz.db.queries.users import find_user
from quetz.deployment import Deployment
from quetz.services.accounts import create_user
from quetz.services.api_keys import create_api_key
from quetz.services.permissions import OPERATOR, Role

_OTHERS = ("bob", "carol", "dave")


def add_dev_users(deployment: Deployment) -> str:
    """Make alice, the server's owner, bob, carol and dave where missing.

    Return a new API key of alice: an older one cannot be shown again.
    """
    default = deployment.settings.users.default_role
    role = Role(default) if default else None
    with deployment.transaction(write=True) as session:
        alice = find_user(session, "alice")
        if alice is None:
            alice = create_user(session, OPERATOR, "alice", role=Role.OWNER)
        for username in _OTHERS:
            if find_user(session, username) is None:
                create_user(session, OPERATOR, username, role=role)
        new = create_api_key(
            session, OPERATOR, alice, description="quetz --dev", expires_at=None, scopes=None
        )
        return new.key

"""The users of a deployment for development."""

from quetz.db.queries.users import find_user
from quetz.deployment import Deployment
from quetz.services.accounts import set_role
from quetz.services.api_keys import create_api_key
from quetz.services.identities import Login, find_or_make_account
from quetz.services.permissions import OPERATOR, Role

_OWNER = "alice"
_OTHERS = ("bob", "carol", "dave")


def add_dev_users(deployment: Deployment) -> str | None:
    """Make alice, the server's owner, bob, carol and dave where missing.

    Return a new API key of alice, for an older one cannot be shown again; None if she was deleted.
    """
    with deployment.transaction(write=True) as session:
        for username in (_OWNER, *_OTHERS):
            if find_user(session, username) is None:
                login = Login("dummy", username, username)
                find_or_make_account(session, login, deployment.settings)
                if username == _OWNER:
                    set_role(session, OPERATOR, username, Role.OWNER)
        alice = find_user(session, _OWNER)
        if alice is None or alice.disabled_at is not None:
            return None
        new = create_api_key(
            session, OPERATOR, alice, description="quetz --dev", expires_at=None, scopes=None
        )
        return new.key

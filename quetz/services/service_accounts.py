"""Service accounts: users who never log in, and act by API keys that others make for them."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from quetz.db.models import User
from quetz.db.queries.users import UserFilter, find_user
from quetz.errors.accounts import ServiceAccountNotFound
from quetz.services import accounts
from quetz.services.permissions import Operation, Principal, authorize


def list_service_accounts(session: Session, principal: Principal) -> Sequence[User]:
    """Return all service accounts by name.

    Raises:
        LoginRequired, RoleRequired: the caller may not list users.
    """
    authorize(session, principal, Operation.USERS_LIST_ALL)
    return accounts.list_users(session, UserFilter(service=True))


def get_service_account(session: Session, username: str) -> User:
    """Raises ServiceAccountNotFound, for a user who is none too."""
    user = find_user(session, username)
    if user is None or not user.service or user.disabled_at is not None:
        raise ServiceAccountNotFound(username)
    return user


def delete_service_account(session: Session, principal: Principal, username: str) -> None:
    """Delete a service account; its keys are good for nothing from now on.

    Raises:
        LoginRequired, RoleRequired: the caller may not delete it, whether there is one or not.
        ServiceAccountNotFound: there is no such account.
    """
    authorize(session, principal, Operation.USERS_DELETE_MEMBER)
    account = get_service_account(session, username)
    accounts.delete_user(session, principal, account.username)

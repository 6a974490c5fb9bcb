"""Service accounts, and the API keys that others make for them."""

from typing import Any

from pydantic import BaseModel

from quetz.db.models import User
from quetz.services import accounts
from quetz.services import service_accounts as service
from quetz.services.api_keys import list_api_keys
from quetz.services.permissions import Operation, Role
from quetz.web.api.api_keys import ApiKeyIn, make_key
from quetz.web.api.keys import KeyOut, show_full_keys, show_full_new_key
from quetz.web.api.pages import Text
from quetz.web.deps import Caller, DeploymentDep, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["service accounts"])
PATH = "/api/service-accounts"
KEYS = f"{PATH}/{{username}}/api-keys"


class ServiceAccountIn(BaseModel):
    username: Text
    role: Role | None = None


class ServiceAccountOut(BaseModel):
    id: str
    username: str
    role: Role | None

    @classmethod
    def of(cls, user: User) -> "ServiceAccountOut":
        role = Role(user.role) if user.role else None
        return cls(id=user.public_id, username=user.username, role=role)


@router.get(PATH, **declares(Operation.USERS_LIST_ALL))
def list_service_accounts(session: ReadSession, caller: Caller) -> list[ServiceAccountOut]:
    return [ServiceAccountOut.of(one) for one in service.list_service_accounts(session, caller)]


@router.post(PATH, status_code=201, **declares(Operation.USERS_CREATE))
def create_service_account(
    body: ServiceAccountIn, session: WriteSession, caller: Caller
) -> ServiceAccountOut:
    """Add an account that nobody logs in by; it acts by its API keys.

    Only owners of the server give one the role owner or maintainer.
    """
    user = accounts.create_user(session, caller, body.username, role=body.role, service=True)
    return ServiceAccountOut.of(user)


@router.delete(f"{PATH}/{{username}}", **declares(Operation.USERS_DELETE_MEMBER))
def delete_service_account(username: str, session: WriteSession, caller: Caller) -> None:
    """Delete a service account for good; its API keys end at once."""
    service.delete_service_account(session, caller, username)


@router.get(KEYS, response_model=list[KeyOut], **declares(Operation.USERS_LIST_ALL))
def list_keys(username: str, session: ReadSession, caller: Caller) -> list[dict[str, Any]]:
    """List the API keys of a service account; `key` is the id by which one is revoked."""
    account = service.get_service_account(session, username)
    return show_full_keys(session, list_api_keys(session, caller, account))


@router.post(KEYS, status_code=201, response_model=KeyOut, **declares(Operation.USERS_CREATE))
def create_key(
    username: str,
    body: ApiKeyIn,
    session: WriteSession,
    caller: Caller,
    deployment: DeploymentDep,
) -> dict[str, Any]:
    """Make an API key of a service account, which must not be above the caller."""
    account = service.get_service_account(session, username)
    return show_full_new_key(session, make_key(body, session, caller, account, deployment))

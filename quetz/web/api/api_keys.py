"""API keys over HTTP: the full key is in the answer that makes it, and nowhere after."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from quetz.db.models import ApiKey, User
from quetz.deployment import Deployment
from quetz.services import accounts
from quetz.services import api_keys as service
from quetz.services.permissions import Operation, Principal, Role, Verb
from quetz.services.texts import KEY_DESCRIPTION_LENGTH
from quetz.web.api.pages import Text
from quetz.web.deps import Caller, DeploymentDep, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["API keys"])


class ApiKeyRole(BaseModel):
    channel: str
    package: str | None = None
    role: Role


class ApiKeyIn(BaseModel):
    description: Annotated[Text, Field(max_length=KEY_DESCRIPTION_LENGTH)]
    expire_at: date | None = Field(
        default=None,
        description="The last day, in UTC, that the key is good for; null for ever. If it is left "
        "out, the server chooses: 90 days from now, unless its settings say otherwise.",
    )
    roles: list[ApiKeyRole] = Field(
        default_factory=list,
        max_length=100,
        description="What the key may do, as far as its owner may; an empty list for all.",
    )
    verbs: list[Verb] | None = Field(
        default=None,
        min_length=1,
        max_length=len(Verb),
        description="What kinds of deeds the key is good for; null for all that the key has "
        "which makes it, or for all.",
    )
    read_only: bool = Field(
        default=False, description="The key reads what its owner may, and changes nothing."
    )


class ApiKeyOut(BaseModel):
    key: str
    description: str
    time_created: date
    expire_at: date | None
    roles: list[ApiKeyRole] | None = Field(
        description="null for a key with all of its owner's rights; an empty list for one that has "
        "none left, because the channels of its roles are gone."
    )


@router.get("/api/api-keys", response_model=list[ApiKeyOut], **declares(Operation.APIKEY_LIST_OWN))
def list_api_keys(session: ReadSession, caller: Caller) -> list[dict[str, Any]]:
    return show_keys(session, service.list_api_keys(session, caller))


@router.post(
    "/api/api-keys",
    status_code=201,
    response_model=ApiKeyOut,
    **declares(Operation.APIKEY_CREATE),
)
def create_api_key(
    body: ApiKeyIn, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> dict[str, Any]:
    owner = accounts.get_own_account(session, caller)
    return show_new_key(session, make_key(body, session, caller, owner, deployment))


@router.delete("/api/api-keys/{key}", **declares(Operation.APIKEY_REVOKE_OWN))
def delete_api_key(key: str, session: WriteSession, caller: Caller) -> None:
    service.revoke_api_key(session, caller, key)


def make_key(
    body: ApiKeyIn,
    session: Session,
    caller: Principal,
    owner: User,
    deployment: Deployment,
) -> service.NewKey:
    """Make a key of ``owner``."""
    rules = deployment.settings.keys
    named = [service.NamedScope(role.channel, role.package, role.role) for role in body.roles]
    given = "expire_at" in body.model_fields_set
    last_day = body.expire_at if given else service.default_last_day(rules)
    return service.create_api_key(
        session,
        caller,
        owner,
        description=body.description,
        expires_at=service.end_of_life(rules, last_day),
        scopes=service.find_scopes(session, caller, named) or None,
        read_only=body.read_only,
        verbs=body.verbs,
    )


def show_new_key(session: Session, new: service.NewKey) -> dict[str, Any]:
    """Return what is told of a key, with its text, this once."""
    [shown] = show_keys(session, [new.row])
    return shown | {"key": new.key}


def show_keys(session: Session, keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    scopes = service.name_scopes(session, keys)
    return [
        {
            "key": key.public_id,
            "description": key.description,
            "time_created": service.day_of(key.created_at),
            "expire_at": service.last_day(key),
            "roles": scopes[key.public_id],
        }
        for key in keys
    ]

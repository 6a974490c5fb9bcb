"""API keys over HTTP: the full key is in the answer that makes it, and nowhere after."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from quetz.db.models import ApiKey, User
from quetz.services import accounts
from quetz.services import api_keys as service
from quetz.services.permissions import Operation, Principal, Role
from quetz.web.api.pages import Text
from quetz.web.deps import Caller, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

DAY = 86_400_000  # milliseconds
DEFAULT_LIFE = timedelta(days=90)
_EPOCH = date(1970, 1, 1).toordinal()

router = GuardedRouter(tags=["API keys"])


class ApiKeyRole(BaseModel):
    channel: str
    package: str | None = None
    role: Role


class ApiKeyIn(BaseModel):
    description: Annotated[Text, Field(max_length=1000)]
    expire_at: date | None = Field(
        default_factory=lambda: datetime.now(UTC).date() + DEFAULT_LIFE,
        description="The last day, in UTC, that the key is good for: 90 days from now unless "
        "given; null for ever.",
    )
    roles: list[ApiKeyRole] = Field(
        default_factory=list,
        max_length=100,
        description="What the key may do, as far as its owner may; an empty list for all.",
    )


class ApiKeyOut(BaseModel):
    key: str
    description: str
    time_created: date
    expire_at: date | None
    roles: list[ApiKeyRole] | None


@router.get("/api/api-keys", response_model=list[ApiKeyOut], **declares(Operation.APIKEY_LIST_OWN))
def list_api_keys(session: ReadSession, caller: Caller) -> list[dict[str, Any]]:
    return shown(session, service.list_api_keys(session, caller))


@router.post(
    "/api/api-keys",
    status_code=201,
    response_model=ApiKeyOut,
    **declares(Operation.APIKEY_CREATE),
)
def create_api_key(body: ApiKeyIn, session: WriteSession, caller: Caller) -> dict[str, Any]:
    return make_key(session, caller, accounts.get_own_account(session, caller), body)


@router.delete("/api/api-keys/{key}", **declares(Operation.APIKEY_REVOKE_OWN))
def delete_api_key(key: str, session: WriteSession, caller: Caller) -> None:
    service.revoke_api_key(session, caller, key)


def make_key(session: Session, caller: Principal, owner: User, body: ApiKeyIn) -> dict[str, Any]:
    """Make a key of ``owner``, and return what is answered: the key itself this once."""
    named = [service.NamedScope(role.channel, role.package, role.role) for role in body.roles]
    new = service.create_api_key(
        session,
        caller,
        owner,
        description=body.description,
        expires_at=None if body.expire_at is None else _end_of(body.expire_at),
        scopes=service.find_scopes(session, caller, named) or None,
    )
    [answer] = shown(session, [new.row])
    return answer | {"key": new.key}


def shown(session: Session, keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    """Return what is told of keys, without a secret."""
    scopes = service.name_scopes(session, keys)
    return [
        {
            "key": key.public_id,
            "description": key.description,
            "time_created": _day_of(key.created_at),
            "expire_at": None if key.expires_at is None else _day_of(key.expires_at - 1),
            "roles": scopes[key.public_id],
        }
        for key in keys
    ]


def _end_of(day: date) -> int:
    """Return the first millisecond after a day; of any day, where datetime would overflow."""
    return (day.toordinal() - _EPOCH + 1) * DAY


def _day_of(milliseconds: int) -> date:
    return date.fromordinal(_EPOCH + milliseconds // DAY)

"""API keys with all that there is to say of them: verbs, last use, expiry.

``/api/api-keys`` knows the same keys; its answers are those that existing clients read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from quetz.db.models import ApiKey
from quetz.services import api_keys as service
from quetz.services import authentication
from quetz.services.accounts import get_own_account
from quetz.services.permissions import Operation, Verb
from quetz.web.api.api_keys import ApiKeyIn, ApiKeyOut, make_key, show_keys
from quetz.web.deps import Caller, DeploymentDep, ReadSession, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["API keys"])


class KeyOut(ApiKeyOut):
    verbs: list[Verb] | None
    read_only: bool
    last_used_at: datetime | None = Field(description="To within a few seconds.")
    expired: bool


@router.get("/api/keys", response_model=list[KeyOut], **declares(Operation.APIKEY_LIST_OWN))
def list_keys(session: ReadSession, caller: Caller) -> list[dict[str, Any]]:
    """List your keys that were not revoked, the newest first; ``key`` is a key's public id."""
    return show_full_keys(session, service.list_api_keys(session, caller))


@router.post(
    "/api/keys", status_code=201, response_model=KeyOut, **declares(Operation.APIKEY_CREATE)
)
def create_key(
    body: ApiKeyIn, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> dict[str, Any]:
    """Make a key; ``key`` is its full text, which is not shown again.

    Its rights are what ``roles`` and ``verbs`` leave of those that its owner has at the time of
    each request.
    """
    owner = get_own_account(session, caller)
    return show_full_new_key(session, make_key(body, session, caller, owner, deployment))


@router.delete("/api/keys/{id}", **declares(Operation.APIKEY_REVOKE_OWN))
def revoke_key(id: str, session: WriteSession, caller: Caller) -> None:  # noqa: A002  the path's name
    """Revoke a key, by its public id or its full text."""
    service.revoke_api_key(session, caller, id)


def show_full_new_key(session: Session, new: service.NewKey) -> dict[str, Any]:
    """Return all that is told of a key, with its text, this once."""
    [shown] = show_full_keys(session, [new.row])
    return shown | {"key": new.key}


def show_full_keys(session: Session, keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    return [
        shown
        | {
            "verbs": authentication.verbs_of(key),
            "read_only": key.read_only,
            "last_used_at": _time_of(key.last_used_at),
            "expired": authentication.has_expired(key),
        }
        for shown, key in zip(show_keys(session, keys), keys, strict=True)
    ]


def _time_of(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)

"""The profile of who sits at the browser."""

from typing import Any

from pydantic import BaseModel

from quetz.services import accounts
from quetz.services.permissions import Operation
from quetz.web.deps import Caller, ReadSession
from quetz.web.guard import BY_COOKIE, GuardedRouter, declares

router = GuardedRouter(tags=["users"])


class BaseUserOut(BaseModel):
    id: str
    username: str


class ProfileOut(BaseModel):
    name: str
    avatar_url: str
    user: BaseUserOut


@router.get(
    "/api/me", response_model=ProfileOut, **declares(Operation.USERS_READ_SELF, security=BY_COOKIE)
)
def get_me(session: ReadSession, caller: Caller) -> dict[str, Any]:
    user = accounts.get_own_profile(session, caller)
    return {
        "name": user.name,
        "avatar_url": user.avatar_url,
        "user": {"id": user.public_id, "username": user.username},
    }

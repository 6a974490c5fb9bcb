"""The token that a page sends with whatever changes something."""

from fastapi import Request
from pydantic import BaseModel

from quetz.services import accounts
from quetz.services.permissions import Operation
from quetz.web.csrf import token_of
from quetz.web.deps import Caller, ReadSession
from quetz.web.guard import BY_COOKIE, GuardedRouter, declares

router = GuardedRouter(tags=["login"])


class CsrfToken(BaseModel):
    token: str


@router.get(
    "/api/csrf-token",
    response_model=CsrfToken,
    **declares(Operation.USERS_READ_SELF, security=BY_COOKIE),
)
def get_csrf_token(request: Request, session: ReadSession, caller: Caller) -> dict[str, str]:
    """Return the token of this login, to be sent as the header X-CSRF with each change.

    An API key needs none.
    """
    accounts.get_own_profile(session, caller)
    return {"token": token_of(request.scope["quetz.cookie"])}

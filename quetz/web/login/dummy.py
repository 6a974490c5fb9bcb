"""Logging in as anyone, for development: mounted only where ``[general] dev`` is set."""

from fastapi import Request
from fastapi.responses import RedirectResponse

from quetz.db.queries.users import get_user
from quetz.services.permissions import Operation
from quetz.services.sessions import start_session
from quetz.web.cookies import set_session_cookie
from quetz.web.deps import Caller, DeploymentDep, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["login"])


@router.get(
    "/api/dummylogin/{username}",
    status_code=307,
    response_class=RedirectResponse,
    **declares(Operation.LOGIN),
)
def log_in(
    username: str,
    request: Request,
    session: WriteSession,
    caller: Caller,
    deployment: DeploymentDep,
) -> RedirectResponse:
    user = get_user(session, username)
    cookie = start_session(session, user, "dummy", address=caller.address)
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/", 307)
    set_session_cookie(response, deployment.settings, cookie)
    return response

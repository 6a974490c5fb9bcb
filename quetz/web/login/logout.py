"""Logging out, whichever way one logged in."""

from fastapi import Request
from fastapi.responses import RedirectResponse

from quetz.services.permissions import Operation
from quetz.services.sessions import end_session
from quetz.web.cookies import drop_session_cookie
from quetz.web.csrf import by_cookie
from quetz.web.deps import Caller, DeploymentDep, WriteSession
from quetz.web.guard import GuardedRouter, declares

router = GuardedRouter(tags=["login"])


@router.get(
    "/auth/logout",
    status_code=307,
    response_class=RedirectResponse,
    include_in_schema=False,
    **declares(Operation.LOGOUT),
)
def log_out(
    request: Request, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> RedirectResponse:
    """End the login that the request comes from; a page of another site ends none."""
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/", 307)
    if by_cookie(caller) and not request.scope["quetz.foreign"]:
        end_session(session, caller, request.scope["quetz.cookie"])
        drop_session_cookie(response, deployment.settings)
    return response


@router.post(
    "/auth/logout",
    status_code=303,
    response_class=RedirectResponse,
    **declares(Operation.LOGOUT),
)
def log_out_by_form(
    request: Request, session: WriteSession, caller: Caller, deployment: DeploymentDep
) -> RedirectResponse:
    response = log_out(request, session, caller, deployment)
    response.status_code = 303  # the page that follows is fetched with GET
    return response

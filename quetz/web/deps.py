"""What a route asks for: a session, the caller, the deployment."""

from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import event
from sqlalchemy.orm import Session

from quetz.deployment import Deployment
from quetz.services.permissions import Principal
from quetz.services.publishing import marks_of
from quetz.web.guard import authorize_again, read_session
from quetz.web.index_waits import leave_marks


def get_deployment(request: Request) -> Deployment:
    deployment: Deployment = request.app.state.deployment
    return deployment


def get_caller(request: Request) -> Principal:
    """Return the principal that the authentication in front of the app found."""
    caller: Principal = request.scope["quetz.principal"]
    return caller


DeploymentDep = Annotated[Deployment, Depends(get_deployment)]
Caller = Annotated[Principal, Depends(get_caller)]


def open_write_session(deployment: DeploymentDep, request: Request) -> Iterator[Session]:
    with deployment.transaction(write=True) as session:
        _before_first_use(session, lambda: authorize_again(session, request))
        yield session
    leave_marks(request, marks_of(session))


def _before_first_use(session: Session, check: Callable[[], None]) -> None:
    """Call ``check`` in the thread that uses the session first.

    A thread that waited for the lock here would leave none to the handler of whoever has it.
    """
    checks = [check]

    def call(*_: object) -> None:
        if checks:
            checks.pop()()

    event.listen(session, "do_orm_execute", call)
    event.listen(session, "before_flush", call)


# scope="function": commit before the answer is sent, so that a 201 means stored.
# FastAPI's default would commit after it (FastAPI 0.118 and later).
ReadSession = Annotated[Session, Depends(read_session)]
WriteSession = Annotated[Session, Depends(open_write_session, scope="function")]

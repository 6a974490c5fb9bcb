"""What a route asks for: a session, the caller, the deployment."""

import threading
from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from quetz.db.models import Channel
from quetz.deployment import Deployment
from quetz.services.permissions import Principal
from quetz.services.publishing import marks_of
from quetz.web.guard import authorize_again, read_channel, read_session
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
        passed = _check_as_it_begins(session, lambda own: authorize_again(own, request))
        yield session
        if session.in_transaction() and not passed.is_set():
            authorize_again(session, request)  # it was refused, and the handler went on
    leave_marks(request, marks_of(session))


def _check_as_it_begins(session: Session, check: Callable[[Session], None]) -> threading.Event:
    """Call ``check`` in the thread that uses the session first, before anything else is done.

    A thread that waited for the lock here would leave none to the handler of whoever has it.
    Return what tells that it has passed. Until then it is called whenever a transaction begins.
    """
    passed = threading.Event()

    def call(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
        if not passed.is_set():
            # A session may not be used while it begins; this one leaves the transaction alone.
            with Session(connection, join_transaction_mode="rollback_only") as own:
                check(own)
            passed.set()

    event.listen(session, "after_begin", call)
    return passed


# scope="function": commit before the answer is sent, so that a 201 means stored.
# FastAPI's default would commit after it (FastAPI 0.118 and later).
ReadSession = Annotated[Session, Depends(read_session)]
ReadChannel = Annotated[Channel, Depends(read_channel)]
"""Beside a ReadSession: the channel that the path names."""
WriteSession = Annotated[Session, Depends(open_write_session, scope="function")]

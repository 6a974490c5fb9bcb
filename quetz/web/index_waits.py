"""``?wait_for_index=``: an answer that waits, after the commit, until the index shows the change.

A route takes the parameter by ``dependencies=[WAITS_FOR_INDEX]``. Nothing else is left to it: the
guard wraps its answer, and whatever made the change leaves its marks in the request's state.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from starlette.types import Receive, Scope, Send

from quetz.deployment import Deployment

LONGEST_SECONDS = 20
"""Clearly less than ``STOP_SECONDS`` of a server, after which a stop kills who still waits."""

Seconds = Annotated[
    float | None,
    Query(
        ge=0,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="How long to wait, in seconds, until every form of the index shows the change. "
        "The header `Quetz-Index` then says `published`, or `pending` if that took longer; the "
        "change itself is made in both cases.",
    ),
]


async def _requested_wait(request: Request, wait_for_index: Seconds = None) -> None:
    request.state.wait_for_index = wait_for_index


WAITS_FOR_INDEX: Any = Depends(_requested_wait)


def leave_marks(request: Request, marks: Sequence[int]) -> None:
    """Let the answer of the request wait for these marks, if its client wants to."""
    request.state.marks = marks


def waiting_answer(request: Request, answer: Response) -> Response:
    """Return the answer, or one that waits before it is sent."""
    seconds = getattr(request.state, "wait_for_index", None)
    if seconds is None:
        return answer
    return _WaitingAnswer(request, answer, seconds)


class _WaitingAnswer(Response):
    """Waits when it is sent: the transaction of the request is committed by then."""

    def __init__(self, request: Request, answer: Response, seconds: float) -> None:
        super().__init__(status_code=answer.status_code)
        self._request = request
        self._answer = answer
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        deployment: Deployment = self._request.app.state.deployment
        marks = getattr(self._request.state, "marks", ())
        published = await _are_published(deployment, marks, self._seconds)
        self._answer.headers["Quetz-Index"] = "published" if published else "pending"
        await self._answer(scope, receive, send)


async def _are_published(deployment: Deployment, marks: Sequence[int], seconds: float) -> bool:
    if not marks:
        return True
    wait = deployment.waits.add(marks)
    try:
        await asyncio.wait_for(asyncio.wrap_future(wait), seconds)
    except TimeoutError:
        return False
    finally:
        deployment.waits.drop(wait)
    return True

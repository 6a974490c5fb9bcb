"""What clients know of a server that dies: what they asked for, and what they were told."""

import hashlib
import http
import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """Where a file is."""

    channel: str
    subdir: str
    filename: str


class State(NamedTuple):
    """A file that is there; an index offers it, unless it is yanked."""

    sha256: str
    offered: bool = True


class Request(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/octet-stream"


States = Mapping[Place, State | None]
SUCCESSES = frozenset({http.HTTPStatus.OK, http.HTTPStatus.CREATED, http.HTTPStatus.NO_CONTENT})
DELETED = SUCCESSES | {http.HTTPStatus.NOT_FOUND}


@dataclass(frozen=True, eq=False)
class Change:
    """A request, and what it makes of files: of all of them, or of none.

    ``again`` are the statuses that may answer it when it is sent once more. What a command makes
    has no request.
    """

    request: Request | None
    after: States
    again: frozenset[int] = SUCCESSES


class Refused(AssertionError):
    """A request was refused that should not be."""


@dataclass
class History:
    """What is certain (``settled``), and the changes that were never answered.

    Of each place there is one change at a time: clients keep to their own.
    """

    settled: dict[Place, State | None] = field(default_factory=dict)
    unanswered: list[Change] = field(default_factory=list)
    acknowledged: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, change: Change, send: Callable[[Request], int]) -> bool:
        """Send a change; say whether it was answered.

        Raises:
            Refused: the answer is neither a success nor a failure of the server (5xx).
        """
        assert change.request is not None
        try:
            status = send(change.request)
        except (OSError, http.client.HTTPException):
            status = http.HTTPStatus.INTERNAL_SERVER_ERROR
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            with self._lock:
                self.unanswered.append(change)
            return False
        if status not in SUCCESSES:
            raise Refused(f"{change.request.method} {change.request.path} was answered {status}")
        self.settle(change)
        return True

    def settle(self, change: Change) -> None:
        """Note that a change was made."""
        with self._lock:
            self.settled.update(change.after)
            self.acknowledged += 1
            if change in self.unanswered:
                self.unanswered.remove(change)

    def faults(self, seen: States) -> list[str]:
        """Return what of the places ``seen`` is neither as it was acknowledged nor as was asked."""
        found, open_places = [], set[Place]()
        for change in self.unanswered:
            open_places |= change.after.keys()
            now = {place: seen[place] for place in change.after if place in seen}
            before = {place: self.settled.get(place) for place in now}
            if now not in (before, {place: change.after[place] for place in now}):
                found.append(f"{_named(change)} is done in part: {now}")
        for place, state in seen.items():
            if place not in open_places and state != self.settled.get(place):
                found.append(f"{'/'.join(place)} is {state}, not {self.settled.get(place)}")
        return found


def _named(change: Change) -> str:
    return change.request.path if change.request is not None else "a command"


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

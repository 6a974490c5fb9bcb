"""Waits: who has to know when the index shows a change, each for marks of his own.

A waiting request holds neither a thread nor a session: it is a future here. One look at the
database tells all of them, whichever process published.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from sqlalchemy.orm import Session

from quetz.db.queries.index import list_present_marks


class IndexWaits:
    """The waits of one process; safe to use from any thread.

    ``wake`` is set when a wait is new: what it waits for may be published already.
    """

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[Future[None], Sequence[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, marks: Sequence[int]) -> Future[None]:
        """Return a future that is done once all of the marks are gone; ``drop`` it in the end."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting[future] = marks
        self.wake.set()
        return future

    def drop(self, future: Future[None]) -> None:
        with self._lock:
            self._waiting.pop(future, None)

    def list_published(self, session: Session) -> list[Future[None]]:
        """Return the waits whose marks are all gone."""
        with self._lock:
            waiting = list(self._waiting.items())
        marks = sorted({mark for _, marks in waiting for mark in marks})
        present = list_present_marks(session, marks)
        return [future for future, marks in waiting if present.isdisjoint(marks)]

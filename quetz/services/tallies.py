"""Tallies: what reading counts, kept in memory and written in batches.

Reading changes nothing else, and never waits for a write; a crash loses the last few seconds.
"""

import threading
from collections import Counter
from dataclasses import dataclass

from sqlalchemy.orm import Session

from quetz.db.base import now_ms
from quetz.services.api_keys import touch_keys
from quetz.services.downloads import HOUR_MS, add_downloads
from quetz.services.sessions import touch_sessions


class Tallies:
    """Counts of one process since the last write; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._downloads: Counter[tuple[int, int]] = Counter()  # by file id and hour
        self._keys: dict[str, int] = {}
        self._cookies: dict[str, int] = {}

    def count_download(self, file_id: int) -> None:
        """Note that a file was downloaded now."""
        now = now_ms()
        with self._lock:
            self._downloads[file_id, now - now % HOUR_MS] += 1

    def note_key(self, public_id: str) -> None:
        """Note that an API key was used now."""
        with self._lock:
            self._keys[public_id] = now_ms()

    def note_cookie(self, cookie: str) -> None:
        """Note that a login session was used now."""
        with self._lock:
            self._cookies[cookie] = now_ms()

    def take(self) -> "Taken":
        """Hand over what was counted, and begin anew."""
        with self._lock:
            taken = Taken(self._downloads, self._keys, self._cookies)
            self._downloads, self._keys, self._cookies = Counter(), {}, {}
        return taken

    def put_back(self, taken: "Taken") -> None:
        """Count again what could not be written."""
        with self._lock:
            self._downloads.update(taken.downloads)
            self._keys = taken.keys | self._keys
            self._cookies = taken.cookies | self._cookies


@dataclass(frozen=True)
class Taken:
    """Counts on their way to the database."""

    downloads: Counter[tuple[int, int]]
    keys: dict[str, int]
    cookies: dict[str, int]

    def __bool__(self) -> bool:
        return bool(self.downloads or self.keys or self.cookies)

    def write(self, session: Session) -> None:
        add_downloads(session, self.downloads)
        # In the order of every deletion of a user, or the two could lock each other out.
        touch_keys(session, self.keys)
        touch_sessions(session, self.cookies)

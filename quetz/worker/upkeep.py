"""Upkeep: a thread that removes what is kept no longer, and mends torn indexes."""

import logging
import threading
import time
from collections.abc import Callable

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.deployment import Deployment
from quetz.services import api_keys
from quetz.services.downloads import list_old_hours, remove_hours
from quetz.worker.collecting import collect, collect_index_files, collecting
from quetz.worker.recovery import mend_indexes, release_dead

_log = logging.getLogger("quetz.upkeep")

COLLECT_SECONDS = 5.0  # a large index may be superseded three times a second
FORGET_SECONDS = 3600.0
RELEASE_SECONDS = 300.0
OBJECTS_SECONDS = 3600.0
LEFTOVERS_SECONDS = 24 * 3600.0
"""How often a server looks through all index files, which takes seconds when they are many."""

FIRST_OBJECTS_SECONDS = 300.0
"""How long after its start a server first looks for objects that nothing refers to."""

DAY_MS = 24 * 3600 * 1000


class Upkeep(threading.Thread):
    """One for each server; what several do at once is done once, or does no harm."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(name="upkeep", daemon=True)
        self._deployment = deployment
        self._stopping = threading.Event()
        self._leftovers_due = 0.0

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def run(self) -> None:
        self._attempt(self.release_dead)
        self._attempt(self.mend_indexes)
        forgotten = 0.0
        released = time.monotonic()
        due = time.monotonic() + FIRST_OBJECTS_SECONDS
        while not self._stopping.wait(COLLECT_SECONDS):
            self._attempt(self.collect)
            if time.monotonic() - released > RELEASE_SECONDS:
                released = time.monotonic()
                self._attempt(self.release_dead)
            if time.monotonic() > due:
                due = time.monotonic() + OBJECTS_SECONDS
                self._attempt(self.collect_objects)
            if time.monotonic() - forgotten > FORGET_SECONDS:
                forgotten = time.monotonic()
                self._attempt(self.forget_hours)
                self._attempt(self.forget_keys)

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._deployment.schema.changed:  # a server writes nothing then, until its restart
            return
        try:
            work()
        except Exception:  # noqa: BLE001  upkeep outlives every fault
            _log.exception("upkeep failed; trying again later")

    def release_dead(self) -> None:
        release_dead(self._deployment)

    def mend_indexes(self) -> None:
        mend_indexes(self._deployment)

    def collect(self) -> None:
        collect_index_files(self._deployment, self._stopping.is_set)

    def collect_objects(self) -> None:
        """Remove what nothing refers to any more, unless another server is at it."""
        grace_ms = self._deployment.settings.storage.object_grace_days * DAY_MS
        with collecting(self._deployment) as mine:
            if not mine:
                return
            leftovers = time.monotonic() >= self._leftovers_due
            done = collect(
                self._deployment,
                grace_ms=grace_ms,
                leftovers=leftovers,
                stopped=self._stopping.is_set,
            )
        if leftovers:
            self._leftovers_due = time.monotonic() + LEFTOVERS_SECONDS
        if done.objects or done.adopted:
            _log.info(
                "removed %d objects of %d bytes that nothing referred to; %d that no upload had "
                "recorded will follow after their grace",
                done.objects,
                done.bytes,
                done.adopted,
            )

    def forget_hours(self) -> None:
        """Remove the counts of hours that are kept no longer; the search holds no write lock."""
        now = now_ms()
        while not self._stopping.is_set():
            with self._deployment.transaction() as session:
                hours = list_old_hours(session, now=now)
            if not hours:
                return
            with self._deployment.transaction(write=True) as session:
                remove_hours(session, hours)
                crashpoint("forget.hours")

    def forget_keys(self) -> None:
        """Remove API keys that ended long ago; the search holds no write lock."""
        now = now_ms()
        while not self._stopping.is_set():
            with self._deployment.transaction() as session:
                keys = api_keys.list_forgotten(session, now=now)
            if not keys:
                return
            with self._deployment.transaction(write=True) as session:
                api_keys.remove_keys(session, keys)
                crashpoint("forget.keys")

"""Collecting: removes what nothing refers to any more, and what crashes left behind."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

from quetz.crashpoints import crashpoint
from quetz.db.base import now_ms
from quetz.db.queries import objects as queries
from quetz.db.queries.objects import Found
from quetz.deployment import Deployment
from quetz.services.collecting import BATCH, collect_superseded
from quetz.services.index_leftovers import (
    find_leftovers,
    list_channels_in_store,
    supersede_leftovers,
)
from quetz.services.objects import collect_objects
from quetz.storage.keys import object_key
from quetz.worker.leases import leased
from quetz.worker.recovery import remove_reservations

LOCK = "collect"

FOUND_AT_ONCE = 20_000
"""Objects that one look through all files finds; each look takes as long as the files are many."""

OBJECTS_AT_ONCE = 50
"""Objects that go in one transaction: their removal from the disk holds up who writes."""

LISTED_AT_ONCE = 5_000


@dataclass
class Collection:
    """What went, or would go: numbers of things, and the bytes of the objects.

    ``adopted`` are objects of uploads that were broken off, whose grace begins now. Index files go
    an hour after they were found, shards a week.
    """

    objects: int = 0
    bytes: int = 0
    adopted: int = 0
    index_files: int = 0
    reservations: int = 0


def never() -> bool:
    return False


def collecting(deployment: Deployment) -> AbstractContextManager[bool]:
    """Say whether this process may collect, as ``leased``."""
    return leased(deployment, LOCK)


def collect(
    deployment: Deployment,
    *,
    grace_ms: int,
    dry_run: bool = False,
    leftovers: bool = True,
    stopped: Callable[[], bool] = never,
) -> Collection:
    """Remove objects that nothing has referred to for the grace, and what crashes left.

    Without ``leftovers`` no index file is looked at, of which there may be half a million. With
    ``dry_run`` nothing is changed. When ``stopped`` says so, the rest waits for the next time.
    """
    done = Collection()
    work = _Work(deployment, done, dry_run=dry_run, stopped=stopped)
    work.collect_objects(before=now_ms() - grace_ms)
    work.adopt_objects()
    if leftovers:
        work.find_leftovers()
    done.reservations = remove_reservations(deployment, dry_run=dry_run)
    return done


def collect_index_files(deployment: Deployment, stopped: Callable[[], bool] = never) -> None:
    """Remove the index files that are due."""
    removed = BATCH
    while removed == BATCH and not stopped():
        with deployment.transaction(write=True) as session:
            removed = collect_superseded(session, deployment.store, now=now_ms())


class _Work:
    def __init__(
        self,
        deployment: Deployment,
        done: Collection,
        *,
        dry_run: bool,
        stopped: Callable[[], bool],
    ) -> None:
        self._deployment = deployment
        self._done = done
        self._dry_run = dry_run
        self._stopped = stopped

    def collect_objects(self, *, before: int) -> None:
        after = ""
        while not self._stopped():
            with self._deployment.transaction() as session:
                found = queries.list_unreferenced(
                    session, before=before, limit=FOUND_AT_ONCE, after=after
                )
            for start in range(0, len(found), OBJECTS_AT_ONCE):
                if self._stopped():
                    return
                self._remove(found[start : start + OBJECTS_AT_ONCE])
            if len(found) < FOUND_AT_ONCE:
                return
            after = found[-1].sha256

    def _remove(self, found: Sequence[Found]) -> None:
        gone = found
        if not self._dry_run:
            began = time.monotonic()
            with self._deployment.transaction(write=True) as session:
                gone = collect_objects(session, self._deployment.store, found)
            crashpoint("collect.removed")
            time.sleep(time.monotonic() - began)  # for others to write, who waited meanwhile
        self._done.objects += len(gone)
        self._done.bytes += sum(one.size for one in gone)

    def adopt_objects(self) -> None:
        """Add rows for objects of which there is none, so that they go after the grace."""
        store = self._deployment.store
        listed = store.list_objects()
        while not self._stopped() and (some := dict(islice(listed, LISTED_AT_ONCE))):
            with self._deployment.transaction() as session:
                unknown = some.keys() - queries.list_known(session, list(some))
            # A listing may be of before: what is gone by now would be counted when its row goes.
            strange = [one for one in sorted(unknown) if store.has_all([object_key(one)])]
            if strange and not self._dry_run:
                with self._deployment.transaction(write=True) as session:
                    queries.adopt_objects(session, [(one, some[one]) for one in strange])
                    crashpoint("collect.adopting")
            self._done.adopted += len(strange)

    def find_leftovers(self) -> None:
        deployment = self._deployment
        for channel_id, keys in list_channels_in_store(deployment.store):
            if self._stopped():
                return
            with deployment.transaction() as session:
                leftovers = find_leftovers(session, deployment.store, channel_id, keys)
            if leftovers.keys and not self._dry_run:
                with deployment.transaction(write=True) as session:
                    supersede_leftovers(session, leftovers)
                    crashpoint("collect.leftovers")
            self._done.index_files += len(leftovers.keys)

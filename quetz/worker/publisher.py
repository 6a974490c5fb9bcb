"""The publisher: threads that turn marks into published index files."""

import logging
import threading
import time
from contextlib import AbstractContextManager

from quetz.crashpoints import crashpoint
from quetz.deployment import Deployment
from quetz.services import publishing
from quetz.services.index_builds import ShardMemory, build
from quetz.services.publishing import (
    CHANNELDATA,
    PATCHES,
    REPODATA,
    SHARDS,
    Batch,
    Built,
    StaleBuild,
    Switch,
)
from quetz.worker.leases import leased
from quetz.worker.patches import apply_patches
from quetz.worker.resources import give_back_memory

_log = logging.getLogger("quetz.publisher")

POLL_SECONDS = 2.0
"""How long a mark may wait whose writer could not wake a publisher."""

JSON_INTERVAL_SECONDS = 1 / 3
"""The json family of a subdir flips at most three times a second."""

BUSY_SECONDS = 0.02
"""How soon to look again at a switch that another process is publishing."""

RETRY_SECONDS = 5.0
"""How soon to try a switch again whose publication failed."""

STOP_SECONDS = 10.0
"""How long a stop waits for an index that is being built."""

ATTEMPTS = 5


class Publisher:
    """Publishes what is marked; one for each server.

    Shards have a thread of their own, so that they never wait for a large repodata.json. It
    wakes the others: those that start at once would slow each other down. So have hotfixes, of
    which a large package holds up no index.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._json = _Loop(deployment, "json", {REPODATA, CHANNELDATA})
        self._patches = _Loop(deployment, "patches", {PATCHES})
        then = (self._json.wake, self._patches.wake)
        self._shards = _Loop(deployment, "shards", {SHARDS}, then)
        self._loops = (self._shards, self._patches, self._json)

    def start(self) -> None:
        self._deployment.sleepers.append(self._shards.wake)
        self._json.start()
        self._patches.start()
        self._shards.start()

    def stop(self) -> None:
        """Begin nothing more, and return when what is being built is finished or takes too long.

        Marks left are published at the next start.
        """
        for loop in self._loops:
            loop.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for loop in self._loops:
            loop.join(max(deadline - time.monotonic(), 0))
        if any(loop.is_alive() for loop in self._loops):
            _log.warning("an index was given up while it was built; the next start builds it")
        self._deployment.sleepers.remove(self._shards.wake)


class _Loop(threading.Thread):
    def __init__(
        self,
        deployment: Deployment,
        name: str,
        families: set[str],
        then: tuple[threading.Event, ...] = (),
    ) -> None:
        super().__init__(name=f"publish-{name}", daemon=True)
        self.wake = threading.Event()
        self._deployment = deployment
        self._families = families
        self._then = then
        self._stopping = False
        self._memory = ShardMemory()
        self._not_before: dict[Switch, float] = {}

    def ask_to_stop(self) -> None:
        self._stopping = True
        self.wake.set()

    def run(self) -> None:
        while True:
            self.wake.clear()  # before the marks are read: a later one sets it again
            if self._stopping:  # looked at after the clearing, or a stop could be overheard
                return
            try:
                # A server whose schema changed writes nothing until it is restarted.
                changed = self._deployment.schema.changed
                pause = RETRY_SECONDS if changed else self._publish_due()
            except Exception:  # noqa: BLE001  the publisher outlives every fault
                _log.exception("cannot read the index marks; trying again")
                pause = RETRY_SECONDS
            for event in self._then:
                event.set()
            self.wake.wait(pause)

    def _publish_due(self) -> float:
        """Publish each marked switch that is due; return the seconds until the next one is."""
        with self._deployment.transaction() as session:
            marked = publishing.list_marked(session)
        pause = POLL_SECONDS
        for switch in marked:
            if self._stopping or switch.family not in self._families:
                continue
            wait = self._not_before.pop(switch, 0.0) - time.monotonic()
            if wait <= 0:
                wait = self._publish(switch)
            if wait > 0:
                self._not_before[switch] = time.monotonic() + wait
            pause = min(pause, wait)
        return pause

    def _publish(self, switch: Switch) -> float:
        """Publish a switch if no one else does; return the seconds to leave it alone then."""
        started = time.thread_time()
        try:
            with lease(self._deployment, switch) as mine:
                if not mine:
                    return BUSY_SECONDS
                if not publish(self._deployment, switch, self._memory):
                    return BUSY_SECONDS  # others did it, or are at it
        except Exception:  # noqa: BLE001  one index must not stop the others
            _log.exception("cannot publish %s; the index before it stays", switch)
            return RETRY_SECONDS
        # A large index rests as long as it took of the processor, so that publishing leaves time
        # for serving; not as long as it had to wait for that, or a burst would be shown late.
        took = time.thread_time() - started
        return 0.0 if switch.family == SHARDS else max(JSON_INTERVAL_SECONDS - took, took)


def publish(deployment: Deployment, switch: Switch, memory: ShardMemory | None = None) -> bool:
    """Publish a switch's marks once; say whether there were any that could be published."""
    if switch.family == PATCHES:
        return apply_patches(deployment, switch)
    for _ in range(ATTEMPTS):
        with deployment.transaction() as session:
            batch = publishing.read_batch(session, switch)
            if batch is None:
                return False
            crashpoint("publish.read")
            built = build(session, deployment.store, deployment.plugins, batch, memory)
        if batch.names is None:
            give_back_memory()
        crashpoint("publish.built")
        if flip(deployment, batch, built):
            return True
    return False


def flip(deployment: Deployment, batch: Batch, built: Built) -> bool:
    """Make the built files the current ones and tell plugins; discard them if it is too late."""
    try:
        with deployment.transaction(write=True) as session:
            flipped = publishing.flip(session, deployment.store, batch, built)
            crashpoint("publish.flipping")
    except StaleBuild:
        flipped = False
    except BaseException:
        # The commit may have been made, though its answer was lost: then they are in use.
        with deployment.transaction() as session:
            if not publishing.is_current(session, batch.switch, built):
                publishing.discard(deployment.store, batch, built)
        raise
    crashpoint("publish.flipped")
    if flipped:
        _tell_plugins(deployment, batch.switch, (batch.generation or 0) + 1)
    else:
        publishing.discard(deployment.store, batch, built)
    return flipped


def _tell_plugins(deployment: Deployment, switch: Switch, generation: int) -> None:
    if not deployment.plugins.implements("index_published"):
        return
    with deployment.transaction() as session:
        channel = publishing.find_channel_of(session, switch)
    deployment.plugins.tell(
        "index_published",
        storage=deployment.store,
        channel=channel,
        subdir=switch.subdir,
        generation=generation,
    )


def lease(
    deployment: Deployment, switch: Switch, work: str = "publish"
) -> AbstractContextManager[bool]:
    """Say whether this process may do the work on a switch, as ``leased``."""
    subdir = switch.subdir or "channel"
    return leased(deployment, f"{work}-{switch.channel_id}-{subdir}-{switch.family}")

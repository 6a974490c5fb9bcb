"""A storm: SIGKILL at random moments, while clients upload, replace, delete and read."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.crash.postmasters import Postmaster
from benchmarks.crash.storm_clients import Client
from quetz.testing.crashes import CHANNEL, Driver
from quetz.testing.servers import Server, spawned_server

CLIENTS = 6
CHECK_EVERY = 100
READY_SECONDS = 120.0
SERVING_SECONDS = (0.3, 2.5)
"""The least and the longest time between two kills of what serves."""

IN_RECOVERY = {"sqlite": 0.85, "postgresql": 0.7}
"""How often a server is killed while it starts; of such kills there is time for the most."""

IN_A_ROW = {"sqlite": 4, "postgresql": 12}
"""How many kills a server may see at most until nothing is left of it."""

OF_DATABASE = 0.8
OF_BACKENDS = 0.8
"""How often it is PostgreSQL that is killed, and one of its backends instead of all of it."""


@dataclass
class Told:
    """What a storm came to."""

    kills: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    forms: int = 0
    faults: list[str] = field(default_factory=list)


class Storm:
    """Kills and clients of one deployment; ``postmaster`` is that of its database, if any."""

    def __init__(self, driver: Driver, postmaster: Postmaster | None, seed: int) -> None:
        self.told = Told()
        self._driver = driver
        self._postmaster = postmaster
        self._backend = "sqlite" if postmaster is None else "postgresql"
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._clients = [Client(driver, number, seed) for number in range(CLIENTS)]

    def rage(self, deadline: float) -> Told:
        """Kill until the deadline; check now and then, and at the end."""
        threads = [
            threading.Thread(target=client.run, args=(self._ending,)) for client in self._clients
        ]
        with self._driver.serving():
            self._driver.make_channel(CHANNEL)
        for thread in threads:
            thread.start()
        try:
            next_check = CHECK_EVERY
            while time.monotonic() < deadline:
                self._serve_and_kill()
                if self.told.kills.total() >= next_check:
                    next_check += CHECK_EVERY
                    self._check()
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()
        self._check(full=True)
        self.told.uploads = sum(client.uploads for client in self._clients)
        self.told.forms = sum(client.forms for client in self._clients)
        self.told.faults += [fault for client in self._clients for fault in client.faults]
        return self.told

    def _serve_and_kill(self) -> None:
        """Start the server, and kill it or parts of it until nothing of it is left."""
        with spawned_server(self._driver.path) as server:
            self._driver.url = server.url
            if self._random.random() < IN_RECOVERY[self._backend]:
                time.sleep(self._random.uniform(0.01, 0.3))
                self._count("whole, while it started")
                return
            if not _becomes_ready(server):
                self.told.faults.append("a server did not become ready after a kill")
                return
            for _ in range(self._random.randint(1, IN_A_ROW[self._backend])):
                time.sleep(self._random.uniform(*SERVING_SECONDS))
                if self._kill_something(server):
                    return

    def _kill_something(self, server: Server) -> bool:
        """Say whether the server has to be started again."""
        if self._postmaster is not None and self._random.random() < OF_DATABASE:
            self._kill_database(self._postmaster)
            return False
        victim = self._random.choice(["worker", "worker", "master", "whole"])
        self._count(victim)
        if victim == "worker":
            for pid in _workers(server):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return False
        if victim == "master":
            os.kill(server.process.pid, signal.SIGKILL)
            time.sleep(self._random.uniform(0, 1))  # its worker serves a little longer
        return True

    def _kill_database(self, postmaster: Postmaster) -> None:
        backends = postmaster.backends()
        if backends and self._random.random() < OF_BACKENDS:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(backends), signal.SIGKILL)
            self._count("backend")
            return
        postmaster.kill()
        self._count("postmaster")
        postmaster.start()

    def _count(self, what: str) -> None:
        self.told.kills[what] += 1

    def _check(self, *, full: bool = False) -> None:
        """Let clients rest, and hold all that is there against what was acknowledged."""
        with ExitStack() as stack:
            for client in self._clients:
                stack.enter_context(client.turn)
            try:
                with self._driver.serving():
                    self._driver.check(full=full)
            except Exception as error:  # noqa: BLE001 - whatever fails after a kill is a finding
                self.told.faults.append(f"{type(error).__name__}: {error}")
                self._driver.accept()
            for client in self._clients:
                client.forget_open()


def _becomes_ready(server: Server) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.is_ready():
            return True
        time.sleep(0.02)
    return False


def _workers(server: Server) -> list[int]:
    """Return the processes of a server that answer requests."""
    master = server.process.pid
    with suppress(OSError):
        children = Path("/proc", str(master), "task", str(master), "children").read_text()
        commands = {
            int(pid): Path("/proc", pid, "cmdline").read_bytes() for pid in children.split()
        }
        return [pid for pid, command in commands.items() if b"spawn_main" in command]
    return []

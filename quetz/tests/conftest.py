"""Fixtures on real databases for every test."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from starlette.testclient import TestClient

from quetz.testing.postgresql import client_programs

pytest_plugins = ["quetz.testing.fixtures"]

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30

# Nothing of a test outlives a crash of the machine, so nothing has to be on disk.
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Tests that run pytest have no use for it either: to import it takes two seconds.
os.environ["PYTEST_ADDOPTS"] = "-p no:schemathesis"

# Each program that tests start would compile all of quetz, each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers() -> int | None:
    """Run three tests for two cores: a third of the time they wait for servers and programs."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(os.sched_getaffinity(0)) * 3 // 2


@pytest.fixture
def database_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put pg_dump and its like on the path."""
    monkeypatch.setenv("PATH", f"{client_programs()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session", autouse=True)
def _shared_event_loop() -> Iterator[None]:
    """Let all clients of applications use one event loop: each request would start a thread."""
    with start_blocking_portal() as portal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestClient, "portal", portal)
        yield


@pytest.fixture
def own_event_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each request a loop of its own, so that the body of one can ask another."""
    monkeypatch.setattr(TestClient, "portal", None)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported and collected, which stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


# Folders of tests that wait for servers and programs.
SLOW = {"e2e", "faults", "plugins"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each process begin with slow tests, so that none is left with one when all else is done.

    xdist gives each process an equal part of the list. What is of one file stays together.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = [file for file in files if SLOW.intersection(file.parts)]
    fast = [item for file in files if file not in slow for item in files[file]]
    size = -(-len(items) // count)
    ordered: list[pytest.Item] = []
    for number in range(count):
        part = [item for file in slow[number::count] for item in files[file]]
        rest = max(0, size - len(part))
        ordered += part + fast[:rest]
        fast = fast[rest:]
    items[:] = ordered + fast

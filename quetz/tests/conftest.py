"""Fixtures on real databases for every test."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

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

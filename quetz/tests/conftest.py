"""Fixtures on real databases for every test."""

import os
import shutil
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

# Programs that tests start keep the bytecode of quetz: each would compile all of it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

"""Leases: work that only one process on this machine does at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from quetz.deployment import LOCK_FOLDER, Deployment


@contextmanager
def leased(deployment: Deployment, work: str) -> Iterator[bool]:
    """Say whether this process may do the work; it only avoids doing that twice."""
    folder = deployment.path / LOCK_FOLDER
    folder.mkdir(exist_ok=True)
    with (folder / work).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

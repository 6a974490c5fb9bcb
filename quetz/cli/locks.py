"""Who works in a deployment's folder: servers, or one command that makes or removes it.

The lock is on the folder itself (flock(2)), so it leaves no file, and ends with its process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quetz.deployment import is_deployment
from quetz.errors import DeploymentBusy, DeploymentNotFound


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """Keep the deployment where it is; others may serve it, too.

    Raises:
        DeploymentNotFound: there is none.
        DeploymentBusy: it is being made, replaced or deleted.
    """
    if not is_deployment(path):
        raise DeploymentNotFound(path)
    with _opened(path) as folder:
        if not _lock(folder, fcntl.LOCK_SH):
            raise DeploymentBusy(path, served=False)
        yield


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Be the only one at work in the folder.

    Raises:
        DeploymentBusy: there is somebody else.
    """
    with _opened(path) as folder:
        if not _lock(folder, fcntl.LOCK_EX):
            raise DeploymentBusy(path, served=_lock(folder, fcntl.LOCK_SH))
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)


def _lock(folder: int, kind: int) -> bool:
    try:
        fcntl.flock(folder, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

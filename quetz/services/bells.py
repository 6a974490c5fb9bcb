"""Bells: how a process tells those on its machine which publish that there is something to do."""

import os
import stat
from contextlib import suppress
from errno import EEXIST
from pathlib import Path


class Bell:
    """A FIFO at ``path``, there while somebody listens: programs that copy folders stumble on one.

    A ring that nobody hears is lost, and of several who listen each ring reaches one. So who
    listens also looks from time to time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def ring(self) -> None:
        # No FIFO or no reader: nobody listens. A full one: it has been rung often enough.
        with suppress(OSError):
            bell = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                if stat.S_ISFIFO(os.fstat(bell).st_mode):  # not what somebody put in its place
                    os.write(bell, b"!")
            finally:
                os.close(bell)

    def open(self) -> int:
        """Return a descriptor that can be read after each ring.

        Raises:
            OSError: no FIFO can be made there.
        """
        self._path.parent.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        if not self._path.is_fifo():
            raise FileExistsError(EEXIST, "it is in the way of a FIFO", str(self._path))
        # For writing as well: without a writer it could be read all the time, and say nothing.
        return os.open(self._path, os.O_RDWR | os.O_NONBLOCK)

    def is_at(self, bell: int) -> bool:
        """Say whether a ring still reaches the descriptor: who stops listening takes it away."""
        try:
            return os.path.samestat(os.fstat(bell), self._path.stat())
        except OSError:
            return False

    def take_away(self) -> None:
        """Remove the FIFO, and nothing that is there in its place."""
        if self._path.is_fifo():
            self._path.unlink(missing_ok=True)

"""A PostgreSQL server that is killed and started again, as a machine's supervisor would do."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

START_SECONDS = 60.0
_TRY_AGAIN_SECONDS = 0.1


class Postmaster:
    """The server whose data are in ``folder``; it runs when this is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        process = Path("/proc", str(self.pid))
        self._command = process.joinpath("cmdline").read_bytes().split(b"\0")[:-1]
        self._owner = process.stat()
        self._environment = dict(
            entry.split(b"=", 1)
            for entry in process.joinpath("environ").read_bytes().split(b"\0")
            if b"=" in entry
        )
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return int((self._folder / "postmaster.pid").read_text().split("\n", 1)[0])

    def backends(self) -> list[int]:
        """Return the processes that serve connections."""
        found = []
        for pid in _children(self.pid):
            with suppress(OSError):
                title = Path("/proc", str(pid), "cmdline").read_bytes()
                if b"[local]" in title:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """Kill the postmaster; its processes notice, and end."""
        os.kill(self.pid, signal.SIGKILL)
        if self._running is not None:
            self._running.wait()

    def start(self) -> None:
        """Start it, as often as memory of what was killed is still in use.

        Raises:
            TimeoutError: it does not start.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._running = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                user=self._owner.st_uid,
                group=self._owner.st_gid,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while self._running.poll() is None and time.monotonic() < deadline:
                if self._is_ready():
                    return
                time.sleep(0.02)
            time.sleep(_TRY_AGAIN_SECONDS)
        raise TimeoutError("the PostgreSQL server does not start again")

    def stop(self) -> None:
        """Stop it if it was started here."""
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(signal.SIGINT)
            self._running.wait()

    def _is_ready(self) -> bool:
        with suppress(OSError):
            lines = (self._folder / "postmaster.pid").read_text().split("\n")
            mine = self._running is not None and lines[0] == str(self._running.pid)
            return mine and len(lines) > 7 and lines[7].strip() == "ready"
        return False


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        found = Path("/proc", str(pid), "task", str(pid), "children").read_text()
        return [int(child) for child in found.split()]
    return []

"""How long event loops keep everybody waiting: processor time of their longest turns.

A turn is one callback, such as a step of a task; while it runs, no other request goes on. What is
counted is the time that the loop's thread computes, not what the clock says: on a busy machine a
turn takes longer, for want of a processor, and would be blamed for what others do. So a turn that
sleeps is not seen.

`watched_server` watches a real server, from within its processes.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from quetz.testing.servers import Server, running_server

NOTED_SECONDS = 0.01
"""What a turn has to take to be written down."""
LOOK_SECONDS = 0.005
# The variable is what a server passes on to its workers; other programs have no loop of ours.
_SITE = """\
import os
if "QUETZ_MASTER_PID" in os.environ:
    from quetz.testing.loop_watch import watch_this_process
    watch_this_process({notes!r})
"""


class Turn(msgspec.Struct):
    """``stack`` is what it was seen doing, the innermost call last; empty if it was too quick."""

    seconds: float
    callback: str
    stack: list[str]


@dataclass(frozen=True)
class Notes:
    """The turns that the processes of a server have written down."""

    file: Path

    def turns(self) -> list[Turn]:
        """Return them, the longest first."""
        lines = self.file.read_bytes().splitlines()
        found = [msgspec.json.decode(line, type=Turn) for line in lines]
        return sorted(found, key=lambda turn: -turn.seconds)

    def forget(self) -> None:
        self.file.write_bytes(b"")


@contextmanager
def watched_server(path: Path, *options: str) -> Iterator[tuple[Server, Notes]]:
    """Start a server as `running_server` does, whose processes write down their long turns."""
    with loops_watched() as notes, running_server(path, *options) as server:
        yield server, notes


@contextmanager
def loops_watched() -> Iterator[Notes]:
    """Let the processes of each server that is started meanwhile write down their long turns."""
    with TemporaryDirectory(prefix="quetz-loop-") as name:
        notes = Path(name) / "notes"
        notes.touch()
        # Python imports this module in each process, before anything else.
        Path(name, "sitecustomize.py").write_text(_SITE.format(notes=str(notes)))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([name, *([before] if before else [])])
        try:
            yield Notes(notes)
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def watch_this_process(notes: str) -> None:
    """Measure each turn of each event loop that this process will run."""
    witness = _Witness()
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # noqa: SLF001  # nothing public is called for each turn

    def measured(handle: asyncio.Handle) -> None:
        turn = witness.begin()
        run(handle)
        seconds = turn.seconds()
        witness.end()
        if seconds >= NOTED_SECONDS:
            note = msgspec.json.encode(Turn(seconds, repr(handle)[:300], turn.stack))
            with Path(notes).open("ab", buffering=0) as file:  # one write: processes share it
                file.write(note + b"\n")

    asyncio.Handle._run = measured  # type: ignore[assignment,method-assign]  # noqa: SLF001


class _Turn:
    """A turn under way, of the thread that made it."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.stack: list[str] = []
        self._clock = time.pthread_getcpuclockid(self.thread)
        self._began = time.clock_gettime(self._clock)

    def seconds(self) -> float:
        return time.clock_gettime(self._clock) - self._began


class _Witness:
    """Looks now and then what a turn does that takes long."""

    def __init__(self) -> None:
        self._turn: _Turn | None = None
        self._looking = False

    def begin(self) -> _Turn:
        if not self._looking:  # not earlier: a thread would not outlive a fork
            self._looking = True
            threading.Thread(target=self._look, name="loop-witness", daemon=True).start()
        self._turn = turn = _Turn()
        return turn

    def end(self) -> None:
        self._turn = None

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            turn = self._turn
            if turn is not None and turn.seconds() >= NOTED_SECONDS:
                frame = sys._current_frames().get(turn.thread)  # noqa: SLF001  # as documented
                turn.stack = [
                    f"{entry.filename}:{entry.lineno} {entry.name}"
                    for entry in traceback.extract_stack(frame)
                ]

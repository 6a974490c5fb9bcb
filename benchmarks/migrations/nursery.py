"""Runs ``quetz`` in forks of a process that has imported everything: thousands of real processes.

A fork loads the deployment's plugins itself, and may be told to kill itself.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import configure_mappers

import quetz.cli.app
import quetz.cli.migrations
import quetz.deployment
import quetz.migrations

SECONDS = 300


@dataclass(frozen=True)
class Order:
    """What to run: ``crowd`` processes at once.

    Each kills itself after as many statements as ``kill_after`` says, commits counted too, or is
    killed ``kill_in`` seconds after its start.
    """

    arguments: tuple[str, ...]
    crowd: int = 1
    kill_after: int | None = None
    kill_in: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a process ended; ``code`` is negative if by a signal, as in ``subprocess``."""

    code: int
    statements: int
    seconds: float
    output: str


class Nursery:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, order: Order) -> list[Ended]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(order)), file=self._process.stdin, flush=True)
        return [Ended(**ended) for ended in json.loads(self._process.stdout.readline())]


@contextmanager
def nursery(site: Path) -> Iterator[Nursery]:
    """Start it; its processes find the distributions in the folder ``site``."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nursery(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()


def main() -> None:
    configure_mappers()
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(_run(Order(**order), Path(folder))), flush=True)


def _run(order: Order, folder: Path) -> list[dict[str, object]]:
    started = time.monotonic()
    outputs = {
        _fork(order, folder / str(number)): folder / str(number) for number in range(order.crowd)
    }
    if order.kill_in is not None:
        time.sleep(order.kill_in)
        for child in outputs:
            os.kill(child, signal.SIGKILL)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    ended = []
    for _ in range(order.crowd):
        child, status = os.wait()
        seconds = time.monotonic() - started
        output = outputs[child]
        count = output.with_suffix(".count")
        # Empty if the process was killed while it wrote.
        statements = int(count.read_text() or 0) if count.exists() else 0
        code = os.waitstatus_to_exitcode(status)
        ended.append(asdict(Ended(code, statements, seconds, output.read_text(errors="replace"))))
    signal.alarm(0)
    return ended


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"a process did not end in {SECONDS} s")


def _fork(order: Order, output: Path) -> int:
    output.touch()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = _quetz(order, output.with_suffix(".count"))
    finally:
        sys.stderr.flush()
        os._exit(code)


def _quetz(order: Order, count: Path) -> int:
    statements = 0

    def executed(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == order.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    def committing(_connection: Connection) -> None:
        executed()

    event.listen(Engine, "after_cursor_execute", executed)
    event.listen(Engine, "commit", committing)
    try:
        quetz.cli.app.app(list(order.arguments), prog_name="quetz")
    except SystemExit as end:
        count.write_text(str(statements))
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else 0
    return 71


if __name__ == "__main__":
    main()

"""The first index of 500,000 records: its time to the sum of its parts, and its memory."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, ratio, sides
from benchmarks.machine import CLIENT_CPU, SERVER_CPU, pinned
from benchmarks.scale.bench import Bench
from benchmarks.scale.building import PIECE_LEVEL, PIECE_SIZE

RECORDS = 500_000
MOST_ROUNDS = 3
"""A round takes half a minute."""
LOOK_SECONDS = 0.01

_ANONYMOUS = re.compile(r"^RssAnon:\s+(\d+) kB", re.MULTILINE)


def measure(bench: Bench) -> Iterator[Figure]:
    channel = bench.channel(RECORDS)
    taken, grown, parts = [], [], dict[str, list[float]]()
    for _ in range(min(bench.rounds, MOST_ROUNDS)):
        whole, megabytes = _build(bench, "whole", channel.id)
        taken.append(whole["whole"])
        grown.append(megabytes)
        for name, seconds in _build(bench, "parts", channel.id)[0].items():
            parts.setdefault(name, []).append(seconds)
    pieces = f"pieces of {PIECE_SIZE >> 10} KiB at level {PIECE_LEVEL}"
    yield ratio(
        f"first index of {channel}, to the sum of its parts",
        taken,
        [sum(seconds) for seconds in zip(*parts.values(), strict=True)],
        goal=1.3,
        unit="s",
        against=f"{sides(parts.items(), 's')}; {pieces}",
    )
    basis = "peak of what no file backs, minus before"
    yield Figure(f"memory that it takes, of {channel}", grown, "MB", 150, basis)


def _build(bench: Bench, what: str, channel_id: int) -> tuple[dict[str, float], float]:
    """Return the seconds by part, and by how many megabytes the process grew."""
    command = [sys.executable, "-m", "benchmarks.scale.building", what]
    with pinned(SERVER_CPU):
        process = subprocess.Popen(
            [*command, str(bench.deployment), str(channel_id)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process, pinned(CLIENT_CPU):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with _watched(process.pid) as seen:
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline()
    return json.loads(answer), (max(seen) - seen[0]) / 1e6


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Give the anonymous bytes of a process, seen again and again; the kernel keeps no peak."""
    status = Path(f"/proc/{pid}/status")
    seen = [_anonymous(status)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.append(_anonymous(status))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _anonymous(status: Path) -> int:
    """Return the bytes; a process that has just ended does not say them any more."""
    found = _ANONYMOUS.search(status.read_text())
    return int(found[1]) << 10 if found else 0

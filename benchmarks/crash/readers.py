"""A thousand readers beside uploads, how soon indexes show those, and whether their forms agree.

REL-13, REL-14 and REL-15, by the crowd, the burst and the single uploads of `benchmarks.scale`.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.client import connected, get
from benchmarks.figures import Figure
from benchmarks.scale import burst, crowd
from benchmarks.scale.adding import add_one
from benchmarks.scale.bench import Bench, Channel
from benchmarks.servers import Running
from quetz.testing.form_reader import Fetch, read_polls, read_quiet, read_shard_listing
from quetz.testing.histories import Poll, check_polls
from quetz.testing.loop_watch import Notes, loops_watched

SMALL, LARGE = 1_000, 100_000
SECONDS = {SMALL: 2, LARGE: 10}
"""How soon an upload has to show, by the records of the channel."""
ADDED = 10
POLL_SECONDS = 0.5


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    bench = Bench(folder, scale, 1)
    polls = _Polls()
    with loops_watched() as notes:
        for figure in crowd.measure(bench, SMALL, polls.repeat):
            if "health" not in figure.name:  # is measured by the benchmark of the scale
                yield replace(figure, name=f"REL-13 {figure.name}")
        for records in SECONDS:
            yield _freshness(bench, records)
        for figure in burst.measure(bench):
            yield replace(figure, name=f"REL-14 {figure.name}")
        yield _longest_turn(notes)
    yield polls.figure()
    yield _quiet(bench)


def _freshness(bench: Bench, records: int) -> Figure:
    channel = bench.channel(records)
    names = list(channel.sizes)[:ADDED]
    with bench.server() as server:
        taken = [add_one(bench, server, channel, name).everything / 1e3 for name in names]
    name = f"REL-14 one more of {records:,}: from 201 until all forms show it, at most"
    return Figure(name, [max(taken)], "s", SECONDS[records], f"{len(taken)} uploads")


def _longest_turn(notes: Notes) -> Figure:
    turns = notes.turns()
    basis = f"{len(turns)} took 10 ms or more of the processor"
    if turns:
        basis += f"; the longest: {turns[0].stack[-1:] or turns[0].callback}"
    longest = max((turn.seconds for turn in turns), default=0) * 1e3
    name = "REL-14 longest turn of the event loop, beside readers and a burst"
    return Figure(name, [longest], "ms", 50, basis)


@dataclass
class _Polls:
    """What was seen of the forms beside the crowd."""

    polls: list[Poll] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    shards: int = 0

    def repeat(self, server: Running, channel: Channel, over: threading.Event) -> None:
        folder = f"http://localhost{channel.folder}/"
        while not over.wait(POLL_SECONDS):
            try:
                self.polls += read_polls(_fetch(server), folder)
                read_shard_listing(_fetch(server), folder)
                self.shards += 1
            except Exception as error:  # noqa: BLE001  # whatever was unreadable is the finding
                self.faults.append(repr(error))

    def figure(self) -> Figure:
        still = [poll for poll in self.polls if poll.etag_before == poll.etag_after]
        faults = [*check_polls(self.polls), *self.faults]
        if not still or not self.shards:
            faults.append("nothing was compared")
        basis = (
            f"{len(still)} comparisons of forms of one generation, {self.shards} whole reads of "
            f"shards{''.join(f'; {fault}' for fault in faults[:1])}"
        )
        name = "REL-15 forms under one switch that differ, beside the readers"
        return Figure(name, [len(faults)], "polls", 0, basis)


def _quiet(bench: Bench) -> Figure:
    differing = []
    with bench.server() as server:
        for channel in bench.channels.values():
            said = read_quiet(_fetch(server), f"http://localhost{channel.folder}/")
            if any(listing != said["shards"] for listing in said.values()):
                differing.append(str(channel))
    basis = f"channels of {', '.join(map(str, bench.channels.values()))} {'; '.join(differing)}"
    return Figure(
        "REL-15 whose forms differ when all is quiet", [len(differing)], "channels", 0, basis
    )


def _fetch(server: Running) -> Fetch:
    def fetch(url: str) -> tuple[str, bytes]:
        with connected(server.port) as connection:
            answer = connection.ask(get(url.removeprefix("http://localhost"))).expect(200)
        return answer.etag.decode(), answer.body

    return fetch

"""One more of 500,000: what it takes, and how that grows with what it has nothing to do with."""

import math
from collections.abc import Iterator

from benchmarks import limits
from benchmarks.figures import Figure, ratio
from benchmarks.machine import SERVER_CPU, pinned
from benchmarks.scale.adding import Added, add_one
from benchmarks.scale.bench import Bench, Channel

COUNTS = (125_000, 250_000, 500_000)
UPLOADS = 4
"""In each round, to each channel."""


def measure(bench: Bench) -> Iterator[Figure]:
    channels = [bench.channel(count) for count in COUNTS]
    added: list[list[Added]] = [[] for _ in channels]
    writes = []
    with bench.server() as server:
        for _ in range(bench.rounds * UPLOADS):
            for channel, name, some in zip(channels, _alike(bench, channels), added, strict=True):
                some.append(add_one(bench, server, channel, name))
            writes.append(_write_cost(bench, added[-1][-1].repodata_bytes))
    yield from _until_shards(channels, added)
    yield ratio(
        f"one more of {channels[-1]}: from 201 to all forms, to writing one",
        [one.everything for one in added[-1]],
        writes,
        goal=2.0,
        unit="ms",
        against=f"writing {added[-1][-1].repodata_bytes / 1e6:.1f} MB, as repodata.json.zst has",
    )


def _alike(bench: Bench, channels: list[Channel]) -> list[str]:
    """Return a name in each channel, as likely as it has records, with about as many in each."""
    sizes = channels[0].sizes
    [drawn] = bench.chance.choices(list(sizes), list(sizes.values()))
    size = sizes[drawn]
    return [min(one.sizes, key=lambda name: abs(one.sizes[name] - size)) for one in channels]


def _write_cost(bench: Bench, size: int) -> float:
    data = b"x" * size
    path = bench.folder / "limit.zst"
    with pinned(SERVER_CPU):
        seconds = limits.seconds(lambda: limits.write_cache(path, data))
    path.unlink()
    return seconds * 1e3


def _until_shards(channels: list[Channel], added: list[list[Added]]) -> Iterator[Figure]:
    taken = [[one.shards for one in some] for some in added]
    for channel, values in zip(channels, taken, strict=True):
        goal = 10 if channel is channels[-1] else None
        name = f"one more of {channel}: from 201 to the shard index"
        yield Figure(name, values, "ms", goal, f"{len(channel.sizes):,} names")
    doublings = math.log2(channels[-1].records / channels[0].records)
    growth = [
        (more / less) ** (1 / doublings) for less, more in zip(taken[0], taken[-1], strict=True)
    ]
    basis = f"from {channels[0]} to {channels[-1]}, in names of the same size"
    yield Figure("the same, for each doubling of other names", growth, "x", 1.2, basis)

"""Publishing: from the answer to an upload until clients see the package in the indexes."""

import json
import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import limits
from benchmarks.client import Answer, Connection, connected, get, post
from benchmarks.figures import Figure, shown
from benchmarks.machine import CLIENT_CPU, SERVER_CPU, pinned
from benchmarks.records import SUBDIR, insert_channel
from benchmarks.servers import Running, create_deployment, quetz_server, wait_until_published
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import decompress
from quetz.deployment import Deployment
from quetz.services.index_builds import INDEX_LIMIT
from quetz.services.publishing import (
    CHANNEL_WIDE,
    CHANNELDATA,
    REPODATA,
    SHARDS,
    Switch,
    mark_for_rebuild,
)
from quetz.testing.packages import build_package

SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
POLL_SECONDS = 0.001
REST_SECONDS = 0.4
"""The server publishes the JSON of a subdir at most three times a second."""


@dataclass
class Channel:
    """A channel to add to, and what was measured of it, in milliseconds, a value a round."""

    name: str
    sizes: Counter[str]
    shards: list[float] = field(default_factory=list)
    shards_limit: list[float] = field(default_factory=list)
    repodata: list[float] = field(default_factory=list)
    repodata_limit: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    server: Running
    key: str
    folder: Path
    database: limits.Database
    chance: random.Random

    @property
    def deployment(self) -> Path:
        return self.folder / "deployment"


def measure(folder: Path, rounds: int) -> list[Figure]:
    key = create_deployment(folder / "deployment")
    channels = _fill(folder / "deployment")
    with (
        quetz_server(folder / "deployment") as server,
        closing(limits.Database(folder / "limit.sqlite")) as database,
        pinned(CLIENT_CPU),
    ):
        bench = Bench(server, key, folder, database, random.Random(1))
        wait_until_published(bench.deployment)
        for number in range(rounds):
            for channel in channels:
                _add_one(bench, channel, f"99.{number}")
    return _figures(channels)


def _fill(path: Path) -> list[Channel]:
    channels = []
    with closing(Deployment.open(path)) as deployment:
        for name, count in SIZES.items():
            with deployment.transaction(write=True) as session:
                channel_id, sizes = insert_channel(session, name, count)
                for subdir, family in (
                    (SUBDIR, SHARDS),
                    (SUBDIR, REPODATA),
                    (CHANNEL_WIDE, CHANNELDATA),
                ):
                    mark_for_rebuild(session, Switch(channel_id, subdir, family))
            channels.append(Channel(name, sizes))
    return channels


def _add_one(bench: Bench, channel: Channel, version: str) -> None:
    """Add a package to a name as likely as it has records, and see it appear."""
    [name] = bench.chance.choices(list(channel.sizes), list(channel.sizes.values()))
    files = {"payload": secrets.token_bytes(8_600)}
    package = build_package(bench.folder, name, version, subdir=SUBDIR, files=files)
    body = package.read_bytes()
    path = f"/api/channels/{channel.name}/upload/{package.name}"
    upload = post(path, len(body), X_API_Key=bench.key) + body
    folder = f"/get/{channel.name}/{SUBDIR}"
    with connected(bench.server.port) as connection:
        shards = _conditional(connection, f"{folder}/repodata_shards.msgpack.zst")
        repodata = _conditional(connection, f"{folder}/repodata.json.zst")
        channel.polls.append(_poll_cost(connection, shards))
        connection.ask(upload).expect(201)
        started = time.perf_counter()
        index = _wait_for_change(connection, shards)
        channel.shards.append((time.perf_counter() - started) * 1e3)
        document = _wait_for_change(connection, repodata)
        took = time.perf_counter() - started
        channel.repodata.append(took * 1e3)
        shard = decode_shard_index(_unpacked(index))[name].hex()
        answer = connection.ask(get(f"{folder}/shards/{shard}.msgpack.zst")).expect(200)
        assert package.name.encode() in _unpacked(answer)
    records = _unpacked(document)
    assert package.name in json.loads(records)["packages.conda"]
    _measure_limits(bench, channel, index.body, records)
    wait_until_published(bench.deployment)
    time.sleep(max(REST_SECONDS, took))


def _conditional(connection: Connection, path: str) -> bytes:
    """Return the request for ``path`` as it is not now."""
    etag = connection.ask(get(path)).expect(200).etag
    return get(path, If_None_Match=etag.decode())


def _poll_cost(connection: Connection, request: bytes) -> float:
    polls = [limits.seconds(lambda: connection.ask(request).expect(304)) for _ in range(20)]
    return median(polls) * 1e3


def _wait_for_change(connection: Connection, request: bytes) -> Answer:
    while (answer := connection.ask(request)).status == 304:
        time.sleep(POLL_SECONDS)
    return answer.expect(200)


def _unpacked(answer: Answer) -> bytes:
    return decompress(answer.body, INDEX_LIMIT)


def _measure_limits(bench: Bench, channel: Channel, index: bytes, records: bytes) -> None:
    def publish_shards() -> None:
        limits.write_cache(bench.folder / "index", index)
        bench.database.commit("switch")

    def publish_repodata() -> None:
        limits.write_cache(bench.folder / "repodata", limits.compress(records))

    with pinned(SERVER_CPU):
        channel.shards_limit.append(limits.seconds(publish_shards) * 1e3)
        channel.repodata_limit.append(limits.seconds(publish_repodata) * 1e3)


def _figures(channels: Sequence[Channel]) -> list[Figure]:
    shards = [
        Figure(
            f"one more in {channel.name}: from 201 to the shard index",
            channel.shards,
            "ms",
            20 if channel.name == "100k" else None,
            _against(channel.shards, channel.shards_limit, "writing the index and one commit")
            + f"; a poll, 1 ms apart, takes {shown(median(channel.polls))} ms",
        )
        for channel in channels
    ]
    repodata = [
        Figure(
            f"one more in {channel.name}: from 201 to repodata.json.zst",
            channel.repodata,
            "ms",
            None,
            _against(channel.repodata, channel.repodata_limit, "zstd -3 of it all, and writing it"),
        )
        for channel in channels
    ]
    return [*shards, _growth(channels[0], channels[-1]), *repodata]


def _against(ours: Sequence[float], limit: Sequence[float], what: str) -> str:
    pairs = [one / other for one, other in zip(ours, limit, strict=True)]
    return (
        f"{shown(median(pairs))}x ({shown(min(pairs))}-{shown(max(pairs))}) "
        f"{what}: {shown(median(limit))} ms"
    )


def _growth(small: Channel, large: Channel) -> Figure:
    doublings = math.log2(SIZES[large.name] / SIZES[small.name])
    values = [
        (more / less) ** (1 / doublings)
        for less, more in zip(small.shards, large.shards, strict=True)
    ]
    basis = f"from {small.name} to {large.name}"
    return Figure("the same, for each doubling of the records", values, "x", 1.2, basis)

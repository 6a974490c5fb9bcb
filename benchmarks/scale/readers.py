"""Many clients that read at once: ``python -m benchmarks.scale.readers``.

It reads a `Plan` as a line of JSON, says ``ready`` when all clients are connected, waits for
another line, and writes the `Tally`. A client keeps its connection and asks for one thing after
another with a pause, as those of people do: mostly for the shard index, of which it has a copy,
often for shards that its copy names, for packages, and seldom for all of repodata.json.zst.
"""

import asyncio
import math
import os
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from hashlib import sha256

import msgspec

from benchmarks.client import get
from quetz.conda.shards import decode_shard_index
from quetz.conda.zstd import BadFrame, decompress
from quetz.services.index_builds import INDEX_LIMIT

PAUSE_SECONDS = 0.5
"""Between two requests of a client, on average."""

WEIGHTS = {"index": 600, "shard": 300, "package": 95, "repodata": 5}

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ETAG = re.compile(rb"\r\netag: *([^\r]+)", re.IGNORECASE)


class Plan(msgspec.Struct):
    """``packages`` are paths with their SHA-256; ``records`` is how many there are at least."""

    port: int
    folder: str
    clients: int
    seconds: float
    packages: dict[str, str]
    records: int


class Tally(msgspec.Struct):
    """``answers`` counts the good ones; ``errors`` and ``torn`` say what was wrong with others.

    ``bodies`` is how many different repodata.json.zst were read. ``p99`` has, of each kind of good
    answers, the milliseconds that all but one in a hundred took at most.
    """

    answers: dict[str, int]
    errors: list[str]
    torn: list[str]
    bodies: int
    p99: dict[str, float]


class Torn(Exception):
    """A body is not what its name or its own header says."""


class Unexpected(Exception):
    """An answer has another status than it should have."""


class Crowd:
    """What all clients share: bodies that were looked at, and what came of them."""

    def __init__(self, plan: Plan, checks: Executor) -> None:
        self.plan = plan
        self.taken: defaultdict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.torn: list[str] = []
        self.start = asyncio.Event()
        self.connected = asyncio.Semaphore(0)
        self._indexes: dict[str, list[str]] = {}
        self._repodata: set[str] = set()
        self._checks = checks

    def shards_of(self, body: bytes) -> list[str]:
        """Return the digests that a shard index names."""
        key = sha256(body).hexdigest()
        if key not in self._indexes:
            index = decode_shard_index(_unpacked(body))
            self._indexes[key] = [digest.hex() for digest in index.values()]
        return self._indexes[key]

    async def check_repodata(self, body: bytes) -> None:
        key = sha256(body).hexdigest()
        if key in self._repodata:
            return
        self._repodata.add(key)
        # Elsewhere: all would stop for it, and then ask at once.
        loop = asyncio.get_running_loop()
        fault = await loop.run_in_executor(self._checks, find_fault, body, self.plan.records)
        if fault is not None:
            raise Torn(fault)

    def tally(self) -> Tally:
        answers = {kind: len(taken) for kind, taken in self.taken.items()}
        p99 = {kind: percentile(taken, 0.99) for kind, taken in self.taken.items()}
        return Tally(answers, self.errors, self.torn, len(self._repodata), p99)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that ``share`` of all do not exceed."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


def find_fault(body: bytes, least: int) -> str | None:
    """Say what is wrong with a repodata.json.zst of at least so many records."""
    try:
        raw = _unpacked(body)  # which has the size that its frame says
    except BadFrame as error:
        return str(error)
    records = raw.count(b'"sha256":"')
    if records < least or not raw[-100:].rstrip().endswith(b"}"):
        return f"repodata.json.zst has {records} records, or no end"
    return None


class Client:
    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._chance = random.Random(number)
        self._etag = b""
        self._shards: list[str] = []
        self._ask = {
            "index": self._ask_index,
            "shard": self._ask_shard,
            "package": self._ask_package,
            "repodata": self._ask_repodata,
        }

    async def run(self) -> None:
        await self._connect()
        self._crowd.connected.release()
        await self._crowd.start.wait()
        ends = asyncio.get_running_loop().time() + self._crowd.plan.seconds
        await self._pause()
        while asyncio.get_running_loop().time() < ends:
            await self._ask_once()
            await self._pause()
        self._writer.close()

    async def _ask_once(self) -> None:
        # Nobody knows a shard who has no index.
        [kind] = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        try:
            await self._ask[kind if self._shards else "index"]()
        except (Torn, BadFrame, msgspec.DecodeError) as error:
            self._crowd.torn.append(f"{kind}: {error}")
        except (Unexpected, OSError, EOFError) as error:
            self._crowd.errors.append(f"{kind}: {error!r}")
            self._writer.close()
            await self._connect()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._crowd.plan.port, limit=1 << 20
        )

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.random() * 2 * PAUSE_SECONDS)

    async def _ask_index(self) -> None:
        headers = {"If_None_Match": self._etag.decode()} if self._etag else {}
        path = f"{self._crowd.plan.folder}/repodata_shards.msgpack.zst"
        status, head, body = await self._fetch(get(path, **headers))
        if status == 304:
            self._count("304")
            return
        self._shards = self._crowd.shards_of(_expect(status, body))
        found = _ETAG.search(head)
        self._etag = found[1] if found else b""
        self._count("index")

    async def _ask_shard(self) -> None:
        digest = self._chance.choice(self._shards)
        path = f"{self._crowd.plan.folder}/shards/{digest}.msgpack.zst"
        await self._fetch_hashed(path, digest)
        self._count("shard")

    async def _ask_package(self) -> None:
        path, digest = self._chance.choice(list(self._crowd.plan.packages.items()))
        await self._fetch_hashed(path, digest)
        self._count("package")

    async def _ask_repodata(self) -> None:
        status, _, body = await self._fetch(get(f"{self._crowd.plan.folder}/repodata.json.zst"))
        await self._crowd.check_repodata(_expect(status, body))
        self._count("repodata")

    async def _fetch_hashed(self, path: str, digest: str) -> None:
        status, _, body = await self._fetch(get(path))
        if sha256(_expect(status, body)).hexdigest() != digest:
            raise Torn(f"{path} has another hash")

    async def _fetch(self, request: bytes) -> tuple[int, bytes, bytes]:
        began = time.perf_counter()
        self._writer.write(request)
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        found = _LENGTH.search(head)
        length = int(found[1]) if found and status != 304 else 0
        body = await self._reader.readexactly(length)
        self._taken = (time.perf_counter() - began) * 1e3
        return status, head, body

    def _count(self, kind: str) -> None:
        self._crowd.taken[kind].append(self._taken)


def _expect(status: int, body: bytes) -> bytes:
    if status != 200:
        raise Unexpected(f"{status} {body[:200]!r}")
    return body


def _unpacked(body: bytes) -> bytes:
    return decompress(body, INDEX_LIMIT)


async def _run(plan: Plan, checks: Executor) -> Tally:
    crowd = Crowd(plan, checks)
    async with asyncio.TaskGroup() as clients:
        for number in range(plan.clients):
            clients.create_task(Client(crowd, number).run())
            await crowd.connected.acquire()  # one after another, or the backlog would overflow
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        crowd.start.set()
    return crowd.tally()


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    with ProcessPoolExecutor(1) as checks:
        checks.submit(os.nice, 5).result()  # it can wait, which clients cannot
        print(msgspec.json.encode(asyncio.run(_run(plan, checks))).decode())


if __name__ == "__main__":
    main()

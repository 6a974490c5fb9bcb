"""Uploads: how long they take against the least they must do, and the memory they take."""

import itertools
import os
import secrets
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import limits
from benchmarks.client import Connection, connected, post
from benchmarks.figures import Figure, ratio, sides
from benchmarks.machine import CLIENT_CPU, SERVER_CPU, pinned
from benchmarks.servers import Running, bare_server, create_deployment, quetz_server
from quetz.testing.packages import build_package, info_files, pack_tar

SMALL = 10_000
SMALL_COUNT = 40
LARGE = 500_000_000
HUGE = 2_000_000_000
HUGE_COUNT = 3
FSYNC = "fsync"
PAUSE_SECONDS = 0.03
"""Between uploads that are alone: the index is published meanwhile."""

_RECORD = "r" * 650
_numbers = itertools.count()

Parts = dict[str, list[float]]
"""Seconds of each part of a limit, a value a round."""


@dataclass(frozen=True)
class Bench:
    """The two servers, and where to put files."""

    quetz: Running
    bare: Running
    key: str
    folder: Path
    noise: bytes = field(default_factory=lambda: secrets.token_bytes(64 << 20))


def measure(folder: Path, rounds: int) -> list[Figure]:
    key = create_deployment(folder / "deployment")
    with (
        quetz_server(folder / "deployment") as quetz,
        bare_server(folder) as bare,
        pinned(CLIENT_CPU),
    ):
        bench = Bench(quetz, bare, key, folder)
        _create_channel(bench)
        return [*_small(bench, rounds), *_large(bench, rounds), _huge(bench)]


def _create_channel(bench: Bench) -> None:
    body = b'{"name": "forge", "private": false}'
    head = post("/api/channels", len(body), X_API_Key=bench.key, Content_Type="application/json")
    with connected(bench.quetz.port) as connection:
        connection.ask(head + body).expect(201)


def _upload(bench: Bench, name: str, size: int) -> bytes:
    """Return the head of an upload."""
    return post(f"/api/channels/forge/upload/{name}", size, X_API_Key=bench.key)


# Small packages


def _small(bench: Bench, rounds: int) -> list[Figure]:
    parts: Parts = {}
    alone: list[float] = []
    in_a_row: list[float] = []
    with closing(limits.Database(bench.folder / "limit.sqlite")) as database:
        for number in range(rounds + 1):
            if number == 1:  # the first round only warms up
                parts, alone, in_a_row = {}, [], []
            packages = _small_packages(bench, SMALL_COUNT * 2)
            for part, seconds in _small_limit(bench, database, packages).items():
                parts.setdefault(part, []).append(seconds)
            alone.append(_small_uploads(bench, packages[:SMALL_COUNT], PAUSE_SECONDS))
            in_a_row.append(_small_uploads(bench, packages[SMALL_COUNT:], 0))
    limit = [sum(seconds) * 1e3 for seconds in zip(*parts.values(), strict=True)]
    against = sides(
        [(part, [value * 1e3 for value in values]) for part, values in parts.items()], "ms"
    )
    return [
        ratio(
            f"upload of 10 KB, p50, {how}, to the sum of its parts",
            [value * 1e3 for value in values],
            limit,
            goal=3.0,
            unit="ms",
            against=against,
        )
        for how, values in (("one now and then", alone), ("one after another", in_a_row))
    ]


def _small_packages(bench: Bench, count: int) -> list[Path]:
    return [
        build_package(
            bench.folder,
            f"small-{next(_numbers)}",
            files={"payload": secrets.token_bytes(SMALL - 1_400)},
        )
        for _ in range(count)
    ]


def _small_uploads(bench: Bench, packages: Sequence[Path], pause: float) -> float:
    with connected(bench.quetz.port) as connection:
        taken = []
        for package in packages:
            body = package.read_bytes()
            request = _upload(bench, package.name, len(body)) + body
            time.sleep(pause)
            taken.append(_p50([request], connection))
        return median(taken)


def _small_limit(
    bench: Bench, database: limits.Database, packages: Sequence[Path]
) -> dict[str, float]:
    bodies = [package.read_bytes() for package in packages]
    with connected(bench.bare.port) as connection:
        receive = _p50([post("/", len(body)) + body for body in bodies], connection)
    targets = iter([package.with_suffix(".copy") for package in packages])
    with pinned(SERVER_CPU):
        return {
            "receive": receive,
            "hash": _each(limits.hash_twice, bodies),
            "fsync": _each(lambda body: limits.write_durably(next(targets), body), bodies),
            "commit": _each(lambda _: database.commit(_RECORD), bodies),
            "read info": _each(limits.read_info, packages),
        }


def _p50(requests: Sequence[bytes], connection: Connection) -> float:
    return _each(lambda request: connection.ask(request).expect(201), requests)


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the median of the seconds that ``work`` takes on one item."""
    return median(limits.seconds(partial(work, item)) for item in items)


# Large packages


def _large(bench: Bench, rounds: int) -> list[Figure]:
    taken: list[float] = []
    growth: list[float] = []
    parts: Parts = {}
    for _ in range(rounds):
        package = _large_package(bench, LARGE)
        for part, value in _large_limit(bench, package).items():
            parts.setdefault(part, []).append(value)
        seconds, grown = _large_upload(bench, package)
        taken.append(seconds)
        growth.append(grown)
        package.unlink()
    fsync = parts.pop(FSYNC)
    limit = [sum(values) for values in zip(*parts.values(), strict=True)]
    return [
        ratio(
            "upload of 500 MB, to the sum of its parts",
            taken,
            limit,
            goal=1.25,
            unit="s",
            against=f"{sides(parts.items(), 's')}; not in the sum: {sides([(FSYNC, fsync)], 's')}",
        ),
        Figure("memory that an upload of 500 MB takes", growth, "MB", 10, "peak RSS minus before"),
    ]


def _huge(bench: Bench) -> Figure:
    growth = []
    for _ in range(HUGE_COUNT):
        package = _large_package(bench, HUGE)
        growth.append(_large_upload(bench, package)[1])
        package.unlink()
    basis = f"peak RSS minus before, {HUGE_COUNT} uploads"
    return Figure("memory that an upload of 2 GB takes", growth, "MB", 10, basis)


def _large_package(bench: Bench, size: int) -> Path:
    """Write a ``.conda`` whose payload is noise: nobody unpacks it."""
    name = f"large-{next(_numbers)}"
    info = info_files({"name": name, "version": "1.0", "build": "0", **_INDEX}, {})
    path = bench.folder / f"{name}-1.0-0.conda"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        with archive.open(f"pkg-{name}-1.0-0.tar.zst", "w") as payload:
            payload.write(secrets.token_bytes(1_000))  # no two packages have the same bytes
            for start in range(0, size, len(bench.noise)):
                payload.write(bench.noise[: size - start])
        archive.writestr(f"info-{name}-1.0-0.tar.zst", limits.compress(pack_tar(info)))
    os.sync()  # or the system would still be writing it while the next one is timed
    return path


_INDEX = {"build_number": 0, "depends": [], "subdir": "noarch", "noarch": "generic"}


def _large_upload(bench: Bench, package: Path) -> tuple[float, float]:
    """Return the seconds it took, and the megabytes of memory."""
    with connected(bench.quetz.port) as connection:
        head = _upload(bench, package.name, package.stat().st_size)
        before = bench.quetz.session.reset_peaks()
        seconds = limits.seconds(lambda: connection.send_file(head, package).expect(201))
        return seconds, (bench.quetz.session.peak_bytes() - before) / 1e6


def _large_limit(bench: Bench, package: Path) -> dict[str, float]:
    with connected(bench.bare.port) as connection:
        head = post("/", package.stat().st_size)
        receive = limits.seconds(lambda: connection.send_file(head, package).expect(201))
    copy = package.with_suffix(".copy")
    # In a virtual machine a page of memory costs most the first time: here nobody pays for it.
    limits.write_pieces(copy, bench.noise, LARGE)
    copy.unlink()
    with pinned(SERVER_CPU):
        parts = {
            "receive": receive,
            "sha256": limits.seconds(lambda: limits.hash_pieces("sha256", bench.noise, LARGE)),
            "md5": limits.seconds(lambda: limits.hash_pieces("md5", bench.noise, LARGE)),
            "write": limits.seconds(lambda: limits.write_pieces(copy, bench.noise, LARGE)),
            FSYNC: limits.seconds(lambda: limits.flush(copy)),
        }
    copy.unlink()
    os.sync()
    return parts

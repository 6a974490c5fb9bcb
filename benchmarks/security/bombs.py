"""REL-8: a small file that unpacks to a huge one is refused soon, and costs others nothing."""

import bz2
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from benchmarks.figures import Figure
from benchmarks.security.places import CHANNEL, Place, running
from quetz.testing.bad_archives.parts import (
    BZ2,
    CONDA,
    END,
    INFO,
    MEGABYTE,
    NOTE,
    block,
    conda_around,
    conda_zip,
    info_tar,
    members,
    resealed,
)
from quetz.testing.packages import pack_zip

POLL_SECONDS = 0.02


def measure(scale: float, folder: Path) -> Iterator[Figure]:
    """Send each bomb; ``scale`` is of the sizes that they unpack to."""
    with running(folder / "server") as place:
        results = [_explode(place, *bomb(scale)) for bomb in BOMBS.values()]
    for name, result in zip(BOMBS, results, strict=True):
        print(f"{name}: {result}", flush=True)
    basis = f"{len(results)} bombs"
    accepted = sum(result.status not in {413, 422} for result in results)
    yield Figure("REL-8 bombs not refused", [accepted], "bombs", 0, basis)
    rises = max(result.rise for result in results)
    yield Figure("REL-8 memory that a bomb takes at most", [rises / MEGABYTE], "MiB", 64, basis)
    yield Figure(
        "REL-8 until the slowest answer", [max(r.seconds for r in results)], "s", 10, basis
    )
    health = max(result.health for result in results)
    yield Figure("REL-8 /health/live meanwhile, at most", [health * 1000], "ms", 200, basis)


@dataclass
class _Result:
    """``rise`` is in bytes, ``health`` the longest answer of ``/health/live`` in seconds."""

    status: int
    seconds: float
    rise: int
    health: float


def _explode(place: Place, filename: str, content: bytes) -> _Result:
    before = place.session.reset_peaks()
    with _polling(place) as poll:
        began = time.perf_counter()
        path = f"/api/channels/{CHANNEL}/upload/{filename}"
        reply = place.ask("POST", path, content)
        seconds = time.perf_counter() - began
    rise = place.session.peak_bytes() - before
    return _Result(reply.status, seconds, rise, max(poll.times, default=0))


@dataclass
class _Poll:
    times: list[float] = field(default_factory=list)


@contextmanager
def _polling(place: Place) -> Iterator[_Poll]:
    poll, done = _Poll(), threading.Event()

    def ask() -> None:
        while not done.wait(POLL_SECONDS):
            began = time.perf_counter()
            assert place.ask("GET", "/health/live").status == 200
            poll.times.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield poll
    finally:
        done.set()
        thread.join()


Bomb = Callable[[float], tuple[str, bytes]]


def _zstd(size: int, **options: int) -> bytes:
    """Return a frame of ``size`` zeros, made piece by piece."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, **options)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return b"".join([*pieces, stream.flush()])


def _bz2(start: bytes, size: int) -> bytes:
    stream = bz2.BZ2Compressor(9)
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(start)]
    pieces += [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return b"".join([*pieces, stream.flush()])


def _zeros(scale: float) -> tuple[str, bytes]:
    return CONDA, conda_around(_zstd(int(scale * (4 << 30))))


def _long_window(scale: float) -> tuple[str, bytes]:
    return CONDA, conda_around(_zstd(int(scale * (1 << 30)), window_log=31, enable_ldm=1))


def _zeros_in_info(scale: float) -> tuple[str, bytes]:
    size = int(scale * (1 << 30)) // 512 * 512
    head = block("info/recipe/x", size=size)
    stream = zstandard.ZstdCompressor(3).compressobj()
    zeros = bytes(MEGABYTE)
    pieces = [stream.compress(info_tar()[:-1024] + head)]
    pieces += [stream.compress(zeros) for _ in range(max(1, size // MEGABYTE))]
    return CONDA, conda_around(b"".join([*pieces, stream.flush()]))


def _bz2_zeros(scale: float) -> tuple[str, bytes]:
    return BZ2, _bz2(b"", int(scale * (1 << 30)))


def _bz2_payload_first(scale: float) -> tuple[str, bytes]:
    size = int(scale * (1 << 30)) // MEGABYTE * MEGABYTE
    return BZ2, _bz2(block("lib/zeros", size=size), size)


def _many_members(scale: float) -> tuple[str, bytes]:
    head = block("info/0")
    count = int(scale * 1_000_000)
    return CONDA, conda_around(zstandard.compress(head * max(1, count) + END))


def _many_members_bz2(scale: float) -> tuple[str, bytes]:
    return BZ2, bz2.compress(block("lib/0") * max(1, int(scale * 1_000_000)) + END)


def _many_entries(scale: float) -> tuple[str, bytes]:
    names = {f"{number}": b"" for number in range(max(1, int(scale * 200_000)))}
    return CONDA, pack_zip({"metadata.json": NOTE} | names)


def _deflated(scale: float) -> tuple[str, bytes]:
    return CONDA, pack_zip({INFO: bytes(max(1, int(scale * (256 << 20))))}, 8)


def _nested(scale: float) -> tuple[str, bytes]:
    """A zip in a zip in a zip: what unpacks whatever it finds would not end soon."""
    content = conda_zip()
    for _ in range(max(2, int(scale * 1_000))):
        content = pack_zip({INFO: content})
    return CONDA, content


def _sparse(scale: float) -> tuple[str, bytes]:
    """A GNU sparse member that claims terabytes."""
    head = bytearray(block("info/x", kind=b"S"))
    head[386:410] = b"%011o\0%011o\0" % (0, 0)
    head[483:495] = b"%011o\0" % (1 << 32)
    return CONDA, conda_around(zstandard.compress(info_tar(None, resealed(bytes(head)))))


def _json(scale: float, text: bytes) -> tuple[str, bytes]:
    files = members() | {"info/paths.json": text}
    return CONDA, conda_around(zstandard.compress(info_tar(files)))


def _many_paths(scale: float) -> tuple[str, bytes]:
    paths = b",".join([b'{"_path":""}'] * max(1, int(scale * 1_200_000)))
    return _json(scale, b'{"paths_version":1,"paths":[%s]}' % paths)


def _many_keys(scale: float) -> tuple[str, bytes]:
    keys = b",".join(b'"%d":0' % number for number in range(max(1, int(scale * 1_000_000))))
    return _json(scale, b"{%s}" % keys)


def _deep(scale: float) -> tuple[str, bytes]:
    return _json(scale, b"[" * max(100, int(scale * 10_000_000)))


BOMBS: dict[str, Bomb] = {
    "zstd of 4 GiB": _zeros,
    "zstd with a window of 2 GiB": _long_window,
    "zstd of a member of 1 GiB": _zeros_in_info,
    "bz2 of 1 GiB": _bz2_zeros,
    "bz2 with a payload of 1 GiB first": _bz2_payload_first,
    "1,000,000 members": _many_members,
    "1,000,000 members in bz2": _many_members_bz2,
    "200,000 entries": _many_entries,
    "deflated": _deflated,
    "a zip in a zip, 1,000 deep": _nested,
    "sparse": _sparse,
    "1,200,000 paths": _many_paths,
    "1,000,000 keys": _many_keys,
    "JSON 10,000,000 deep": _deep,
}
